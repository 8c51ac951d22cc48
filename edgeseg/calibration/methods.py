"""Derive the range of a quantised value from its histogram."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .entropy import LEVELS, best_bin_count
from .histogram import MIN_EXPONENT, Histogram
from .table import Method, Range

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Taken of the magnitudes above the first bin. The number of zeros that a ReLU leaves says nothing about the
# other values, and for a value that is nearly always zero the range would keep only zeros. NVIDIA's tools
# use 99.99 as well.
PERCENTILE = 99.99
# TensorRT counts into 2048 bins up to the largest magnitude. Pairs of ours give 2049 to 4096 up to there.
_BINS_PER_ENTROPY_BIN = 2
# Largest share of the magnitudes above the first bin that the entropy method may clip. For the distributions
# found in networks (normal, Laplace, ReLU, SiLU, hard swish) it clips at most 0.7 %, but if one magnitude is
# very frequent it would clip there and lose everything above.
_MAX_CLIPPED = 0.02
# Range of a value that was always zero. Not tiny, because a bias is stored as int32 in steps of input scale
# times weight scale, and a bias of 100 must fit.
_ALWAYS_ZERO_HIGH = 0.1


def range_from_histogram(histogram: Histogram, method: Method) -> Range:
    """Cut a range: what was seen, clipped at the magnitude that the method finds; zero is always inside.

    Args:
        histogram: What was seen; nothing, or only zeros, gives a small range.
        method: How to cut.
    """
    if histogram.exponent == MIN_EXPONENT:
        return Range(low=0.0, high=_ALWAYS_ZERO_HIGH)
    clip = _clip(histogram, method)
    low, high = max(histogram.low, -clip), min(histogram.high, clip)
    return Range(low=min(0.0, low), high=max(0.0, high))


def _clip(histogram: Histogram, method: Method) -> float:
    if method is Method.MINMAX:
        return max(-histogram.low, histogram.high)
    if method is Method.PERCENTILE:
        return _bins_covering(histogram.counts, PERCENTILE / 100) * histogram.bin_width
    merged = histogram.counts.reshape(-1, _BINS_PER_ENTROPY_BIN).sum(1)
    merged = merged[: int(np.flatnonzero(merged)[-1]) + 1]
    min_bins = max(LEVELS, _bins_covering(merged, 1 - _MAX_CLIPPED))
    return best_bin_count(merged, min_bins) * _BINS_PER_ENTROPY_BIN * histogram.bin_width


def _bins_covering(counts: NDArray[np.int64], share: float) -> int:
    """Count the bins from zero on that hold a share of what is above the first."""
    sums = np.cumsum(counts[1:])
    return int(np.searchsorted(sums, sums[-1] * share)) + 2
