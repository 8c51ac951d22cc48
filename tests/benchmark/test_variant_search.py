"""Variants of PyTorch: each is tried and named, and the fastest that works is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edgeseg.benchmark import variant_search
from edgeseg.benchmark.row import Startup
from edgeseg.benchmark.row_run import warm_up
from edgeseg.benchmark.variant_search import VariantSearch, open_best_variant
from edgeseg.benchmark.worker.process import RowError

from .fakes import Calls, FakeProcess, make_row_run

if TYPE_CHECKING:
    from edgeseg.benchmark.row_run import RowRun
    from edgeseg.benchmark.runners.spec import RunnerSpec

CHANNELS, BF16, COMPILED = "fp32", "bf16", "compiled"


@pytest.fixture
def variants(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, float | str], dict[str, FakeProcess]]:
    """How long each variant takes, or why it does not work; and the processes that were started."""
    times: dict[str, float | str] = {}
    processes: dict[str, FakeProcess] = {}

    def name_of(runner_spec: RunnerSpec) -> str:
        return COMPILED if runner_spec.compiled else runner_spec.precision

    def open_one(row_run: RowRun, frames: str, *, timeout_s: float) -> None:
        name = name_of(row_run.runner_spec)
        took = times[name]
        calls = [took] if isinstance(took, float) else [1.0]
        row_run.process = processes[name] = FakeProcess(name, [], calls)
        row_run.startup, row_run.description = Startup(load_ms=1.0, first_ms=30_000.0), name

    def warm(row_run: RowRun, **rest: Any) -> None:
        took = times[name_of(row_run.runner_spec)]
        if isinstance(took, str):
            if took == "Ctrl-C":
                raise KeyboardInterrupt
            raise RowError(took)
        row_run.warm_ms = took

    monkeypatch.setattr(variant_search, "start_row", open_one)
    monkeypatch.setattr(variant_search, "warm_up", warm)
    return times, processes


def search(**changes: Any) -> VariantSearch:
    facts = {
        "frames": "f",
        "batches": 2,
        "boxes": None,
        "thresholds": [0.5, 0.5],
        "timeout_s": 1.0,
        "compile": True,
        "progress": lambda line: None,
    }
    return VariantSearch(**{**facts, **changes})


def row_run_of(log: Calls | None = None) -> RowRun:
    row_run = make_row_run("pytorch-best", [], [1.0])
    row_run.process = None
    return row_run


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
def test_the_fastest_is_kept_and_the_others_are_closed(
    variants: tuple[dict[str, float | str], dict[str, FakeProcess]],
    took: dict[str, float | str],
    winner: str,
    precision: str,
) -> None:
    times, processes = variants
    times.update(took)
    row_run = row_run_of()
    open_best_variant(row_run, search())

    assert row_run.description == winner
    assert (row_run.row.precision, row_run.warm_ms) == (precision, took[winner])
    assert {name for name, process in processes.items() if not process.closed} == {winner}
    assert len(row_run.notes) == 3


def test_the_notes_name_what_was_tried(
    variants: tuple[dict[str, float | str], dict[str, FakeProcess]],
) -> None:
    variants[0].update({CHANNELS: 30.0, BF16: 20.0, COMPILED: "it took longer than 1 s"})
    row_run = row_run_of()
    open_best_variant(row_run, search())

    assert row_run.notes == [
        "channels_last: 30 ms",
        "channels_last + bfloat16 autocast: 20 ms",
        "channels_last + bfloat16 autocast + torch.compile does not work here: it took longer than 1 s",
    ]


def test_calls_in_turn_decide_and_not_the_first_ones(
    variants: tuple[dict[str, float | str], dict[str, FakeProcess]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that was slow while one variant grew warm."""
    variants[0].update({CHANNELS: 30.0, BF16: 20.0})
    as_it_is = warm_up

    def disturbed(row_run: RowRun, **rest: Any) -> None:
        as_it_is(row_run, **rest)
        row_run.warm_ms *= 4 if row_run.runner_spec.precision == "bf16" else 1

    monkeypatch.setattr(variant_search, "warm_up", disturbed)
    row_run = row_run_of()
    open_best_variant(row_run, search(compile=False))

    assert (row_run.description, row_run.warm_ms) == (BF16, 20)
    assert row_run.notes[1] == "channels_last + bfloat16 autocast: 20 ms"


@pytest.mark.parametrize(("at_first_ms", "later_ms", "winner"), [(16.0, 20.0, CHANNELS), (24.0, 19.0, BF16)])
def test_a_close_race_goes_on_until_it_is_decided(
    variants: tuple[dict[str, float | str], dict[str, FakeProcess]],
    monkeypatch: pytest.MonkeyPatch,
    at_first_ms: float,
    later_ms: float,
    winner: str,
) -> None:
    """The median of the first dozen calls would choose the other one."""
    variants[0].update({CHANNELS: 19.5, BF16: later_ms})
    as_it_is = warm_up

    def disturbed(row_run: RowRun, **rest: Any) -> None:
        as_it_is(row_run, **rest)
        if row_run.runner_spec.precision == "bf16":
            assert isinstance(row_run.process, FakeProcess)
            row_run.process.times_ms = [*[at_first_ms] * 6, *[later_ms] * 200]

    monkeypatch.setattr(variant_search, "warm_up", disturbed)
    row_run = row_run_of()
    open_best_variant(row_run, search(compile=False))

    assert row_run.description == winner
    assert variants[1][CHANNELS].asked > variant_search.MIN_CALLS


def test_a_race_that_nobody_wins_ends(
    variants: tuple[dict[str, float | str], dict[str, FakeProcess]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variant_search, "COMPARISON_S", 0.0)
    variants[0].update({CHANNELS: 20.0, BF16: 20.0})
    row_run = row_run_of()
    open_best_variant(row_run, search(compile=False))

    assert variants[1][BF16].asked == variant_search.MIN_CALLS
    assert row_run.description == CHANNELS


@pytest.mark.parametrize(("breaks", "winner"), [("bf16", CHANNELS), ("fp32", BF16)])
def test_one_that_breaks_while_it_is_timed_has_lost(
    variants: tuple[dict[str, float | str], dict[str, FakeProcess]],
    monkeypatch: pytest.MonkeyPatch,
    breaks: str,
    winner: str,
) -> None:
    variants[0].update({CHANNELS: 30.0, BF16: 20.0})
    as_it_is = warm_up

    def fragile(row_run: RowRun, **rest: Any) -> None:
        as_it_is(row_run, **rest)
        assert isinstance(row_run.process, FakeProcess)
        row_run.process.lasts = 3 if row_run.runner_spec.precision == breaks else None

    monkeypatch.setattr(variant_search, "warm_up", fragile)
    row_run = row_run_of()
    open_best_variant(row_run, search(compile=False))

    assert row_run.description == winner
    assert len([note for note in row_run.notes if "does not work here: its process was ended" in note]) == 1
    assert {name for name, process in variants[1].items() if not process.closed} == {winner}


def test_compiling_can_be_left_out(variants: tuple[dict[str, float | str], dict[str, FakeProcess]]) -> None:
    variants[0].update({CHANNELS: 30.0, BF16: 20.0})
    row_run = row_run_of()
    open_best_variant(row_run, search(compile=False))

    assert row_run.description == BF16
    assert row_run.notes[-1] == "torch.compile was not tried, as asked"


def test_nothing_works(variants: tuple[dict[str, float | str], dict[str, FakeProcess]]) -> None:
    variants[0].update(dict.fromkeys((CHANNELS, BF16, COMPILED), "out of memory"))
    with pytest.raises(RowError, match=r"^channels_last does not work here: out of memory; channels_last \+"):
        open_best_variant(row_run_of(), search())
    assert all(process.closed for process in variants[1].values())


def test_ctrl_c_leaves_no_process(variants: tuple[dict[str, float | str], dict[str, FakeProcess]]) -> None:
    variants[0].update({CHANNELS: 30.0, BF16: "Ctrl-C"})
    with pytest.raises(KeyboardInterrupt):
        open_best_variant(row_run_of(), search())
    assert [process.closed for process in variants[1].values()] == [True, True]
