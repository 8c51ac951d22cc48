"""Which points are worth having, which keep to the limits, and which of those is taken."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .candidate import CandidateState, TradeOffPoint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .config import TuneLimits


class _Objectives(NamedTuple):
    """Both figures of a measured point."""

    latency_ms: float
    lost: float


def frontier(points: Iterable[TradeOffPoint]) -> tuple[TradeOffPoint, ...]:
    """Take the points that no other beats in latency and in accuracy, the fastest first.

    Of points that are equal in both, the first stays.
    """
    kept: list[TradeOffPoint] = []
    least = math.inf
    for point in sorted(_measured(points), key=_objectives):
        if (lost := _objectives(point).lost) < least:
            kept.append(point)
            least = lost
    return tuple(kept)


def meets_limits(point: TradeOffPoint, limits: TuneLimits) -> bool:
    """Whether a point was measured and keeps to the limits."""
    return point.state is CandidateState.MEASURED and excess(point, limits) == 0


def choose(points: Iterable[TradeOffPoint], limits: TuneLimits) -> TradeOffPoint | None:
    """Choose among the points that keep to the limits; None if none does.

    The fastest, as what accuracy may be lost was said; where only latency is limited, the most accurate.
    """
    fitting = [point for point in _measured(points) if meets_limits(point, limits)]
    if limits.max_map_drop is None:
        return min(fitting, key=lambda point: _objectives(point)[::-1], default=None)
    return min(fitting, key=_objectives, default=None)


def nearest(points: Iterable[TradeOffPoint], limits: TuneLimits) -> TradeOffPoint | None:
    """Find the point that is least beyond the limits; None if nothing was measured."""
    return min(_measured(points), key=lambda point: (excess(point, limits), _objectives(point)), default=None)


def excess(point: TradeOffPoint, limits: TuneLimits) -> float:
    """Tell how far a measured point is beyond the limits: 0 if it keeps to them.

    Latency counts as a share of its limit, accuracy as a share of its limit or of one point if that is more,
    and they are added.
    """
    objectives = _objectives(point)
    total_excess = 0.0
    if limits.max_latency_ms is not None:
        total_excess += max(0.0, objectives.latency_ms / limits.max_latency_ms - 1)
    if limits.max_map_drop is not None:
        total_excess += max(0.0, objectives.lost - limits.max_map_drop) / max(limits.max_map_drop, 1.0)
    return total_excess


def _measured(points: Iterable[TradeOffPoint]) -> list[TradeOffPoint]:
    return [point for point in points if point.state is CandidateState.MEASURED]


def _objectives(point: TradeOffPoint) -> _Objectives:
    missing = math.inf
    return _Objectives(
        missing if point.latency_ms is None else point.latency_ms,
        missing if point.lost is None else point.lost,
    )
