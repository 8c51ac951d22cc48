"""Counting what crosses a line."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from ..results import LineCount
from .regions import Point, scaled

if TYPE_CHECKING:
    from .regions import Line

MARGIN = 0.1
"""Share of an object's size that it must be past a line to have crossed it: one that lies on the line and
trembles does not cross."""


class Way(str, Enum):
    """Which way an object crosses a line; see `LineCount`."""

    FORWARD = "forward"
    BACKWARD = "backward"


@dataclass(slots=True, kw_only=True)
class Passage:
    """Where one object is beside one line.

    Attributes:
        side: -1 left of the way from start to end, 1 right; 0 as long as it has been on the line only.
        from_xy: Where it was last on that side.
        ways: How it has crossed.
        counted: Those of them that the counter has.
    """

    side: int = 0
    from_xy: Point = (0.0, 0.0)
    ways: set[Way] = field(default_factory=set)
    counted: set[Way] = field(default_factory=set)


class LineCounter:
    """Counts crossings of a line, once an object and way.

    Args:
        line: As the user gave it.
        number: From 1, for its name.
        size_hw: Of the first frame; every position is in its pixels.
    """

    def __init__(self, line: Line, number: int, size_hw: tuple[int, int]) -> None:
        self._name = line.name or f"line {number}"
        self._start, self._end = line.points_in(size_hw)
        self._counts: Counter[Way] = Counter()

    def follow(self, passage: Passage, at_xy: Point, size_px: float) -> None:
        """Bring a passage up to where its object is now.

        Args:
            passage: Of this object and this line; changed.
            at_xy: Its centre.
            size_px: Mean of its width and height.
        """
        distance = _right_of(self._start, self._end, at_xy)
        side = (distance > 0) - (distance < 0)
        if passage.side in (0, side):
            passage.side, passage.from_xy = side, at_xy
        elif abs(distance) > MARGIN * size_px:
            if self._met_between(passage.from_xy, at_xy):
                passage.ways.add(Way.FORWARD if side > 0 else Way.BACKWARD)
            passage.side, passage.from_xy = side, at_xy

    def count(self, passage: Passage) -> None:
        """Add what an object has done since it was counted last."""
        self._counts.update(passage.ways - passage.counted)
        passage.counted |= passage.ways

    def state(self, scale_xy: Point) -> LineCount:
        """Give the counts, and the ends in the current frame: the first one's pixels times the scale."""
        return LineCount(
            name=self._name,
            start_xy=scaled(self._start, scale_xy),
            end_xy=scaled(self._end, scale_xy),
            forward=self._counts[Way.FORWARD],
            backward=self._counts[Way.BACKWARD],
        )

    def _met_between(self, before: Point, after: Point) -> bool:
        """Tell whether a way from one side to the other meets the line between its ends."""
        start, end = (_right_of(before, after, point) for point in (self._start, self._end))
        return start * end <= 0


def _right_of(start: Point, end: Point, point: Point) -> float:
    """Distance from a line in pixels, positive to the right of the way from start to end (y goes down)."""
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    across = along_x * (point[1] - start[1]) - along_y * (point[0] - start[0])
    return across / (math.hypot(along_x, along_y) or 1.0)
