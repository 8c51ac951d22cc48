"""Numbers of many calls: percentiles, and ratios with how sure they are."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgeseg.benchmark.row import Latency, Ratio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

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


def latency_from_samples(samples_ms: Sequence[float]) -> Latency:
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


class RoundTime(NamedTuple):
    """What a row took in a turn.

    Attributes:
        time_ms: Median of its calls.
        process: Which of the row's processes it was, counted from 1.
    """

    time_ms: float
    process: int = 1


def ratio_from_rounds(baseline: Mapping[int, RoundTime], row: Mapping[int, RoundTime]) -> Ratio | None:
    """Compare two rows turn by turn, so that a machine that drifts between turns hurts both alike.

    A process may be faster or slower than another of the same row for as long as it lives, so the interval is
    by a bootstrap over processes, and over the turns of those that were drawn.

    Args:
        baseline: By number of the turn.
        row: The same of the row.

    Returns:
        None where no turn has both.
    """
    common_rounds = sorted(baseline.keys() & row.keys())
    if not common_rounds:
        return None
    groups: dict[tuple[int, int], list[float]] = defaultdict(list)
    for round_number in common_rounds:
        pair = baseline[round_number], row[round_number]
        groups[pair[0].process, pair[1].process].append(pair[0].time_ms / pair[1].time_ms)
    ratios = np.concatenate([np.array(group) for group in groups.values()])
    low, high = np.percentile(_bootstrap_medians([*map(len, groups.values())], ratios), CONFIDENCE_PERCENT)
    return Ratio(
        value=float(np.median(ratios)),
        low=float(low),
        high=float(high),
        turns=len(common_rounds),
        processes=len({process for _, process in groups}),
    )


def _bootstrap_medians(sizes: Sequence[int], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw groups, and of theirs as many values as there are in all: `float64[RESAMPLES]`, the medians.

    Args:
        sizes: Of the groups.
        values: `float64[N]`, group by group.
    """
    # Seeded: the same samples give the same interval.
    rng = np.random.default_rng(0)
    begins = np.cumsum([0, *sizes[:-1]])
    drawn = rng.integers(0, len(sizes), (RESAMPLES, len(sizes)))
    ends = np.cumsum(np.array(sizes)[drawn], axis=1)
    # Places in the drawn groups laid end to end, moved back to where these groups are.
    positions = (rng.random((RESAMPLES, len(values))) * ends[:, -1:]).astype(int)
    group = sum(
        (positions >= ends[:, [number]] for number in range(len(sizes) - 1)), np.zeros_like(positions)
    )
    offsets = begins[drawn] - np.hstack([np.zeros_like(ends[:, :1]), ends[:, :-1]])
    return np.asarray(np.median(values[positions + np.take_along_axis(offsets, group, axis=1)], axis=1))


def cost_per_million(price_per_hour: float, images_per_s: float) -> float:
    """Price of a million images, in the currency of the price."""
    return price_per_hour / 3600 / images_per_s * 1e6
