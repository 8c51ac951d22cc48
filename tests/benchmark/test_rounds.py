"""Turns: who is called when and how often, and what becomes of a row that breaks."""

from __future__ import annotations

import pytest

from edgeseg.benchmark import rounds
from edgeseg.benchmark.rounds import Plan, Taken, take_turns
from edgeseg.benchmark.row import RowState
from edgeseg.benchmark.row_run import Lane, calls_in_turn, crowd, take_turn, threshold_over, warm_up
from edgeseg.benchmark.statistics.noise import Watch
from edgeseg.benchmark.statistics.summary import Turn
from edgeseg.benchmark.worker.process import RowError

from .fakes import Calls, make_lane

PLAN = Plan(turns=4, duration_s=0, batches=2, batch_size=1)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(rounds, "PAUSE_S", 0)


class Counter:
    """A meter of one joule a reading."""

    def __init__(self) -> None:
        self.value = 0.0

    def joules(self) -> float:
        self.value += 1
        return self.value

    def close(self) -> None:
        pass


def test_each_turn_goes_through_all_rows_on_one_batch_and_begins_with_another():
    log: Calls = []
    lanes = [make_lane(name, log, [1000.0]) for name in ("a-fp32", "b-fp32", "c-fp32")]
    taken = take_turns(lanes, PLAN, watch=Watch())

    assert [name[0] for name, _ in log] == list("abcbcacababc")
    assert [facts["batch"] for _, facts in log] == [0] * 3 + [1] * 3 + [0] * 3 + [1] * 3
    assert [facts["threshold"] for _, facts in log][::3] == [0.5, 0.4, 0.5, 0.4]
    assert (taken.turns, taken.interrupted) == (4, False)
    assert all(lane.turns == dict.fromkeys(range(4), Turn(1000.0, process=1)) for lane in lanes)


def test_a_fast_row_is_called_several_times_after_one_that_does_not_count():
    log: Calls = []
    lane = make_lane("a-int8", log, [500.0, 10.0, 20.0, 30.0], warm_ms=150.0)
    take_turn(lane, 0, 0, batch_size=1, meter=None)

    assert log[0][1]["calls"] == 4
    assert lane.samples_ms == [10.0, 20.0, 30.0]
    assert lane.turns == {0: Turn(20.0, process=1)}
    assert lane.stages_ms[0] == [1.0, 8.0, 1.0]


@pytest.mark.parametrize(("warm_ms", "calls"), [(4000, 1), (499, 1), (200, 2), (100, 5), (3, 6)])
def test_how_often_a_row_is_called_in_its_turn(warm_ms, calls):
    assert calls_in_turn(warm_ms) == calls


def test_a_row_that_breaks_drops_out_with_what_it_has_and_the_others_go_on():
    log: Calls = []
    good, bad = make_lane("a-fp32", log, [900.0]), make_lane("b-fp32", log, [800.0], lasts=2)
    process = bad.process
    take_turns([good, bad], PLAN, watch=Watch())

    assert len(good.samples_ms) == 4
    assert (good.state, good.failure) == (RowState.OK, "")
    assert bad.samples_ms == [800.0, 800.0]
    assert (bad.state, bad.failure) == (RowState.PARTIAL, "its process was ended by SIGKILL")
    assert process is not None
    assert process.closed
    assert bad.process is None


def test_it_ends_when_no_row_is_left():
    log: Calls = []
    lane = make_lane("a-fp32", log, [1.0], lasts=1)

    assert take_turns([lane], Plan(100, 0, 1, 1), watch=Watch()).turns <= 3


def test_it_goes_on_for_as_long_as_it_was_told():
    log: Calls = []
    watch = Watch()
    taken = take_turns([make_lane("a-fp32", log, [900.0])], Plan(1, 0.2, 1, 1), watch=watch)

    assert taken.turns > 1
    assert taken.duration_s >= 0.2
    assert len(watch.noise().probe_ms) == taken.turns


def another_process(lane: Lane) -> None:
    lane.processes += 1
    lane.measured_s = 0.0


def alternating(name: str, log: Calls):
    """A row whose every second turn takes twice as long."""
    return make_lane(name, log, [500.0, 1000.0])


def test_it_goes_on_until_every_ratio_is_known_well_enough():
    plan = Plan(turns=5, duration_s=0, batches=1, batch_size=1, margin=0.05, most_s=3)

    def turns_of(lane: Lane) -> Taken:
        lanes = [make_lane("pytorch-eager", [], [900.0]), lane]
        return take_turns(lanes, plan, watch=Watch(), renew=another_process)

    assert turns_of(make_lane("b-fp32", [], [900.0])).turns == 5
    taken = turns_of(alternating("b-int8", []))
    assert taken.turns > 10
    assert taken.duration_s >= 3


def test_one_process_does_not_say_how_well_a_ratio_is_known():
    lanes = [make_lane("pytorch-eager", [], [900.0]), make_lane("b-fp32", [], [900.0])]
    plan = Plan(turns=2, duration_s=0, batches=1, batch_size=1, margin=0.05, most_s=0.5)

    assert take_turns(lanes, plan, watch=Watch()).duration_s >= 0.5


def test_a_process_that_was_measured_long_enough_gives_way_to_another():
    lane = make_lane("a-fp32", [], [900.0])
    lane.begun_s = 3600.0
    take_turns([lane], PLAN, watch=Watch(), renew=another_process)
    assert lane.processes == 1
    lane.begun_s = 0.0
    take_turns([lane], PLAN, watch=Watch(), renew=another_process)
    assert [turn.process for turn in lane.turns.values()] == [2, 3, 4, 5]


def test_a_row_whose_next_process_does_not_start_drops_out():
    good, bad = make_lane("a-fp32", [], [900.0]), make_lane("b-fp32", [], [800.0])
    good.begun_s = 3600.0

    def fails(lane: Lane) -> None:
        msg = "out of memory"
        raise RowError(msg)

    assert take_turns([good, bad], PLAN, watch=Watch(), renew=fails).turns == 4
    assert (bad.state, bad.failure, len(bad.samples_ms)) == (RowState.PARTIAL, "out of memory", 1)
    assert len(good.samples_ms) == 4


def test_a_row_that_broke_or_has_nothing_beside_it_holds_nothing_up():
    lanes = [make_lane("pytorch-eager", [], [900.0]), make_lane("b-int8", [], [500.0, 1000.0], lasts=2)]
    plan = Plan(turns=4, duration_s=0, batches=1, batch_size=1, margin=0.05)

    assert take_turns(lanes, plan, watch=Watch()).turns == 4
    assert take_turns([alternating("b-int8", [])], plan, watch=Watch()).turns == 4


def test_ctrl_c_keeps_what_there_is(monkeypatch):
    log: Calls = []
    lanes = [make_lane("a-fp32", log, [900.0]), make_lane("b-fp32", log, [900.0])]

    def third(lane, turn, batch, **rest):
        if len(log) == 3:
            raise KeyboardInterrupt
        take_turn(lane, turn, batch, **rest)

    monkeypatch.setattr(rounds, "take_turn", third)
    taken = take_turns(lanes, PLAN, watch=Watch())

    assert taken.interrupted
    assert [len(lane.samples_ms) for lane in lanes] == [1, 2]
    assert all(lane.alive for lane in lanes)


def test_energy_is_shared_by_the_calls_and_their_images():
    log: Calls = []
    lane = make_lane("a-fp32", log, [900.0])
    take_turns([lane], Plan(3, 0, 1, 2), watch=Watch(), meter=Counter())

    assert lane.energy_j == [0.5, 0.5, 0.5]
    assert lane.found == [1.5, 1.5, 1.5]


def test_warming_up_chooses_thresholds_and_looks_at_memory():
    log: Calls = []
    lane = make_lane("a-fp32", log, [40.0, 10.0, 10.0, 10.0])
    warm_up(lane, batches=2, boxes=2, calls=1, timeout_s=1)

    assert lane.thresholds == pytest.approx([0.55, 0.55])
    assert lane.warm_ms == 10.0
    assert lane.startup is not None
    assert (lane.startup.load_ms, lane.startup.first_ms, lane.startup.peak_rss_mib) == (1.0, 40.0, 100.0)
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
def test_warming_up_lasts_until_calls_grow_no_faster(times_ms, calls):
    log: Calls = []
    lane = make_lane("a-fp32", log, times_ms)
    warm_up(lane, batches=1, boxes=None, calls=1, timeout_s=1)

    assert [name for name, _ in log].count("a-fp32 call") == calls


def test_a_long_warmup_is_not_cut_short():
    log: Calls = []
    warm_up(make_lane("a-fp32", log, [900.0]), batches=1, boxes=None, calls=30, timeout_s=1)

    assert [name for name, _ in log].count("a-fp32 call") == 1 + 1 + 30


def test_so_many_boxes_are_of_an_image_and_not_of_a_batch():
    lane = make_lane("a-fp32", [], [40.0])
    lane.process.images = 2
    warm_up(lane, batches=1, boxes=1, calls=1, timeout_s=1)

    assert lane.thresholds == pytest.approx([0.55])


@pytest.mark.parametrize(
    ("boxes", "between"), [(1, (0.8, 0.9)), (3, (0.2, 0.3)), (4, (0, 0.2)), (9, (0, 0.2))]
)
def test_a_threshold_that_leaves_so_many(boxes, between):
    scores = [0.9, 0.8, 0.3, 0.2]
    threshold = threshold_over(scores, boxes)

    assert between[0] < threshold < between[1]
    assert sum(score > threshold for score in scores) == min(boxes, 4)
    assert threshold_over([], boxes) == 0.5


def test_several_callers():
    log: Calls = []
    lane = make_lane("a-fp32", log, [1.0])
    crowd(lane, 3)

    assert lane.images_per_s_crowded == 50
    assert log[0][1]["callers"] == 3


def test_a_row_without_a_process():
    lane = make_lane("a-fp32", [], [1.0])
    lane.close()
    lane.close()

    with pytest.raises(RowError, match="it was not loaded"):
        take_turn(lane, 0, 0, batch_size=1, meter=None)
    lane.fail(RowError("no GPU", refused=True))
    assert lane.state is RowState.SKIPPED
    lane.fail(RowError("crashed"))
    assert lane.state is RowState.FAILED
