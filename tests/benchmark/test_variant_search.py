"""Variants of PyTorch: each is tried and named, and the fastest that works is kept."""

from __future__ import annotations

import pytest

from edgeseg.benchmark import variant_search
from edgeseg.benchmark.row import Startup
from edgeseg.benchmark.variant_search import Tryout, open_best
from edgeseg.benchmark.worker.process import RowError

from .fakes import FakeProcess, make_lane

CHANNELS, BF16, COMPILED = "fp32", "bf16", "compiled"


@pytest.fixture
def variants(monkeypatch):
    """How long each variant takes, or why it does not work; and the processes that were started."""
    times: dict[str, float | str] = {}
    processes: dict[str, FakeProcess] = {}

    def name_of(recipe) -> str:
        return COMPILED if recipe.compiled else recipe.precision

    def open_one(lane, frames, *, timeout_s):
        name = name_of(lane.recipe)
        took = times[name]
        calls = [took] if isinstance(took, float) else [1.0]
        lane.process = processes[name] = FakeProcess(name, [], calls)
        lane.startup, lane.description = Startup(load_ms=1.0, first_ms=30_000.0), name

    def warm(lane, **rest):
        took = times[name_of(lane.recipe)]
        if isinstance(took, str):
            if took == "Ctrl-C":
                raise KeyboardInterrupt
            raise RowError(took)
        lane.warm_ms = took

    monkeypatch.setattr(variant_search, "open_lane", open_one)
    monkeypatch.setattr(variant_search, "warm_up", warm)
    return times, processes


def tryout(**changes) -> Tryout:
    facts = {
        "frames": "f",
        "batches": 2,
        "boxes": None,
        "thresholds": [0.5, 0.5],
        "timeout_s": 1.0,
        "compile": True,
        "progress": lambda line: None,
    }
    return Tryout(**{**facts, **changes})


def lane_of(log=None):
    lane = make_lane("pytorch-best", [], [1.0])
    lane.process = None
    return lane


@pytest.mark.parametrize(
    ("took", "winner", "precision"),
    [
        ({CHANNELS: 30.0, BF16: 20.0, COMPILED: 10.0}, COMPILED, "bf16"),
        ({CHANNELS: 20.0, BF16: 30.0, COMPILED: 10.0}, COMPILED, "fp32"),
        ({CHANNELS: 30.0, BF16: 10.0, COMPILED: 20.0}, BF16, "bf16"),
        ({CHANNELS: 10.0, BF16: 20.0, COMPILED: 30.0}, CHANNELS, "fp32"),
        ({CHANNELS: 10.0, BF16: "no bfloat16", COMPILED: "no compiler"}, CHANNELS, "fp32"),
    ],
)
def test_the_fastest_is_kept_and_the_others_are_closed(variants, took, winner, precision):
    times, processes = variants
    times.update(took)
    lane = lane_of()
    open_best(lane, tryout())

    assert lane.description == winner
    assert (lane.row.precision, lane.warm_ms) == (precision, took[winner])
    assert {name for name, process in processes.items() if not process.closed} == {winner}
    assert len(lane.notes) == 3


def test_the_notes_name_what_was_tried(variants):
    variants[0].update({CHANNELS: 30.0, BF16: 20.0, COMPILED: "it took longer than 1 s"})
    lane = lane_of()
    open_best(lane, tryout())

    assert lane.notes == [
        "channels_last: 30 ms",
        "channels_last + bfloat16 autocast: 20 ms",
        "channels_last + bfloat16 autocast + torch.compile does not work here: it took longer than 1 s",
    ]


def test_calls_in_turn_decide_and_not_the_first_ones(variants, monkeypatch):
    """A machine that was slow while one variant grew warm."""
    variants[0].update({CHANNELS: 30.0, BF16: 20.0})
    as_it_is = variant_search.warm_up

    def disturbed(lane, **rest):
        as_it_is(lane, **rest)
        lane.warm_ms *= 4 if lane.recipe.precision == "bf16" else 1

    monkeypatch.setattr(variant_search, "warm_up", disturbed)
    lane = lane_of()
    open_best(lane, tryout(compile=False))

    assert (lane.description, lane.warm_ms) == (BF16, 20)
    assert lane.notes[1] == "channels_last + bfloat16 autocast: 20 ms"


@pytest.mark.parametrize(("at_first_ms", "later_ms", "winner"), [(16.0, 20.0, CHANNELS), (24.0, 19.0, BF16)])
def test_a_close_race_goes_on_until_it_is_decided(variants, monkeypatch, at_first_ms, later_ms, winner):
    """The median of the first dozen calls would choose the other one."""
    variants[0].update({CHANNELS: 19.5, BF16: later_ms})
    as_it_is = variant_search.warm_up

    def disturbed(lane, **rest):
        as_it_is(lane, **rest)
        if lane.recipe.precision == "bf16":
            lane.process.times_ms = [*[at_first_ms] * 6, *[later_ms] * 200]

    monkeypatch.setattr(variant_search, "warm_up", disturbed)
    lane = lane_of()
    open_best(lane, tryout(compile=False))

    assert lane.description == winner
    assert variants[1][CHANNELS].asked > variant_search.LEAST_CALLS


def test_a_race_that_nobody_wins_ends(variants, monkeypatch):
    monkeypatch.setattr(variant_search, "RACE_S", 0.0)
    variants[0].update({CHANNELS: 20.0, BF16: 20.0})
    lane = lane_of()
    open_best(lane, tryout(compile=False))

    assert variants[1][BF16].asked == variant_search.LEAST_CALLS
    assert lane.description == CHANNELS


@pytest.mark.parametrize(("breaks", "winner"), [("bf16", CHANNELS), ("fp32", BF16)])
def test_one_that_breaks_while_it_is_timed_has_lost(variants, monkeypatch, breaks, winner):
    variants[0].update({CHANNELS: 30.0, BF16: 20.0})
    as_it_is = variant_search.warm_up

    def fragile(lane, **rest):
        as_it_is(lane, **rest)
        lane.process.lasts = 3 if lane.recipe.precision == breaks else None

    monkeypatch.setattr(variant_search, "warm_up", fragile)
    lane = lane_of()
    open_best(lane, tryout(compile=False))

    assert lane.description == winner
    assert len([note for note in lane.notes if "does not work here: its process was ended" in note]) == 1
    assert {name for name, process in variants[1].items() if not process.closed} == {winner}


def test_compiling_can_be_left_out(variants):
    variants[0].update({CHANNELS: 30.0, BF16: 20.0})
    lane = lane_of()
    open_best(lane, tryout(compile=False))

    assert lane.description == BF16
    assert lane.notes[-1] == "torch.compile was not tried, as asked"


def test_nothing_works(variants):
    variants[0].update(dict.fromkeys((CHANNELS, BF16, COMPILED), "out of memory"))
    with pytest.raises(RowError, match=r"^channels_last does not work here: out of memory; channels_last \+"):
        open_best(lane_of(), tryout())
    assert all(process.closed for process in variants[1].values())


def test_ctrl_c_leaves_no_process(variants):
    variants[0].update({CHANNELS: 30.0, BF16: "Ctrl-C"})
    with pytest.raises(KeyboardInterrupt):
        open_best(lane_of(), tryout())
    assert [process.closed for process in variants[1].values()] == [True, True]
