"""What need not be measured, since what was measured tells that it cannot win."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeseg.bundle.engines import Precision

from .candidate import CandidateState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .candidate import Candidate, TradeOffPoint
    from .config import TuneLimits

# Beyond the limit by so much, a time is no outlier, and larger shapes need not be tried.
CLEARLY_SLOW_FACTOR = 1.1
# A larger shape that lost more than twice what may be lost, and a point, leaves no hope for smaller ones.
HOPELESS_FACTOR, HOPELESS_POINTS = 2.0, 1.0


def reason_not_to_time(candidate: Candidate, points: Iterable[TradeOffPoint], limits: TuneLimits) -> str:
    """Say why a candidate need not be timed; empty if it may win.

    Two things are taken for granted: on one engine a larger shape is no faster, and what loses far too much
    does not lose less when it is made smaller.

    Args:
        candidate: Not measured yet.
        points: What is known.
        limits: What must be kept to.
    """
    other_points = [
        point
        for point in points
        if point.candidate.same_engine(candidate) and point.candidate.shape != candidate.shape
    ]
    return _too_slow(candidate, other_points, limits) or _too_inaccurate(candidate, other_points, limits)


def reason_not_to_score(point: TradeOffPoint, points: Iterable[TradeOffPoint], limits: TuneLimits) -> str:
    """Say why a candidate that was timed need not be scored; empty if its accuracy decides.

    Engines of full precision compute the same numbers but for rounding, so only the fastest is scored.
    """
    latency_ms = point.latency_ms
    if limits.max_latency_ms is not None and latency_ms and latency_ms > limits.max_latency_ms:
        return "over the limit, so it was not scored"
    if point.candidate.precision is not Precision.FP32:
        return ""
    for other in points:
        one, two = point.candidate, other.candidate
        same = (one.shape, one.precision, one.threads) == (two.shape, two.precision, two.threads)
        scored = same and one != two and other.state is CandidateState.MEASURED
        if scored and latency_ms and other.latency_ms and other.latency_ms <= latency_ms:
            return f"not scored: {two.engine} computes the same faster"
    return ""


def _too_slow(candidate: Candidate, other_points: Iterable[TradeOffPoint], limits: TuneLimits) -> str:
    limit = limits.max_latency_ms
    for point in other_points:
        smaller = point.candidate.shape.fits_within(candidate.shape)
        if limit and smaller and point.latency_ms and point.latency_ms > CLEARLY_SLOW_FACTOR * limit:
            return f"no smaller than {point.candidate.shape}, which takes {point.latency_ms:.1f} ms"
    return ""


def _too_inaccurate(candidate: Candidate, other_points: Iterable[TradeOffPoint], limits: TuneLimits) -> str:
    allowed = limits.max_map_drop
    for point in other_points:
        larger = candidate.shape.fits_within(point.candidate.shape)
        if allowed is None or not larger or point.lost is None:
            continue
        if point.lost > HOPELESS_FACTOR * allowed + HOPELESS_POINTS:
            return f"no larger than {point.candidate.shape}, which loses {point.lost:.1f} points"
    return ""
