from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from edgeseg.calibration import histogram as histogram_module
from edgeseg.calibration.histogram import BINS, MIN_EXPONENT, Histogram, empty_histogram, histogram_of
from edgeseg.errors import CalibrationError


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def facts(histogram: Histogram) -> tuple[float, float, int, list[int]]:
    return histogram.low, histogram.high, histogram.exponent, histogram.counts.tolist()


def test_against_numpy() -> None:
    values = np.random.default_rng(0).normal(0, 3, (3, 50, 70)).astype(np.float32)
    found = histogram_of(values, "x")
    edges = np.linspace(0, 2.0**found.exponent, BINS + 1)
    assert found.counts.tolist() == np.histogram(np.abs(values), edges)[0].tolist()
    assert (found.low, found.high) == (values.min(), values.max())
    assert found.total == values.size
    assert 2.0 ** (found.exponent - 1) <= np.abs(values).max() < 2.0**found.exponent


def test_chunks_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(0, 3, 10_007).astype(np.float32)
    whole = facts(histogram_of(values, "x"))
    monkeypatch.setattr(histogram_module, "_CHUNK", 1000)
    assert facts(histogram_of(values, "x")) == whole


@pytest.mark.parametrize("seed", range(3))
def test_order_and_grouping_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Magnitudes from 1e-9 to 1e6, zeros and bins' very edges among them.
    values = (rng.normal(0, 1, 4000) * 10.0 ** rng.uniform(-9, 6, 4000)).astype(np.float32)
    values[::7] = 0
    values[1::7] = 2.0 ** rng.integers(-20, 18, len(values[1::7]))
    whole = histogram_of(values, "x")
    for parts in (2, 9, 50):
        total = empty_histogram()
        for chunk in np.array_split(rng.permutation(values), parts):
            total = total + histogram_of(chunk, "x")
        assert facts(total) == facts(whole)


def test_a_larger_value_doubles_the_range_and_merges_bins() -> None:
    small = histogram_of(floats(0.1, 0.2, 0.9, -0.9), "x")
    assert small.exponent == 0
    both = small + histogram_of(floats(3.0), "x")
    assert both.exponent == 2
    assert both.counts[[int(0.1 * BINS / 4), int(0.9 * BINS / 4), int(3 * BINS / 4)]].tolist() == [1, 2, 1]
    assert (both.low, both.high, both.total) == (floats(-0.9)[0], 3.0, 5)


def test_memory_is_constant() -> None:
    total = empty_histogram()
    rng = np.random.default_rng(2)
    sizes = set()
    for _ in range(20):
        total = total + histogram_of((rng.normal(0, 1, 5000) * 10 ** rng.uniform(-3, 3)).astype("f4"), "x")
        sizes.add((total.counts.nbytes, total.counts.shape, sys.getsizeof(total)))
    assert len(sizes) == 1
    assert total.total == 100_000


def test_zeros_and_nothing() -> None:
    zeros = histogram_of(np.zeros((2, 3), np.float32), "x")
    assert (zeros.low, zeros.high, zeros.exponent, zeros.counts[0]) == (0, 0, MIN_EXPONENT, 6)
    nothing = histogram_of(np.zeros((0, 256, 14, 14), np.float32), "x")
    assert nothing.total == 0
    assert facts(zeros + nothing) == facts(zeros)


@pytest.mark.parametrize(
    "largest", [1.0, 2.0**-20, 1e-30, 3.4e38, float(np.nextafter(np.float32(8), np.float32(0)))]
)
def test_the_largest_value_is_inside(largest: float) -> None:
    found = histogram_of(floats(-largest, 0), "x")
    assert found.total == 2
    assert math.ldexp(1, found.exponent) > largest


@pytest.mark.parametrize(
    ("bad", "what"), [(math.nan, "NaN"), (math.inf, "infinity"), (-math.inf, "infinity")]
)
def test_what_is_not_finite_is_named(bad: float, what: str) -> None:
    values = np.zeros((2, 300), np.float32)
    values[1, 200] = bad
    with pytest.raises(CalibrationError, match=f"^stem of image a.png holds {what}"):
        histogram_of(values, "stem of image a.png")


def test_a_view_with_strides() -> None:
    values = np.random.default_rng(3).normal(0, 1, (20, 30)).astype(np.float32)
    assert facts(histogram_of(values[::3, ::-2].T, "x")) == facts(histogram_of(values[::3, ::-2].copy(), "x"))
