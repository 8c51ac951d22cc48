"""Which points are worth having, which keep to the limits, and which of those is taken."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .candidate import Point, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .config import Limits


class _Measures(NamedTuple):
    """Both figures of a measured point."""

    latency_ms: float
    lost: float


def frontier(points: Iterable[Point]) -> tuple[Point, ...]:
    """Take the points that no other beats in latency and in accuracy, the fastest first.

    Of points that are equal in both, the first stays.
    """
    kept: list[Point] = []
    least = math.inf
    for point in sorted(_measured(points), key=_measures):
        if (lost := _measures(point).lost) < least:
            kept.append(point)
            least = lost
    return tuple(kept)


def keeps(point: Point, limits: Limits) -> bool:
    """Whether a point was measured and keeps to the limits."""
    return point.state is State.MEASURED and excess(point, limits) == 0


def choose(points: Iterable[Point], limits: Limits) -> Point | None:
    """Choose among the points that keep to the limits; None if none does.

    The fastest, as what accuracy may be lost was said; where only latency is limited, the most accurate.
    """
    fitting = [point for point in _measured(points) if keeps(point, limits)]
    if limits.max_map_drop is None:
        return min(fitting, key=lambda point: _measures(point)[::-1], default=None)
    return min(fitting, key=_measures, default=None)


def nearest(points: Iterable[Point], limits: Limits) -> Point | None:
    """Find the point that is least beyond the limits; None if nothing was measured."""
    return min(_measured(points), key=lambda point: (excess(point, limits), _measures(point)), default=None)


def excess(point: Point, limits: Limits) -> float:
    """Tell how far a measured point is beyond the limits: 0 if it keeps to them.

    Latency counts as a share of its limit, accuracy as a share of its limit or of one point if that is more,
    and they are added.
    """
    found = _measures(point)
    beyond = 0.0
    if limits.max_latency_ms is not None:
        beyond += max(0.0, found.latency_ms / limits.max_latency_ms - 1)
    if limits.max_map_drop is not None:
        beyond += max(0.0, found.lost - limits.max_map_drop) / max(limits.max_map_drop, 1.0)
    return beyond


def _measured(points: Iterable[Point]) -> list[Point]:
    return [point for point in points if point.state is State.MEASURED]


def _measures(point: Point) -> _Measures:
    missing = math.inf
    return _Measures(
        missing if point.latency_ms is None else point.latency_ms,
        missing if point.lost is None else point.lost,
    )
