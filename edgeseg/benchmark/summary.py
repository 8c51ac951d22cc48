"""Numbers of many calls: percentiles, and ratios with how sure they are."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import numpy as np

from .row import Latency, Ratio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RESAMPLES = 4000
CONFIDENCE_PERCENT = (2.5, 97.5)


def percentile(samples: Sequence[float], percent: int) -> float:
    """Find the sample that at most `100 - percent` hundredths of all, rounded down, lie above.

    Raises:
        ValueError: No samples.

    Source:
        trtexec, `findPercentile` in TensorRT's samples/common/sampleReporting.cpp, in exact numbers: there
        100 samples in float32 leave out none at 99 percent.
    """
    if not samples:
        msg = "a percentile of no samples was asked for"
        raise ValueError(msg)
    excluded = len(samples) * (100 - percent) // 100
    return sorted(samples)[max(len(samples) - 1 - excluded, 0)]


def latency_of(samples_ms: Sequence[float]) -> Latency:
    """Sum up times of calls, in milliseconds; at least one."""
    return Latency(
        samples_ms=tuple(round(value, 4) for value in samples_ms),
        p50_ms=statistics.median(samples_ms),
        p90_ms=percentile(samples_ms, 90),
        p99_ms=percentile(samples_ms, 99),
        mean_ms=statistics.fmean(samples_ms),
        min_ms=min(samples_ms),
        max_ms=max(samples_ms),
        std_ms=statistics.pstdev(samples_ms),
    )


def ratio_of(baseline_ms: Mapping[int, float], row_ms: Mapping[int, float]) -> Ratio | None:
    """Compare two rows turn by turn, so that a machine that drifts between turns hurts both alike.

    Args:
        baseline_ms: Turn to median time in that turn.
        row_ms: The same of the row.

    Returns:
        None where no turn has both.
    """
    common = sorted(baseline_ms.keys() & row_ms.keys())
    if not common:
        return None
    ratios = np.array([baseline_ms[turn] / row_ms[turn] for turn in common])
    # Seeded: the same samples give the same interval.
    draws = np.random.default_rng(0).integers(0, len(ratios), (RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[draws], axis=1), CONFIDENCE_PERCENT)
    return Ratio(value=float(np.median(ratios)), low=float(low), high=float(high), turns=len(common))


def cost_per_million(price_per_hour: float, images_per_s: float) -> float:
    """Price of a million images, in the currency of the price."""
    return price_per_hour / 3600 / images_per_s * 1e6
