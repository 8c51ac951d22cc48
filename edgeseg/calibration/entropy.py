"""TensorRT's entropy calibration: where to clip so that 8 bits tell most about the value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Magnitudes that a signed 8-bit integer tells apart.
LEVELS = 128
# Candidates computed at once; more takes memory and no less time.
_CANDIDATES_PER_BLOCK = 512


def best_bin_count(counts: NDArray[np.int64], min_bins: int = LEVELS) -> int:
    """Find the number of bins to keep that loses least information.

    For each candidate: the reference is the distribution of the bins kept, with all that is beyond added to
    the last of them; the candidate merges the bins kept into 128 levels, spread again over the bins that are
    not empty. The one whose Kullback-Leibler divergence from its reference is least wins, of equals the last.

    Args:
        counts: `int64[n]`, magnitudes in bins of equal width from zero on; `n >= 128`, the last not empty.
        min_bins: Fewest bins to keep, `LEVELS` to `n`.

    Returns:
        `min_bins` to `n`.

    Source:
        Migacz, "8-bit inference with TensorRT", GTC 2017, as NVIDIA's `pytorch-quantization` 2.1 computes it
        (`_compute_amax_entropy`); there bin by bin, here from running sums, which give the same numbers.
    """
    bins = counts.astype(np.float64)
    # The zeros of a ReLU would outweigh all else, and 8 bits hold a zero exactly wherever the clip is.
    bins[0] = bins[1]
    candidates = np.arange(min_bins, len(bins) + 1)
    blocks = np.array_split(candidates, -(-len(candidates) // _CANDIDATES_PER_BLOCK))
    divergences = np.concatenate([_divergences(bins, block) for block in blocks])
    return int(candidates[len(candidates) - 1 - np.argmin(divergences[::-1])])


def _divergences(bins: NDArray[np.float64], kept_bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Divergence of each candidate of `int64[M]`; infinite where the candidate misses what the reference has.

    With p the counts of the reference, q those of the candidate, P and Q their sums, it is
    `(sum p log p - sum p log q) / P - log P + log Q`, and log q is one number a level.
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
    """Sums of the first 0, 1, ... n values."""
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm, 0 of 0: it is only ever multiplied by that 0."""
    logs: NDArray[np.float64] = np.log(np.where(values > 0, values, 1.0))
    return logs


def _x_log_x(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values * _log(values)
