"""Where the names of points go in a scatter plot, so that none covers another or a point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Of the style sheet: 12 px, and the width of an average letter of it, rounded up.
CHARACTER_PX = 6.6
LINE_PX = 15
POINT_PX = 7
GAP_PX = 10
FARTHEST_LINES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
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


def place_names(
    points_xy: Sequence[tuple[float, float]], names: Sequence[str], size_wh: tuple[float, float]
) -> list[Place]:
    """Choose a place for the name of each point, beside it where there is room.

    A drawing that is wider than `size_wh` moves points apart and names with them, so what is free of overlaps in
    the narrowest is free of them in all.

    Args:
        points_xy: Across and down, in pixels.
        names: One for each point.
        size_wh: Of the drawing at its narrowest, in pixels.
    """
    taken = [_Box(x - POINT_PX, y - POINT_PX, x + POINT_PX, y + POINT_PX) for x, y in points_xy]
    places = []
    for (x, y), name in zip(points_xy, names, strict=True):
        width = len(name) * CHARACTER_PX
        candidates = [(place, _box(place, x, y, width)) for place in _candidates()]
        place, box = next(
            (
                (place, box)
                for place, box in candidates
                if box.inside(size_wh) and not any(map(box.overlaps, taken))
            ),
            candidates[0],
        )
        taken.append(box)
        places.append(place)
    return places


def _candidates() -> Iterator[Place]:
    sides = ((GAP_PX, "start"), (-GAP_PX, "end"))
    for lines in range(FARTHEST_LINES):
        for dy in (-lines * LINE_PX, lines * LINE_PX)[: 1 + bool(lines)]:
            for dx, anchor in sides:
                yield Place(dx=dx, dy=dy, anchor=anchor, leader=lines > 0)
            if lines:
                yield Place(dx=0, dy=dy, anchor="middle", leader=lines > 1)


def _box(place: Place, x: float, y: float, width: float) -> _Box:
    left = x + place.dx - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[place.anchor]
    top = y + place.dy - LINE_PX / 2
    return _Box(left, top, left + width, top + LINE_PX)
