"""The portable graph with the values to measure as outputs, in as many passes as memory asks for."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CalibrationError
from ..optional import require
from ..runtime.backend import RawDetections
from ..runtime.ort import CPU, OUTPUTS
from ..spec import Lowering
from .taps import Rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ..bundle import Bundle
    from ..spec import ModelSpec
    from .taps import Tap, Taps

# What one run of the graph may hand out. R50 at 800x1344 hands out 1.2 GB in one pass at a peak of 2.4 GB.
PASS_BYTES = 1_700_000_000
_PURPOSE = "measure the values of a graph"


def passes_of(bundle: Bundle, taps: Taps) -> list[tuple[Tap, ...]]:
    """Share taps out over as few runs of the graph as memory allows, in their order.

    Raises:
        CalibrationError: The graph lacks one of the values, or it is of another type.
    """
    model = _load(bundle)
    types = _types(model, [taps.present, *(tap.tensor for tap in taps.taps)])
    _check_types(types, taps)
    passes: list[list[Tap]] = [[]]
    used = 0
    for tap in taps.taps:
        size = _bytes(types[tap.tensor], tap, bundle.spec)
        if passes[-1] and used + size > PASS_BYTES:
            passes.append([])
            used = 0
        passes[-1].append(tap)
        used += size
    return [tuple(taken) for taken in passes]


class TappedGraph:
    """The portable graph on ONNX Runtime's CPU provider, handing out values besides its outputs.

    Args:
        bundle: Its graph is read again, so that no copy outlives this.
        tensors: Names of the values.

    Raises:
        CalibrationError: ONNX Runtime does not take the graph.
    """

    def __init__(self, bundle: Bundle, tensors: Sequence[str]) -> None:
        ort = require("onnxruntime", purpose=_PURPOSE)
        self._threshold = np.array(bundle.spec.score_threshold, np.float32)
        self._names = [*OUTPUTS, *(name for name in dict.fromkeys(tensors) if name not in OUTPUTS)]
        model = _load(bundle)
        types = _types(model, self._names)
        model.graph.output.extend(types[name] for name in self._names[len(OUTPUTS) :])
        options = ort.SessionOptions()
        options.log_severity_level = 4
        # Planning for memory is of no use here and holds the values twice: 2.4 GB instead of 2.9 GB for R50.
        options.enable_mem_pattern = False
        try:
            self._session = ort.InferenceSession(model.SerializeToString(), options, providers=[CPU])
        # ONNX Runtime's errors have no base but Exception.
        except Exception as exc:
            msg = f"ONNX Runtime {ort.__version__} does not take the graph with its inner values; {_first_line(exc)}"
            raise CalibrationError(msg) from exc

    def __call__(self, images: NDArray[np.uint8]) -> tuple[RawDetections, dict[str, NDArray[Any]]]:
        """Compute `uint8[B, H, W, 3]`; gives what was found, and the values by name.

        Raises:
            CalibrationError: The graph failed to compute.
        """
        try:
            found = self._session.run(self._names, {"images": images, "score_threshold": self._threshold})
        except Exception as exc:
            msg = f"the graph failed to compute; {_first_line(exc)}"
            raise CalibrationError(msg) from exc
        values = dict(zip(self._names, found, strict=True))
        counts, boxes, scores, labels, masks = found[: len(OUTPUTS)]
        raw = RawDetections(counts=counts, boxes_xyxy=boxes, scores=scores, labels=labels, masks=masks)
        return raw, values


def _first_line(exc: Exception) -> str:
    return next(iter(str(exc).strip().splitlines()), type(exc).__name__)


def _load(bundle: Bundle) -> Any:
    onnx = require("onnx", purpose=_PURPOSE)
    return onnx.load(bundle.graph_path(Lowering.PORTABLE))


def _types(model: Any, names: Sequence[str]) -> dict[str, Any]:
    """Look up what the graph says of values; where it says nothing, infer it."""
    known = {value.name: value for value in _described(model)}
    if not set(names) <= set(known):
        onnx = require("onnx", purpose=_PURPOSE)
        known = {value.name: value for value in _described(onnx.shape_inference.infer_shapes(model))}
    if missing := sorted(set(names) - set(known)):
        msg = f"the graph must hold a value named {missing[0]!r} to be measured, and has none"
        raise CalibrationError(msg)
    return {name: known[name] for name in names}


def _described(model: Any) -> Iterator[Any]:
    yield from model.graph.input
    yield from model.graph.output
    yield from model.graph.value_info


def _check_types(types: dict[str, Any], taps: Taps) -> None:
    onnx = require("onnx", purpose=_PURPOSE)
    wanted = {tap.tensor: onnx.TensorProto.FLOAT for tap in taps.taps}
    wanted[taps.present] = onnx.TensorProto.BOOL
    for name, kind in wanted.items():
        if (found := types[name].type.tensor_type.elem_type) != kind:
            names = onnx.TensorProto.DataType.Name
            msg = f"the value {name!r} must be {names(kind)} to be measured, and is {names(found)}"
            raise CalibrationError(msg)


def _bytes(value: Any, tap: Tap, spec: ModelSpec) -> int:
    """Estimate the size of a value; where the graph does not say, it is taken to be as large as may be."""
    first = {
        Rows.IMAGES: spec.batch,
        Rows.PROPOSALS: spec.batch * spec.max_proposals,
        Rows.DETECTIONS: spec.batch * spec.max_detections,
    }[tap.rows]
    # The finest feature map is a quarter of the input.
    rest = max(spec.input_size_hw) // 4
    sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    return 4 * prod(size or (rest if axis else first) for axis, size in enumerate(sizes))
