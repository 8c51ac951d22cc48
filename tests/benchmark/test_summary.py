"""Percentiles as trtexec means them, and ratios that a drifting machine does not bend."""

from __future__ import annotations

import numpy as np
import pytest

from edgeseg.benchmark.summary import cost_per_million, latency_of, percentile, ratio_of


@pytest.mark.parametrize(
    ("count", "percent", "expected"),
    [
        (1, 99, 1),
        (10, 90, 9),
        (10, 99, 10),
        (99, 99, 99),
        (100, 99, 99),
        (100, 90, 90),
        (200, 99, 198),
        (15, 90, 14),
        (10, 100, 10),
        (10, 0, 1),
    ],
)
def test_percentiles_leave_out_whole_samples(count, percent, expected):
    samples = np.random.default_rng(0).permutation(np.arange(1, count + 1)).tolist()

    assert percentile(samples, percent) == expected


def test_no_samples():
    with pytest.raises(ValueError, match="a percentile of no samples"):
        percentile([], 50)


def test_latency_of_calls_in_any_order():
    latency = latency_of([4.0, 1.0, 3.0, 2.0])

    assert latency.samples_ms == (4.0, 1.0, 3.0, 2.0)
    assert (latency.p50_ms, latency.p90_ms, latency.min_ms, latency.max_ms) == (2.5, 4.0, 1.0, 4.0)
    assert latency.mean_ms == 2.5
    assert latency.std_ms == pytest.approx(np.std([1, 2, 3, 4]))
    assert latency_of([5.0]).std_ms == 0


def test_a_machine_that_slows_down_leaves_the_ratio_as_it_is():
    slower = {turn: 100.0 * (1 + turn) for turn in range(9)}
    ratio = ratio_of(slower, {turn: value / 4 for turn, value in slower.items()})

    assert ratio is not None
    assert (ratio.value, ratio.low, ratio.high, ratio.turns) == (4, 4, 4, 9)


def test_the_interval_holds_the_ratio_and_shrinks_with_turns():
    rng = np.random.default_rng(1)
    baseline = {turn: 100.0 * rng.uniform(0.9, 1.1) for turn in range(200)}
    row = {turn: 20.0 * rng.uniform(0.9, 1.1) for turn in range(200)}
    few = ratio_of({turn: baseline[turn] for turn in range(10)}, row)
    many = ratio_of(baseline, row)

    assert few is not None
    assert many is not None
    assert many.low < 5 < many.high
    assert many.high - many.low < few.high - few.low
    assert many == ratio_of(baseline, row)


def test_only_turns_that_both_have_taken_count():
    ratio = ratio_of({0: 10.0, 1: 10.0, 2: 90.0}, {0: 5.0, 1: 5.0})

    assert ratio is not None
    assert (ratio.value, ratio.turns) == (2, 2)
    assert ratio_of({0: 1.0}, {1: 1.0}) is None


def test_cost_of_a_million_images():
    # Ten images a second for an hour at 0.36 an hour: 36,000 images.
    assert cost_per_million(0.36, 10) == pytest.approx(10)
