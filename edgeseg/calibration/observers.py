"""Describe the values of a graph that are measured, without any knowledge of layers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edgeseg.errors import ConfigError


class FirstAxis(str, Enum):
    """What the first axis of a value counts, which decides which rows are valid.

    Attributes:
        IMAGES: One row per image of the batch; all are valid.
        PROPOSALS: `batch * max_proposals` rows; only those that hold a proposal are valid.
        DETECTIONS: One row per detection, possibly none; all are valid.
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
