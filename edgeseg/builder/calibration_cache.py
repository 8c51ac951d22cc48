"""The table of ranges for TensorRT 10.3 to 10.16's own calibration, which later releases do not have.

Nobody has run this on a GPU yet: the text follows TensorRT's documented format, and the calibrator is checked
against the stubs of 10.13. Explicit quantisation (`qdq_tensorrt`) is what every version takes.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.errors import BuildError, CalibrationError
from edgeseg.graphs.layers import LayerGraph
from edgeseg.quantization.plan import quantisation_plan
from edgeseg.quantization.qdq.writer import Scheme, quant_params_from_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeseg.calibration.table import CalibrationTable

FIRST, LAST = (10, 3), (10, 16)
ALGORITHM = "EntropyCalibration2"


def calibration_cache(model: Any, table: CalibrationTable, version: str) -> str:
    """Write a table in the format of TensorRT's calibration cache.

    A value without a line is not 8-bit, and a layer that takes or gives one stays in higher precision. That
    spares the layers of `table.float_layers`, as far as no other layer quantises their inputs and outputs.

    Args:
        model: `tensorrt.onnx` of a bundle, whose value names are TensorRT's tensor names.
        table: Ranges of its values, made symmetric about zero.
        version: Of the TensorRT that will read it, such as `10.3.0`: another one refuses the cache.

    Returns:
        A header, then a line `name: step` for each value; the step is a big-endian float32 in hexadecimal.

    Raises:
        BuildError: This version of TensorRT reads no calibration cache.
        CalibrationError: The table lacks a range.
    """
    major, minor, patch = _version(version)
    values = quantisation_plan(LayerGraph(model), table.float_layers).values
    if absent := sorted(set(values.values()) - set(table.ranges)):
        msg = f"the calibration table has no range for {absent[0]}; make it again with `edgeseg calibrate`"
        raise CalibrationError(msg)
    lines = [f"TRT-{major * 10000 + minor * 100 + patch}-{ALGORITHM}"]
    for value, key in values.items():
        scale = quant_params_from_range(table.ranges[key], Scheme.SYMMETRIC).scale
        lines.append(f"{value}: {struct.pack('>f', np.float32(scale)).hex()}")
    return "\n".join(lines) + "\n"


def read_only_calibrator(tensorrt: Any, cache: str, *, batch: int) -> Any:
    """Make a calibrator that gives TensorRT a finished cache and no images.

    Args:
        tensorrt: The module.
        cache: Text of `calibration_cache`.
        batch: Images a call of the graph takes.

    Returns:
        An `IInt8EntropyCalibrator2` for `IBuilderConfig.int8_calibrator`; it must outlive the build.

    Raises:
        BuildError: This version of TensorRT has no calibrators.
    """
    _version(tensorrt.__version__)
    if TYPE_CHECKING:
        from tensorrt import IInt8EntropyCalibrator2 as Base
    else:
        Base = tensorrt.IInt8EntropyCalibrator2  # noqa: N806 - a class

    class ReadOnlyCalibrator(Base):
        def __init__(self) -> None:
            # TensorRT wants its own constructor called by name.
            Base.__init__(self)

        def get_batch_size(self) -> int:
            return batch

        def get_batch(self, names: Sequence[str]) -> list[int]:
            # Without images a cache that TensorRT refuses ends the build, and gives no other ranges.
            return []

        def read_calibration_cache(self) -> bytes:
            return cache.encode()

        def write_calibration_cache(self, cache: Any) -> None:
            return

    return ReadOnlyCalibrator()


def _version(version: str) -> tuple[int, int, int]:
    """Read a version, which must be one that has calibrators."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    numbers = tuple(int(number or 0) for number in found.groups()) if found else (0, 0, 0)
    if not FIRST <= numbers[:2] <= LAST:
        msg = (
            f"TensorRT {FIRST[0]}.{FIRST[1]} to {LAST[0]}.{LAST[1]} reads a calibration cache, this is "
            f"{version}; build from the graph with explicit rounding, which every version takes"
        )
        raise BuildError(msg)
    major, minor, patch = numbers
    return major, minor, patch
