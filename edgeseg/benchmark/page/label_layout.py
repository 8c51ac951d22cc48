"""Where the names of points go in a scatter plot, so that none covers another or a point."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Of the style sheet: 12 px, and the width of an average letter of it, rounded up.
CHARACTER_PX = 6.6
LINE_PX = 15
# A name nearer to another point than to its own would seem to be that one's.
GAP_PX = 10
CLEAR_PX = (16, 8)
FARTHEST_LINES = 16
# How far towards the name a leader goes; the template draws it so.
LEADER_REACH = 0.8
LEADER_STEPS = 12
# In lines of distance: what is covered cannot be read, a crossed name can.
COVERS_COST = 1000.0
CROSSES_COST = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPlacement:
    """Where a name stands, from its point.

    Attributes:
        dx: To its nearer end, in pixels.
        dy: To its middle, in pixels down.
        anchor: SVG's `text-anchor`.
        leader: Whether a line must lead from the point to it.
    """

    dx: float
    dy: float
    anchor: str
    leader: bool


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: _Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def inside(self, size_wh: tuple[float, float]) -> bool:
        return self.left >= 0 and self.top >= 0 and self.right <= size_wh[0] and self.bottom <= size_wh[1]


def place_labels(
    points_xy: Sequence[tuple[float, float]],
    names: Sequence[str],
    size_wh: tuple[float, float],
    lines: Sequence[tuple[float, float, float, float]] = (),
) -> list[LabelPlacement]:
    """Choose a place for the name of each point, beside it where there is room.

    A wider drawing moves points apart and names with them, so what is free of overlaps in the narrowest is
    free of them in all.

    Args:
        points_xy: Across and down, in pixels.
        names: One for each point.
        size_wh: Of the drawing at its narrowest, in pixels.
        lines: Level or upright ones that no name should lie on: x1, y1, x2, y2, in pixels.
    """
    obstacles = [_around(*line, 1, 1) for line in lines]
    boxes = [_around(*point, *point, *CLEAR_PX) for point in points_xy]
    given = [*range(len(names))]
    across = sorted(given, key=lambda index: points_xy[index])
    best: tuple[float, dict[int, LabelPlacement]] = (math.inf, {})
    # Who comes first has the best place, so who does is tried.
    for order in (given, given[::-1], across, across[::-1]):
        named: list[_Box] = []
        places, total = {}, 0.0
        for index in order:
            others = [*obstacles, *boxes[:index], *boxes[index + 1 :]]
            width = len(names[index]) * CHARACTER_PX
            places[index], box, cost = _best(points_xy[index], width, size_wh, named, others)
            named.append(box)
            total += cost
        if total < best[0]:
            best = (total, places)
    return [best[1][index] for index in given]


def _best(
    point_xy: tuple[float, float],
    width: float,
    size_wh: tuple[float, float],
    named: Sequence[_Box],
    others: Sequence[_Box],
) -> tuple[LabelPlacement, _Box, float]:
    """Take the place that costs least: what it covers, what its leader crosses, how far away it is."""
    found: list[tuple[LabelPlacement, _Box, float]] = []
    for place in _candidates():
        box = _box(place, *point_xy, width)
        covers = not box.inside(size_wh) or any(map(box.overlaps, (*named, *others)))
        crosses = _crosses(place, point_xy, named)
        cost = abs(place.dy) / LINE_PX + COVERS_COST * covers + CROSSES_COST * crosses
        found.append((place, box, cost))
        # Places come by distance: the first that does no harm is the best.
        if not covers and not crosses:
            break
    return min(found, key=lambda item: item[2])


def _crosses(place: LabelPlacement, point_xy: tuple[float, float], named: Sequence[_Box]) -> bool:
    if not place.leader:
        return False
    for step in range(LEADER_STEPS):
        share = step / LEADER_STEPS
        x, y = point_xy[0] + LEADER_REACH * place.dx * share, point_xy[1] + place.dy * share
        if any(map(_around(x, y, x, y, 1, 1).overlaps, named)):
            return True
    return False


def _around(x1: float, y1: float, x2: float, y2: float, dx: float, dy: float) -> _Box:
    return _Box(min(x1, x2) - dx, min(y1, y2) - dy, max(x1, x2) + dx, max(y1, y2) + dy)


def _candidates() -> Iterator[LabelPlacement]:
    """Give places beside the point, then above and below it, further and further away."""
    sides = ((GAP_PX, "start"), (-GAP_PX, "end"))
    for lines in range(FARTHEST_LINES):
        for dy in (-lines * LINE_PX, lines * LINE_PX)[: 1 + bool(lines)]:
            for dx, anchor in sides:
                yield LabelPlacement(dx=dx, dy=dy, anchor=anchor, leader=lines > 0)
            if lines:
                yield LabelPlacement(dx=0, dy=dy, anchor="middle", leader=lines > 1)


def _box(place: LabelPlacement, x: float, y: float, width: float) -> _Box:
    left = x + place.dx - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[place.anchor]
    top = y + place.dy - LINE_PX / 2
    return _Box(left, top, left + width, top + LINE_PX)
