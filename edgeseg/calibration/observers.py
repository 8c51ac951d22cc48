"""Which values of a graph are measured; the exporter names them, this part knows nothing of layers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edgeseg.errors import ConfigError


class FirstAxis(str, Enum):
    """What the first axis of a value counts, and so which of its rows are real.

    Attributes:
        IMAGES: The batch; every row is real.
        PROPOSALS: `batch * max_proposals`; only rows where a proposal is present are.
        DETECTIONS: As many rows as detections, maybe none; every row is real.
    """

    IMAGES = "images"
    PROPOSALS = "proposals"
    DETECTIONS = "detections"


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeObserver:
    """A value to measure.

    Attributes:
        key: Its name in the table, the same for every graph of a bundle.
        tensor: Its name in the portable graph.
        rows: What its first axis counts.
    """

    key: str
    tensor: str
    rows: FirstAxis


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeObservers:
    """All values to measure.

    Attributes:
        present: Name of the graph's `bool[B, max_proposals]`, True where a proposal is.
    """

    observers: tuple[RangeObserver, ...]
    present: str

    def __post_init__(self) -> None:
        keys = [observer.key for observer in self.observers]
        if not keys:
            msg = "calibration needs at least one value to measure, got none"
            raise ConfigError(msg)
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            msg = f"every value needs a key of its own, {twice[0]!r} is given twice"
            raise ConfigError(msg)
