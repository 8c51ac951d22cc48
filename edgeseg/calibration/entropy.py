"""TensorRT's entropy calibration: find the clipping point at which 8 bits lose the least information."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Number of magnitudes that a signed 8-bit integer distinguishes.
LEVELS = 128
# Candidates computed at once; more would take more memory without being faster.
_CANDIDATES_PER_BLOCK = 512


def best_bin_count(counts: NDArray[np.int64], min_bins: int = LEVELS) -> int:
    """Find the number of bins to keep that loses the least information.

    For each candidate, the reference is the distribution of the kept bins, with the counts of all clipped
    bins added to the last one. The approximation merges the kept bins into 128 levels and spreads each level
    evenly over its bins that are not empty. The candidate with the smallest Kullback-Leibler divergence of
    the two is chosen; among equals, the one that keeps the most bins.

    Args:
        counts: `int64[n]`, counts of magnitudes in bins of equal width starting at zero; `n >= 128`, and the
            last bin is not empty.
        min_bins: Fewest bins to keep, from `LEVELS` to `n`.

    Returns:
        The number of bins to keep, from `min_bins` to `n`.

    Source:
        Migacz, "8-bit inference with TensorRT", GTC 2017, as NVIDIA's `pytorch-quantization` 2.1 computes it
        (`_compute_amax_entropy`). That goes bin by bin; this uses prefix sums, with the same results.
    """
    bins = counts.astype(np.float64)
    # The zeros of a ReLU would outweigh everything else, and zero is exact in 8 bits for any clipping point.
    bins[0] = bins[1]
    candidates = np.arange(min_bins, len(bins) + 1)
    blocks = np.array_split(candidates, -(-len(candidates) // _CANDIDATES_PER_BLOCK))
    divergences = np.concatenate([_divergences(bins, block) for block in blocks])
    return int(candidates[len(candidates) - 1 - np.argmin(divergences[::-1])])


def _divergences(bins: NDArray[np.float64], kept_bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute the divergence of each candidate in `int64[M]`: `float64[M]`.

    With p the counts of the reference, q those of the approximation, and P and Q their sums, it is
    `(sum p log p - sum p log q) / P - log P + log Q`, where log q is constant within a level. It is infinite
    where the approximation is empty and the reference is not.
    """
    sums, nonempty_counts = _prefix_sums(bins), _prefix_sums(bins > 0)
    edges = -(-np.arange(LEVELS + 1) * kept_bins[:, None] // LEVELS)
    level_sums = np.diff(sums[edges], axis=1)
    log_levels = _log(level_sums) - _log(np.diff(nonempty_counts[edges], axis=1))
    last, beyond = bins[kept_bins - 1], sums[-1] - sums[kept_bins]
    self_term = _prefix_sums(_x_log_x(bins))[kept_bins] - _x_log_x(last) + _x_log_x(last + beyond)
    cross_term = (level_sums * log_levels).sum(1) + beyond * log_levels[:, -1]
    divergences: NDArray[np.float64] = (
        (self_term - cross_term) / sums[-1] - _log(sums[-1]) + _log(sums[kept_bins])
    )
    divergences[(beyond > 0) & (last == 0)] = np.inf
    return divergences


def _prefix_sums(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return the sums of the first 0, 1, ... n values."""
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the logarithm, with 0 for 0, as the result is then always multiplied by 0."""
    logs: NDArray[np.float64] = np.log(np.where(values > 0, values, 1.0))
    return logs


def _x_log_x(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values * _log(values)
