"""Percentiles as trtexec means them, and ratios that a drifting machine does not bend."""

from __future__ import annotations

import numpy as np
import pytest

from edgeseg.benchmark.statistics.summary import (
    RoundTime,
    cost_per_million,
    latency_from_samples,
    percentile,
    ratio_from_rounds,
)


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
def test_percentiles_leave_out_whole_samples(count: int, percent: int, expected: int) -> None:
    samples = np.random.default_rng(0).permutation(np.arange(1, count + 1)).tolist()

    assert percentile(samples, percent) == expected


def test_no_samples() -> None:
    with pytest.raises(ValueError, match="a percentile of no samples"):
        percentile([], 50)


def test_latency_of_calls_in_any_order() -> None:
    latency = latency_from_samples([4.0, 1.0, 3.0, 2.0])

    assert latency.samples_ms == (4.0, 1.0, 3.0, 2.0)
    assert (latency.p50_ms, latency.p90_ms, latency.min_ms, latency.max_ms) == (2.5, 4.0, 1.0, 4.0)
    assert latency.mean_ms == 2.5
    assert latency.std_ms == pytest.approx(np.std([1, 2, 3, 4]))
    assert latency_from_samples([5.0]).std_ms == 0


def turns_of(times_ms: dict[int, float]) -> dict[int, RoundTime]:
    return {turn: RoundTime(time_ms) for turn, time_ms in times_ms.items()}


def test_a_machine_that_slows_down_leaves_the_ratio_as_it_is() -> None:
    slower = {turn: 100.0 * (1 + turn) for turn in range(9)}
    ratio = ratio_from_rounds(turns_of(slower), turns_of({turn: value / 4 for turn, value in slower.items()}))

    assert ratio is not None
    assert (ratio.value, ratio.low, ratio.high, ratio.turns, ratio.processes) == (4, 4, 4, 9, 1)


def test_the_interval_holds_the_ratio_and_shrinks_with_turns() -> None:
    rng = np.random.default_rng(1)
    baseline = turns_of({turn: 100.0 * rng.uniform(0.9, 1.1) for turn in range(200)})
    row = turns_of({turn: 20.0 * rng.uniform(0.9, 1.1) for turn in range(200)})
    few = ratio_from_rounds({turn: baseline[turn] for turn in range(10)}, row)
    many = ratio_from_rounds(baseline, row)

    assert few is not None
    assert many is not None
    assert many.low < 5 < many.high
    assert many.high - many.low < few.high - few.low
    assert few.margin == pytest.approx(max(few.high / few.value - 1, 1 - few.low / few.value))
    assert many == ratio_from_rounds(baseline, row)


@pytest.mark.parametrize(("processes", "least", "most"), [(1, 0.3, 0.8), (5, 0.85, 1.0), (12, 0.9, 1.0)])
def test_the_interval_holds_what_other_processes_would_give(
    processes: int, least: float, most: float
) -> None:
    """Each process is faster or slower by 5 % for its whole life; one alone cannot know."""
    rng = np.random.default_rng(2)
    held = []
    for _ in range(100):
        baseline, row = {}, {}
        for process in range(processes):
            luck = rng.normal(1, 0.05)
            for turn in range(10 * process, 10 * (process + 1)):
                baseline[turn] = RoundTime(100.0 * rng.normal(1, 0.05))
                row[turn] = RoundTime(20.0 * luck * rng.normal(1, 0.05), process)
        ratio = ratio_from_rounds(baseline, row)
        assert ratio is not None
        assert ratio.processes == processes
        held.append(ratio.low <= 5 <= ratio.high)

    assert least <= np.mean(held) <= most


def test_only_turns_that_both_have_taken_count() -> None:
    ratio = ratio_from_rounds(turns_of({0: 10.0, 1: 10.0, 2: 90.0}), turns_of({0: 5.0, 1: 5.0}))

    assert ratio is not None
    assert (ratio.value, ratio.turns) == (2, 2)
    assert ratio_from_rounds({0: RoundTime(1.0)}, {1: RoundTime(1.0)}) is None


def test_cost_of_a_million_images() -> None:
    # Ten images a second for an hour at 0.36 an hour: 36,000 images.
    assert cost_per_million(0.36, 10) == pytest.approx(10)
