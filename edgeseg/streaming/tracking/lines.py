"""Counting what crosses a line."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from edgeseg.streaming.results import LineCount

from .polygons import Point
from .regions import remark_if_outside, scaled
from .side import Side

if TYPE_CHECKING:
    from .regions import Line

MARGIN = 0.1
"""Share of an object's size that it must be past a line to have crossed it: one that only touches the line
and goes back has not."""


class Direction(str, Enum):
    """Which way an object crosses a line; see `LineCount`."""

    FORWARD = "forward"
    BACKWARD = "backward"


@dataclass(slots=True, kw_only=True)
class LineState:
    """The state of one object at one line.

    Attributes:
        side: Its sign is -1 left of the way from start to end, 1 right.
        from_xy: Where it was last on that side.
        crossings: How it has crossed.
        counted: Those of them that the counter has.
    """

    side: Side = field(default_factory=Side)
    from_xy: Point = (0.0, 0.0)
    crossings: set[Direction] = field(default_factory=set)
    counted: set[Direction] = field(default_factory=set)


class LineCounter:
    """Counts crossings of a line, once an object and way.

    Args:
        line: As the user gave it.
        number: From 1, for its name.
        size_hw: Of the first frame; every position is in its pixels.

    Attributes:
        remark: Why it counts nothing; None where it may count.
    """

    def __init__(self, line: Line, number: int, size_hw: tuple[int, int]) -> None:
        self._name = line.name or f"line {number}"
        what = f"line {line.name!r}" if line.name else self._name
        self._start, self._end = line.points_in(size_hw)
        self._counts: Counter[Direction] = Counter()
        self.remark = remark_if_outside(what, (self._start, self._end), size_hw)

    def follow(self, line_state: LineState, at_xy: Point, size_px: float) -> None:
        """Update the state of an object at this line.

        Args:
            line_state: Of this object and this line; changed.
            at_xy: Its centre.
            size_px: Mean of the width and the height of its box.
        """
        distance = _right_of(self._start, self._end, at_xy)
        changed = line_state.side.follow(distance, size_px, MARGIN * size_px)
        if changed and self._met_between(line_state.from_xy, at_xy):
            line_state.crossings.add(Direction.FORWARD if distance > 0 else Direction.BACKWARD)
        if line_state.side.sign * distance >= 0:
            line_state.from_xy = at_xy

    def count(self, line_state: LineState) -> None:
        """Add what an object has done since it was counted last."""
        self._counts.update(line_state.crossings - line_state.counted)
        line_state.counted |= line_state.crossings

    def state(self, scale_xy: Point) -> LineCount:
        """Give the counts, and the ends in the current frame: the first one's pixels times the scale."""
        return LineCount(
            name=self._name,
            start_xy=scaled(self._start, scale_xy),
            end_xy=scaled(self._end, scale_xy),
            forward=self._counts[Direction.FORWARD],
            backward=self._counts[Direction.BACKWARD],
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
