"""Turns: who is called when and how often, and what becomes of a row that breaks."""

from __future__ import annotations

from typing import Any

import pytest

from edgeseg.benchmark import rounds
from edgeseg.benchmark.rounds import RoundPlan, RoundsResult, run_rounds
from edgeseg.benchmark.row import RowState
from edgeseg.benchmark.row_run import (
    RowRun,
    calls_per_round,
    measure_concurrent_throughput,
    measure_round,
    threshold_for_count,
    warm_up,
)
from edgeseg.benchmark.statistics.noise import NoiseMonitor
from edgeseg.benchmark.statistics.summary import RoundTime
from edgeseg.benchmark.worker.process import RowError

from .fakes import Calls, FakeProcess, make_row_run

PLAN = RoundPlan(turns=4, duration_s=0, batches=2, batch_size=1)


class Clock:
    """A second passes before each row's turn, and no other time."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += 1


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "time", Clock())


class Counter:
    """A meter of one joule a reading."""

    def __init__(self) -> None:
        self.value = 0.0

    def joules(self) -> float:
        self.value += 1
        return self.value

    def close(self) -> None:
        pass


def test_each_turn_goes_through_all_rows_on_one_batch_and_begins_with_another() -> None:
    log: Calls = []
    row_runs = [make_row_run(name, log, [1000.0]) for name in ("a-fp32", "b-fp32", "c-fp32")]
    rounds_result = run_rounds(row_runs, PLAN, noise_monitor=NoiseMonitor())

    assert [name[0] for name, _ in log] == list("abcbcacababc")
    assert [facts["batch"] for _, facts in log] == [0] * 3 + [1] * 3 + [0] * 3 + [1] * 3
    assert [facts["threshold"] for _, facts in log][::3] == [0.5, 0.4, 0.5, 0.4]
    assert (rounds_result.turns, rounds_result.interrupted) == (4, False)
    assert all(
        row_run.rounds == dict.fromkeys(range(4), RoundTime(1000.0, process=1)) for row_run in row_runs
    )


def test_a_fast_row_is_called_several_times_after_one_that_does_not_count() -> None:
    log: Calls = []
    row_run = make_row_run("a-int8", log, [500.0, 10.0, 20.0, 30.0], warm_ms=150.0)
    measure_round(row_run, 0, 0, batch_size=1, meter=None)

    assert log[0][1]["calls"] == 4
    assert row_run.samples_ms == [10.0, 20.0, 30.0]
    assert row_run.rounds == {0: RoundTime(20.0, process=1)}
    assert row_run.stages_ms[0] == (1.0, 8.0, 1.0)


@pytest.mark.parametrize(("warm_ms", "calls"), [(4000, 1), (499, 1), (200, 2), (100, 5), (3, 6)])
def test_how_often_a_row_is_called_in_its_turn(warm_ms: int, calls: int) -> None:
    assert calls_per_round(warm_ms) == calls


def test_a_row_that_breaks_drops_out_with_what_it_has_and_the_others_go_on() -> None:
    log: Calls = []
    good, bad = make_row_run("a-fp32", log, [900.0]), make_row_run("b-fp32", log, [800.0], lasts=2)
    process = bad.process
    run_rounds([good, bad], PLAN, noise_monitor=NoiseMonitor())

    assert len(good.samples_ms) == 4
    assert (good.state, good.failure) == (RowState.OK, "")
    assert bad.samples_ms == [800.0, 800.0]
    assert (bad.state, bad.failure) == (RowState.PARTIAL, "its process was ended by SIGKILL")
    assert isinstance(process, FakeProcess)
    assert process.closed
    assert bad.process is None


def test_it_ends_when_no_row_is_left() -> None:
    log: Calls = []
    row_run = make_row_run("a-fp32", log, [1.0], lasts=1)

    assert run_rounds([row_run], RoundPlan(100, 0, 1, 1), noise_monitor=NoiseMonitor()).turns <= 3


def test_it_goes_on_for_as_long_as_it_was_told() -> None:
    log: Calls = []
    noise_monitor = NoiseMonitor()
    rounds_result = run_rounds(
        [make_row_run("a-fp32", log, [900.0])], RoundPlan(1, 3, 1, 1), noise_monitor=noise_monitor
    )

    assert (rounds_result.turns, rounds_result.duration_s) == (3, 3)
    assert len(noise_monitor.noise().probe_ms) == rounds_result.turns


def another_process(row_run: RowRun) -> None:
    row_run.processes += 1
    row_run.measured_s = 0.0


def alternating(name: str, log: Calls) -> RowRun:
    """A row whose every second turn takes twice as long."""
    return make_row_run(name, log, [500.0, 1000.0])


def test_it_goes_on_until_every_ratio_is_known_well_enough() -> None:
    plan = RoundPlan(turns=5, duration_s=0, batches=1, batch_size=1, margin=0.05, most_s=24)

    def turns_of(row_run: RowRun) -> RoundsResult:
        row_runs = [make_row_run("pytorch-eager", [], [900.0]), row_run]
        return run_rounds(row_runs, plan, noise_monitor=NoiseMonitor(), restart_process=another_process)

    assert turns_of(make_row_run("b-fp32", [], [900.0])).turns == 5
    rounds_result = turns_of(alternating("b-int8", []))
    assert (rounds_result.turns, rounds_result.duration_s) == (12, 24)


def test_one_process_does_not_say_how_well_a_ratio_is_known() -> None:
    row_runs = [make_row_run("pytorch-eager", [], [900.0]), make_row_run("b-fp32", [], [900.0])]
    plan = RoundPlan(turns=2, duration_s=0, batches=1, batch_size=1, margin=0.05, most_s=6)

    rounds_result = run_rounds(row_runs, plan, noise_monitor=NoiseMonitor())
    assert (rounds_result.turns, rounds_result.duration_s) == (3, 6)


def test_a_process_that_was_measured_long_enough_gives_way_to_another() -> None:
    row_run = make_row_run("a-fp32", [], [900.0])
    row_run.startup_s = 3600.0
    run_rounds([row_run], PLAN, noise_monitor=NoiseMonitor(), restart_process=another_process)
    assert row_run.processes == 1
    row_run.startup_s = 0.0
    run_rounds([row_run], PLAN, noise_monitor=NoiseMonitor(), restart_process=another_process)
    assert [round_number.process for round_number in row_run.rounds.values()] == [2, 3, 4, 5]


def test_a_row_whose_next_process_does_not_start_drops_out() -> None:
    good, bad = make_row_run("a-fp32", [], [900.0]), make_row_run("b-fp32", [], [800.0])
    good.startup_s = 3600.0

    def fails(row_run: RowRun) -> None:
        msg = "out of memory"
        raise RowError(msg)

    assert run_rounds([good, bad], PLAN, noise_monitor=NoiseMonitor(), restart_process=fails).turns == 4
    assert (bad.state, bad.failure, len(bad.samples_ms)) == (RowState.PARTIAL, "out of memory", 1)
    assert len(good.samples_ms) == 4


def test_a_row_that_broke_or_has_nothing_beside_it_holds_nothing_up() -> None:
    row_runs = [
        make_row_run("pytorch-eager", [], [900.0]),
        make_row_run("b-int8", [], [500.0, 1000.0], lasts=2),
    ]
    plan = RoundPlan(turns=4, duration_s=0, batches=1, batch_size=1, margin=0.05)

    assert run_rounds(row_runs, plan, noise_monitor=NoiseMonitor()).turns == 4
    assert run_rounds([alternating("b-int8", [])], plan, noise_monitor=NoiseMonitor()).turns == 4


def test_ctrl_c_keeps_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    log: Calls = []
    row_runs = [make_row_run("a-fp32", log, [900.0]), make_row_run("b-fp32", log, [900.0])]

    def third(row_run: RowRun, round_number: int, batch: int, **rest: Any) -> None:
        if len(log) == 3:
            raise KeyboardInterrupt
        measure_round(row_run, round_number, batch, **rest)

    monkeypatch.setattr(rounds, "measure_round", third)
    rounds_result = run_rounds(row_runs, PLAN, noise_monitor=NoiseMonitor())

    assert rounds_result.interrupted
    assert [len(row_run.samples_ms) for row_run in row_runs] == [1, 2]
    assert all(row_run.alive for row_run in row_runs)


def test_energy_is_shared_by_the_calls_and_their_images() -> None:
    log: Calls = []
    row_run = make_row_run("a-fp32", log, [900.0])
    meter: Any = Counter()
    run_rounds([row_run], RoundPlan(3, 0, 1, 2), noise_monitor=NoiseMonitor(), meter=meter)

    assert row_run.energy_j == [0.5, 0.5, 0.5]
    assert row_run.detections_per_image == [1.5, 1.5, 1.5]


def test_warming_up_chooses_thresholds_and_looks_at_memory() -> None:
    log: Calls = []
    row_run = make_row_run("a-fp32", log, [40.0, 10.0, 10.0, 10.0])
    warm_up(row_run, batches=2, boxes=2, calls=1, timeout_s=1)

    assert row_run.thresholds == pytest.approx([0.55, 0.55])
    assert row_run.warm_ms == 10.0
    assert row_run.startup is not None
    assert (row_run.startup.load_ms, row_run.startup.first_ms, row_run.startup.peak_rss_mib) == (
        1.0,
        40.0,
        100.0,
    )
    calls = [facts["batch"] for name, facts in log if name.endswith("call")]
    # Warm when three calls are no faster than the three before.
    assert calls == [0, 0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("times_ms", "calls"),
    [
        ([900.0], 1 + 6),
        ([900.0, 800.0, 800.0, 800.0, 700.0, 700.0, 700.0] + [690.0] * 40, 1 + 8),
        ([1000.0 * 0.97**number for number in range(40)], 1 + 24),
    ],
)
def test_warming_up_lasts_until_calls_grow_no_faster(times_ms: list[float], calls: int) -> None:
    log: Calls = []
    row_run = make_row_run("a-fp32", log, times_ms)
    warm_up(row_run, batches=1, boxes=None, calls=1, timeout_s=1)

    assert [name for name, _ in log].count("a-fp32 call") == calls


def test_a_long_warmup_is_not_cut_short() -> None:
    log: Calls = []
    warm_up(make_row_run("a-fp32", log, [900.0]), batches=1, boxes=None, calls=30, timeout_s=1)

    assert [name for name, _ in log].count("a-fp32 call") == 1 + 1 + 30


def test_so_many_boxes_are_of_an_image_and_not_of_a_batch() -> None:
    row_run = make_row_run("a-fp32", [], [40.0])
    assert isinstance(row_run.process, FakeProcess)
    row_run.process.images = 2
    warm_up(row_run, batches=1, boxes=1, calls=1, timeout_s=1)

    assert row_run.thresholds == pytest.approx([0.55])


@pytest.mark.parametrize(
    ("boxes", "between"), [(1, (0.8, 0.9)), (3, (0.2, 0.3)), (4, (0, 0.2)), (9, (0, 0.2))]
)
def test_a_threshold_that_leaves_so_many(boxes: int, between: tuple[float, ...]) -> None:
    scores = [0.9, 0.8, 0.3, 0.2]
    threshold = threshold_for_count(scores, boxes)

    assert between[0] < threshold < between[1]
    assert sum(score > threshold for score in scores) == min(boxes, 4)
    assert threshold_for_count([], boxes) == 0.5


def test_several_callers() -> None:
    log: Calls = []
    row_run = make_row_run("a-fp32", log, [1.0])
    measure_concurrent_throughput(row_run, 3)

    assert row_run.concurrent_images_per_s == 50
    assert log[0][1]["callers"] == 3


def test_a_row_without_a_process() -> None:
    row_run = make_row_run("a-fp32", [], [1.0])
    row_run.close()
    row_run.close()

    with pytest.raises(RowError, match="it was not loaded"):
        measure_round(row_run, 0, 0, batch_size=1, meter=None)
    states = []
    for error in (RowError("no GPU", refused=True), RowError("crashed")):
        row_run.fail(error)
        states.append(row_run.state)

    assert states == [RowState.SKIPPED, RowState.FAILED]
