"""`calibration.json`: the ranges of every quantised value, and what they were measured on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from edgeseg.bundle.manifest import CALIBRATION_FILE
from edgeseg.errors import ArtifactError, ConfigError
from edgeseg.files.records import read_record, write_record
from edgeseg.spec import Lowering

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle

FORMAT = 1
RECALIBRATE_HINT = "make it again with `edgeseg calibrate --calib DIR --force`"


class Method(str, Enum):
    """How a range is cut from a histogram."""

    ENTROPY = "entropy"
    PERCENTILE = "percentile"
    MINMAX = "minmax"


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What a value may be before it is clipped; zero is always inside."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            msg = f"a range must be finite and its high above its low, got {self.low} to {self.high}"
            raise ConfigError(msg)
        if not self.low <= 0 <= self.high:
            msg = f"a range must hold zero, got {self.low} to {self.high}"
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationTable:
    """The content of `calibration.json`.

    Attributes:
        images: How many images the ranges come from.
        images_sha256: Hash of the images, as computed by `edgeseg.calibration.images.images_sha256`.
        graph_sha256: SHA-256 of the `portable.onnx` that was measured.
        seed: Random seed for choosing the images.
        ranges: Ranges by the key of their observer.
        float_layers: Layers that stay in higher precision, as quantising them was measured to cost too much.
    """

    format: int = FORMAT
    method: Method
    images: int
    images_sha256: str
    graph_sha256: str
    seed: int
    ranges: dict[str, Range] = field(repr=False)
    float_layers: tuple[str, ...] = ()


def write_table(table: CalibrationTable, path: Path) -> None:
    """Write a table; one that is there is replaced at once and whole.

    Raises:
        EdgeSegError: The file cannot be written.
    """
    write_record(path, table)


def read_table(path: Path) -> CalibrationTable:
    """Read a table.

    Raises:
        ArtifactError: Missing, truncated, of another format, or not a table.
    """
    missing_message = f"no calibration at {path}; make it with `edgeseg calibrate --calib DIR`"
    return read_record(
        CalibrationTable, path, version=FORMAT, missing_message=missing_message, remedy=RECALIBRATE_HINT
    )


def table_for(bundle: Bundle) -> CalibrationTable:
    """Read the table of a bundle, which must have been measured on the graph that is in it.

    Raises:
        ArtifactError: As `read_table`, or it was measured on another graph.
    """
    path = bundle.path / CALIBRATION_FILE
    table = read_table(path)
    name = Lowering.PORTABLE.file_name
    bundle.graph_path(Lowering.PORTABLE)
    found = bundle.files[name].sha256
    if table.graph_sha256 != found:
        msg = (
            f"{path} was measured on another graph: on a {name} of SHA-256 {table.graph_sha256[:12]}, and "
            f"the bundle's is {found[:12]}; {RECALIBRATE_HINT}"
        )
        raise ArtifactError(msg)
    return table
