from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from edgeseg.calibration.entropy import LEVELS, best_bin_count
from edgeseg.calibration.histogram import empty_histogram, histogram_of
from edgeseg.calibration.methods import range_from_histogram
from edgeseg.calibration.table import Method


def normal(count: int = 200_000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, count).astype(np.float32)


def cut(values: np.ndarray, method: Method) -> tuple[float, float]:
    found = range_from_histogram(histogram_of(values.astype(np.float32), "x"), method)
    return found.low, found.high


def slow_best_clip(counts: np.ndarray) -> int:
    """Bin by bin, with distributions written out, as the published description has it."""
    bins = counts.astype(float)
    bins[0] = bins[1]
    divergences = []
    for kept in range(LEVELS, len(bins) + 1):
        reference = bins[:kept].copy()
        reference[-1] += bins[kept:].sum()
        level_of = np.digitize(np.arange(kept), np.linspace(0, kept, LEVELS + 1)) - 1
        filled = bins[:kept] > 0
        sums = np.bincount(level_of, weights=bins[:kept], minlength=LEVELS)
        members = Counter(level_of[filled].tolist())
        candidate = np.array(
            [
                sums[level] / members[level] if there else 0.0
                for level, there in zip(level_of, filled, strict=True)
            ]
        )
        p, q = reference / reference.sum(), candidate / candidate.sum()
        seen = p > 0
        with np.errstate(divide="ignore"):
            divergences.append(float((p[seen] * np.log(p[seen] / q[seen])).sum()))
    least = min(divergences)
    # Rounding tells equals apart; the last of them counts.
    return LEVELS + max(i for i, value in enumerate(divergences) if value <= least + 1e-12)


SAMPLES = {
    "normal": normal(),
    "laplace": np.random.default_rng(1).laplace(0, 1, 100_000),
    "relu": normal().clip(0),
    "few": normal(300),
    "uniform": np.random.default_rng(2).uniform(-1, 1, 100_000),
    "outliers": np.concatenate([normal(), np.full(20, 30.0)]),
    "two peaks": np.concatenate([normal(), normal() + 20]),
    "lognormal": np.random.default_rng(3).lognormal(0, 1, 100_000),
}


@pytest.mark.parametrize("bins", [200, 512, 777])
@pytest.mark.parametrize("name", SAMPLES)
def test_entropy_is_what_the_description_says(name: str, bins: int) -> None:
    counts = np.histogram(np.abs(SAMPLES[name]), bins)[0]
    assert best_bin_count(counts) == slow_best_clip(counts)


def test_entropy_of_the_smallest_histogram() -> None:
    assert best_bin_count(np.ones(LEVELS, np.int64)) == LEVELS


def test_entropy_clips_far_outliers() -> None:
    values = np.concatenate([normal(1_000_000), np.full(5, 50.0), np.full(5, -40.0)])
    low, high = cut(values, Method.ENTROPY)
    assert 3 < high < 8
    assert -8 < low < -3
    assert cut(values, Method.MINMAX) == (-40, 50)


def test_entropy_keeps_nearly_all_of_a_uniform_distribution() -> None:
    low, high = cut(np.random.default_rng(4).uniform(0, 6, 1_000_000), Method.ENTROPY)
    assert low == 0
    assert 5.8 < high <= 6


def test_entropy_does_not_clip_at_a_magnitude_that_is_very_frequent() -> None:
    spiked = normal().clip(-0.3, None)
    merged = np.histogram(np.abs(spiked), 2048)[0]
    # By the algorithm alone, more than a third of the values would be clipped.
    assert best_bin_count(merged) * 4.6 / 2048 < 0.4
    assert cut(spiked, Method.ENTROPY)[1] > 1.5


def test_entropy_does_not_depend_on_how_many_zeros_there_are() -> None:
    values = np.random.default_rng(5).gamma(2, 1, 500_000)
    sparse = np.concatenate([values, np.zeros(4_000_000)])
    assert cut(sparse, Method.ENTROPY) == cut(values, Method.ENTROPY)


@pytest.mark.parametrize("scale", [2.0**-10, 2.0**9])
@pytest.mark.parametrize("method", Method)
def test_ranges_grow_with_the_values(method: Method, scale: float) -> None:
    low, high = cut(normal(), method)
    assert cut(normal() * scale, method) == (low * scale, high * scale)


@pytest.mark.parametrize("method", Method)
def test_never_beyond_what_was_seen(method: Method) -> None:
    values = normal().clip(-0.3, None)
    low, high = cut(values, method)
    assert low == values.min()
    assert 1.5 < high <= values.max()


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize(("sign", "wanted"), [(1, (0.0, 5.0)), (-1, (-5.0, 0.0))])
def test_zero_is_inside_of_values_that_never_are(
    method: Method, sign: int, wanted: tuple[float, float]
) -> None:
    assert cut(np.full(1000, 5.0 * sign), method) == wanted


@pytest.mark.parametrize("method", Method)
def test_a_dead_value_gets_a_small_range(method: Method) -> None:
    for histogram in (histogram_of(np.zeros(50, np.float32), "x"), empty_histogram()):
        found = range_from_histogram(histogram, method)
        assert (found.low, found.high) == (0, 0.1)


@pytest.mark.parametrize("method", Method)
def test_a_single_number(method: Method) -> None:
    assert cut(np.array([0.75]), method) == (0, 0.75)


def test_percentile() -> None:
    values = np.concatenate([np.linspace(0.01, 1, 1_000_000), np.full(50, 100.0)])
    low, high = cut(values, Method.PERCENTILE)
    assert low == 0
    assert math.isclose(high, 1, rel_tol=0.02)
    many = np.concatenate([values, np.full(200, 100.0)])
    assert cut(many, Method.PERCENTILE)[1] == 100


def test_percentile_of_a_value_that_is_nearly_always_zero() -> None:
    values = np.concatenate([np.zeros(10_000_000), np.linspace(1, 2, 100)])
    assert cut(values, Method.PERCENTILE)[1] > 1.9


def test_minmax() -> None:
    assert cut(np.array([-0.5, 0, 3, 2]), Method.MINMAX) == (-0.5, 3)
