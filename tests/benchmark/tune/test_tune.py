"""The search on a made-up machine: every figure is a formula, so that what is found can be told exactly."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgeseg.benchmark.tune import engines as engines_module
from edgeseg.benchmark.tune.candidate import (
    Candidate,
    CandidateState,
    Shape,
    ShapeGrid,
    TradeOffPoint,
    shape_grid,
)
from edgeseg.benchmark.tune.config import TuneConfig, TuneLimits
from edgeseg.benchmark.tune.engines import runnable_engines
from edgeseg.benchmark.tune.frontier import choose, excess, frontier, meets_limits, nearest
from edgeseg.benchmark.tune.pruning import reason_not_to_score, reason_not_to_time
from edgeseg.benchmark.tune.report import LimitError, TuneReport, WrittenBundle, check_limits, commands_for
from edgeseg.benchmark.tune.search import OutOfTimeError, Search, SearchPlan, Timing
from edgeseg.bundle.engines import Precision, Target
from edgeseg.errors import ConfigError, DependencyError, EdgeSegError
from edgeseg.quantisation.evaluator import Score
from edgeseg.records import json_from_record, record_from_json
from edgeseg.runtime.choice import EngineChoice
from tests.benchmark.samples import make_report as make_benchmark_report

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

INT8 = (Target.OPENVINO, Precision.INT8)
FP32 = (Target.OPENVINO, Precision.FP32)
ORT32 = (Target.ONNXRUNTIME, Precision.FP32)
GRID = shape_grid((512, 640), 1000)


def candidate(
    size: int = 0, proposals: int = 0, engine: tuple[Target, Precision] = FP32, threads: int = 2
) -> Candidate:
    return Candidate(
        shape=GRID.shape_at(size, proposals), target=engine[0], precision=engine[1], threads=threads
    )


def point(
    latency_ms: float | None, lost: float | None, of: Candidate | None = None, **changes: Any
) -> TradeOffPoint:
    facts = {
        "candidate": of or candidate(),
        "state": CandidateState.MEASURED,
        "latency_ms": latency_ms,
        "lost": lost,
        "box_ap": 30.0,
        "mask_ap": 30.0,
    }
    return TradeOffPoint(**{**facts, **changes})


# The grid.


def test_the_grid_has_the_own_proposals_and_fewer() -> None:
    assert GRID.sizes_hw == (
        (512, 640),
        (448, 576),
        (416, 512),
        (352, 448),
        (320, 384),
        (256, 320),
        (192, 256),
    )
    assert GRID.proposals == (1000, 300, 100)
    assert shape_grid((512, 640), 200).proposals == (200, 100)
    # Shares of a small size meet.
    assert shape_grid((64, 64), 50) == ShapeGrid(((64, 64), (32, 32)), (50,))


def test_coarse_begins_with_the_fastest_and_has_no_shape_twice() -> None:
    coarse = GRID.coarse_shapes()

    assert coarse[:2] == (GRID.smallest, GRID.largest)
    assert len(coarse) == 6
    assert shape_grid((32, 32), 50).coarse_shapes() == (Shape(size_hw=(32, 32), max_proposals=50),)


def test_around_stays_on_the_grid() -> None:
    assert len(GRID.neighbours(GRID.shape_at(2, 1))) == 8
    assert set(GRID.neighbours(GRID.largest)) == {
        GRID.shape_at(0, 1),
        GRID.shape_at(1, 0),
        GRID.shape_at(1, 1),
    }


# The frontier, the choice and the nearest.


def test_the_frontier_is_what_nothing_beats() -> None:
    fast, middle, exact = point(10, 3), point(20, 1), point(50, 0)
    beaten = [point(20, 2), point(60, 0), point(11, 3), point(None, None, state=CandidateState.FAILED)]
    timed = point(1, None, state=CandidateState.TIMED)

    assert frontier([exact, *beaten, timed, middle, fast]) == (fast, middle, exact)
    assert frontier([]) == ()


def test_of_equal_points_one_stays() -> None:
    assert len(frontier([point(10, 1), point(10, 1)])) == 1


@pytest.mark.parametrize(
    ("latency_ms", "lost", "expected"),
    [(100, 1.0, 0.0), (50, -2.0, 0.0), (120, 1.0, 0.2), (100, 1.5, 0.5), (150, 2.0, 1.5)],
)
def test_excess(latency_ms: float, lost: float, expected: float) -> None:
    limits = TuneLimits(max_latency_ms=100, max_map_drop=1)

    assert excess(point(latency_ms, lost), limits) == pytest.approx(expected)
    assert meets_limits(point(latency_ms, lost), limits) is (expected == 0)


def test_a_small_limit_on_accuracy_counts_in_points() -> None:
    assert excess(point(10, 0.3), TuneLimits(max_map_drop=0.1)) == pytest.approx(0.2)
    assert excess(point(10, 8), TuneLimits(max_map_drop=4)) == pytest.approx(1.0)


def test_with_a_limit_on_accuracy_the_fastest_is_chosen() -> None:
    fast, exact = point(20, 0.9), point(90, 0)

    assert choose([exact, fast, point(10, 1.1)], TuneLimits(max_latency_ms=100, max_map_drop=1)) is fast
    assert choose([exact, fast], TuneLimits(max_map_drop=1)) is fast


def test_with_a_limit_on_latency_alone_the_most_accurate_is_chosen() -> None:
    fast, exact = point(20, 0.9), point(90, 0)

    assert choose([fast, exact, point(101, -1)], TuneLimits(max_latency_ms=100)) is exact


def test_none_is_chosen_where_none_keeps_to_the_limits() -> None:
    points = [point(150, 0), point(10, 5), point(90, None, state=CandidateState.TIMED)]
    limits = TuneLimits(max_latency_ms=100, max_map_drop=1)

    assert choose(points, limits) is None
    assert nearest(points, limits) is points[0]
    assert nearest([], limits) is None


# What is left out.


def test_larger_than_what_is_clearly_too_slow() -> None:
    limits = TuneLimits(max_latency_ms=100)
    slow = point(111, 0, candidate(2, 1))

    assert "takes 111.0 ms" in reason_not_to_time(candidate(1, 1), [slow], limits)
    assert "takes 111.0 ms" in reason_not_to_time(candidate(2, 0), [slow], limits)
    # Smaller in one way, of another engine, not clearly slower, or without a limit.
    assert reason_not_to_time(candidate(1, 2), [slow], limits) == ""
    assert reason_not_to_time(candidate(3, 0), [slow], limits) == ""
    assert reason_not_to_time(candidate(1, 1, INT8), [slow], limits) == ""
    assert reason_not_to_time(candidate(1, 1), [point(109, 0, candidate(2, 1))], limits) == ""
    assert reason_not_to_time(candidate(1, 1), [slow], TuneLimits(max_map_drop=1)) == ""


def test_smaller_than_what_loses_far_too_much() -> None:
    limits = TuneLimits(max_map_drop=1)
    poor = point(10, 3.1, candidate(2, 1))

    assert "loses 3.1 points" in reason_not_to_time(candidate(3, 1), [poor], limits)
    assert reason_not_to_time(candidate(1, 1), [poor], limits) == ""
    assert reason_not_to_time(candidate(3, 0), [poor], limits) == ""
    assert reason_not_to_time(candidate(3, 1), [point(10, 2.9, candidate(2, 1))], limits) == ""
    assert reason_not_to_time(candidate(3, 1), [poor], TuneLimits(max_latency_ms=1)) == ""


def test_over_the_limit_is_not_scored() -> None:
    limits = TuneLimits(max_latency_ms=100)

    assert "over the limit" in reason_not_to_score(point(101, None), [], limits)
    assert reason_not_to_score(point(100, None), [], limits) == ""


def test_of_two_engines_of_full_precision_the_faster_is_scored() -> None:
    limits = TuneLimits(max_map_drop=1)
    slower = point(50, None, candidate(engine=ORT32))

    assert "openvino fp32 computes the same" in reason_not_to_score(slower, [point(40, 0)], limits)
    assert reason_not_to_score(slower, [point(60, 0)], limits) == ""
    assert reason_not_to_score(slower, [point(40, 0, candidate(1))], limits) == ""
    assert reason_not_to_score(point(50, None, candidate(engine=INT8)), [point(40, 0)], limits) == ""


# The search on a made-up machine.


class FakeBench:
    """A millisecond for each 1000 pixels and 20 proposals, a quarter in INT8; accuracy falls with size.

    Attributes:
        log: What was timed, and what was scored.
    """

    def __init__(self, broken: dict[tuple[Target, Precision], str] | None = None) -> None:
        self.broken = broken or {}
        self.timed: list[Candidate] = []
        self.scored: list[Candidate] = []
        self.kept: list[set[Shape]] = []
        self.now = 0.0
        self.breaks_at: dict[int, BaseException] = {}

    def latency_ms(self, of: Candidate) -> float:
        height, width = of.shape.size_hw
        work = height * width / 1000 + of.shape.max_proposals / 20
        part = {Precision.INT8: 0.25}.get(of.precision, 1.0 if of.target is Target.OPENVINO else 1.2)
        return work * part * {2: 1.0, 1: 1.8}[of.threads]

    def lost(self, of: Candidate) -> float:
        row, column = GRID.sizes_hw.index(of.shape.size_hw), GRID.proposals.index(of.shape.max_proposals)
        return 0.4 * row + (0, 0.2, 4.0)[column] + (0.3 if of.precision is Precision.INT8 else 0.0)

    def time_candidates(self, candidates: Sequence[Candidate], turns: int) -> dict[Candidate, Timing]:
        self._step()
        self.timed += candidates
        return {
            item: Timing(None, self.broken[item.target, item.precision])
            if (item.target, item.precision) in self.broken
            else Timing(self.latency_ms(item))
            for item in candidates
        }

    def score(self, of: Candidate) -> Score:
        self._step()
        self.scored.append(of)
        ap = 40 - self.lost(of)
        return Score(box_ap=ap, mask_ap=ap - 1, latency_ms=1.0)

    def keep(self, shapes: Collection[Shape]) -> None:
        self.kept.append(set(shapes))

    def _step(self) -> None:
        self.now += 60.0
        if (error := self.breaks_at.get(round(self.now / 60))) is not None:
            raise error


def make_search(measurer: FakeBench, limits: TuneLimits, **changes: Any) -> Search:
    facts = {
        "grid": GRID,
        "engines": (INT8, FP32, ORT32),
        "threads": (2, 1),
        "limits": limits,
        "turns": 3,
        "until_s": float("inf"),
    }
    return Search(SearchPlan(**{**facts, **changes}), measurer, clock=lambda: measurer.now)


def best_of_all(measurer: FakeBench, limits: TuneLimits) -> Candidate | None:
    """Choose among all that could be tried, measured or not."""
    everything = [
        point(measurer.latency_ms(item), measurer.lost(item), item)
        for item in (candidate(s, p, e) for s in range(7) for p in range(3) for e in (INT8, FP32, ORT32))
    ]
    chosen = choose(everything, limits)
    return chosen.candidate if chosen else None


@pytest.mark.parametrize(
    "limits",
    [
        TuneLimits(max_map_drop=1),
        TuneLimits(max_map_drop=0.4),
        TuneLimits(max_map_drop=0.1),
        TuneLimits(max_map_drop=6),
        TuneLimits(max_latency_ms=50),
        TuneLimits(max_latency_ms=30),
        TuneLimits(max_latency_ms=400),
        TuneLimits(max_latency_ms=60, max_map_drop=2),
        TuneLimits(max_latency_ms=100, max_map_drop=0.5),
    ],
)
def test_it_finds_what_trying_everything_finds(limits: TuneLimits) -> None:
    measurer = FakeBench()
    search = make_search(measurer, limits)
    search.run()

    assert search.chosen is not None
    assert search.chosen.candidate == best_of_all(measurer, limits)


def test_it_measures_less_than_everything() -> None:
    measurer = FakeBench()
    search = make_search(measurer, TuneLimits(max_latency_ms=60, max_map_drop=1))
    search.run()

    # Of 63.
    assert len(set(measurer.timed)) < 35
    assert len(measurer.scored) < 20
    assert len(measurer.scored) == len(set(measurer.scored))
    skipped = [item for item in search.points.values() if item.state is CandidateState.SKIPPED]
    assert skipped
    assert all(item.remark for item in skipped)


def test_the_reference_is_full_precision_at_full_size_and_loses_nothing() -> None:
    measurer = FakeBench()
    search = make_search(measurer, TuneLimits(max_map_drop=1))
    search.run()

    assert search.reference == measurer.scored[0] == candidate()
    assert search.points[candidate()].lost == 0


def test_an_impossible_latency_is_known_soon_and_the_nearest_named() -> None:
    measurer = FakeBench()
    search = make_search(measurer, TuneLimits(max_latency_ms=5))
    search.run()

    assert search.chosen is None
    assert search.nearest is not None
    assert search.nearest.candidate == candidate(6, 2, INT8)
    assert search.nearest.lost == pytest.approx(6.7)
    # The reference and the smallest shape; everything else is no smaller.
    assert {item.shape for item in measurer.timed} == {GRID.largest, GRID.smallest}


def test_an_impossible_accuracy_names_the_least_loss() -> None:
    measurer = FakeBench()
    search = make_search(measurer, TuneLimits(max_map_drop=0.1, max_latency_ms=100), engines=(INT8, FP32))
    search.run()

    assert search.chosen is None
    assert search.nearest is not None
    assert search.nearest.candidate == candidate(0, 0, INT8)


def test_threads_are_tried_for_the_best_alone_and_its_accuracy_is_marked() -> None:
    measurer = FakeBench()
    search = make_search(measurer, TuneLimits(max_map_drop=1))
    search.run()

    single = [item for item in measurer.timed if item.threads == 1]
    assert search.chosen is not None
    assert [item.shape for item in single] == [search.chosen.candidate.shape]
    variant = search.points[single[0]]
    assert variant.state is CandidateState.MEASURED
    assert variant.lost == search.chosen.lost
    assert variant.remark == "AP is that of the same engine with 2 threads"


def test_fewer_threads_are_taken_where_they_are_faster() -> None:
    measurer = FakeBench()
    measurer.latency_ms = lambda of: FakeBench.latency_ms(measurer, of) / of.threads**-2  # type: ignore[method-assign]
    search = make_search(measurer, TuneLimits(max_map_drop=1))
    search.run()

    assert search.chosen is not None
    assert search.chosen.candidate.threads == 1


def test_the_last_comparison_decides() -> None:
    """What was fast enough by chance is measured again beside the others, and loses its place."""
    measurer = FakeBench()
    drifted = set[Candidate]()

    def latency_ms(of: Candidate) -> float:
        seen = of in drifted
        drifted.add(of)
        return FakeBench.latency_ms(measurer, of) * (3.0 if seen and of.shape == GRID.shape_at(2, 1) else 1.0)

    measurer.latency_ms = latency_ms  # type: ignore[method-assign]
    search = make_search(measurer, TuneLimits(max_map_drop=1.35))
    search.run()

    assert search.points[candidate(2, 1, INT8)].latency_ms == pytest.approx(171.0, abs=0.1)
    assert search.chosen is not None
    assert search.chosen.candidate != candidate(2, 1, INT8)


def test_an_engine_that_fails_is_told_and_the_others_go_on() -> None:
    measurer = FakeBench(broken={INT8: "no images"})
    search = make_search(measurer, TuneLimits(max_map_drop=1))
    search.run()

    failed = {item.remark for item in search.points.values() if item.state is CandidateState.FAILED}
    assert failed == {"no images"}
    assert search.chosen is not None
    assert search.chosen.candidate.precision is Precision.FP32


def test_a_candidate_that_cannot_be_scored_is_told() -> None:
    measurer = FakeBench()
    measurer.breaks_at = {5: EdgeSegError("NaN")}
    search = make_search(measurer, TuneLimits(max_map_drop=1))
    search.run()

    (failed,) = [item for item in search.points.values() if item.state is CandidateState.FAILED]
    assert failed.remark == "NaN"
    assert failed.latency_ms is not None
    assert search.chosen is not None


def test_a_reference_that_fails_ends_the_search() -> None:
    search = make_search(FakeBench(broken={FP32: "no AVX"}), TuneLimits(max_map_drop=1))

    with pytest.raises(EdgeSegError, match="no AVX"):
        search.run()
    assert search.reference is None


@pytest.mark.parametrize("minutes", [2, 4, 7, 12])
def test_when_time_is_over_what_is_known_stays(minutes: int) -> None:
    measurer = FakeBench()
    search = make_search(measurer, TuneLimits(max_map_drop=1), until_s=60.0 * minutes)

    with pytest.raises(OutOfTimeError):
        search.run()
    # One measurement may be under way, and the last comparison follows.
    assert measurer.now <= 60 * (minutes + 2)
    assert {item.threads for item in measurer.timed} == {1, 2}
    assert search.frontier
    assert search.chosen is not None


def test_interrupted_what_is_known_stays() -> None:
    measurer = FakeBench()
    measurer.breaks_at = {8: KeyboardInterrupt()}
    search = make_search(measurer, TuneLimits(max_map_drop=1))

    with pytest.raises(KeyboardInterrupt):
        search.run()
    assert search.chosen is not None


def test_files_of_what_may_be_measured_again_are_kept() -> None:
    measurer = FakeBench()
    search = make_search(measurer, TuneLimits(max_map_drop=1))
    search.run()

    final = {item.candidate.shape for item in search.frontier}
    assert final <= measurer.kept[-1]
    assert len(measurer.kept[-1]) < len({item.shape for item in measurer.timed})


def test_the_smallest_is_not_scored_where_a_larger_one_loses_too_much() -> None:
    measurer = FakeBench()
    search = make_search(measurer, TuneLimits(max_map_drop=0.5))
    search.run()

    known = search.points[candidate(6, 2, INT8)]
    assert known.state is CandidateState.TIMED
    assert "which loses" in known.remark
    assert candidate(6, 2, INT8) not in measurer.scored


# Which engines are tried.


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def make(*running: Target, bfloat16: bool = True) -> None:
        monkeypatch.setattr(
            engines_module,
            "unavailable_reason",
            lambda target: "" if target in running else f"no {target.value}",
        )
        monkeypatch.setattr(engines_module, "has_bfloat16", lambda: bfloat16)

    return make


def test_engines_of_a_processor(machine: Callable[..., None]) -> None:
    machine(Target.OPENVINO, Target.ONNXRUNTIME, bfloat16=False)

    assert runnable_engines(EngineChoice(), int8=True).pairs == (
        INT8,
        FP32,
        (Target.ONNXRUNTIME, Precision.INT8),
        ORT32,
    )
    assert runnable_engines(EngineChoice(backend="openvino"), int8=True).pairs == (INT8, FP32)


def test_engines_of_a_precision_that_was_asked_for(machine: Callable[..., None]) -> None:
    machine(Target.OPENVINO, Target.ONNXRUNTIME)

    assert runnable_engines(EngineChoice(precision="fp32"), int8=True).pairs == (FP32, ORT32)


def test_without_images_to_calibrate_on_int8_is_left_out_and_that_is_said(
    machine: Callable[..., None],
) -> None:
    machine(Target.OPENVINO)
    found = runnable_engines(EngineChoice(), int8=False)

    assert found.pairs == ((Target.OPENVINO, Precision.BF16), FP32)
    assert found.notes == ("INT8 is left out: it needs images to calibrate on; pass --calib DIR",)


def test_with_a_gpu_processors_are_not_tried(machine: Callable[..., None]) -> None:
    machine(Target.TENSORRT, Target.OPENVINO)

    assert {target for target, _ in runnable_engines(EngineChoice(), int8=True).pairs} == {Target.TENSORRT}


def test_a_backend_that_does_not_run_here(machine: Callable[..., None]) -> None:
    machine(Target.ONNXRUNTIME)

    with pytest.raises(ConfigError, match="--backend tensorrt cannot be tried: no tensorrt;"):
        runnable_engines(EngineChoice(backend="tensorrt"), int8=True)
    machine()
    with pytest.raises(DependencyError, match="no engine can be tried"):
        runnable_engines(EngineChoice(), int8=True)


# What may be asked for, and what is told.


def make_config(**changes: Any) -> TuneConfig:
    facts = {"checkpoint": Path("ckpt.pth"), "limits": TuneLimits(max_map_drop=1), "images": Path("photos")}
    return TuneConfig(**{**facts, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_latency_ms": 0.0}, "max_latency_ms must be above 0 and finite, got 0.0"),
        ({"max_latency_ms": -5.0}, "got -5.0"),
        ({"max_map_drop": 0.0}, "max_map_drop must be above 0"),
        ({"max_map_drop": float("nan")}, "got nan"),
        ({"max_latency_ms": float("inf")}, "got inf"),
        ({}, "pass --max-latency-ms, --max-map-drop or both"),
    ],
)
def test_limits_that_cannot_be(changes: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TuneLimits(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": None}, "--annotations FILE, or --images DIR"),
        ({"minutes": 0.0}, "minutes must be above 0"),
        ({"frames": 0}, "frames must be at least 1"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_config(**changes)


def test_the_command_has_everything_that_makes_the_engine() -> None:
    config = make_config(
        calib=Path("my photos"),
        calib_images=50,
        output=Path("out"),
        classes=Path("names.txt"),
        max_detections=50,
    )

    assert commands_for(config, candidate(1, 1, INT8)) == (
        "edgeseg export ckpt.pth --size 448 576 --proposals 300 --detections 50 --classes names.txt "
        "-o out && edgeseg build-engine --int8 --target openvino --calib 'my photos' --images 50 "
        "--no-check --model out"
    )
    assert commands_for(make_config(), candidate()) == (
        "edgeseg export ckpt.pth --size 512 640 --proposals 1000 && "
        "edgeseg build-engine --fp32 --target openvino"
    )


def test_the_command_is_one_that_the_command_line_takes() -> None:
    import click

    from edgeseg.tools.main import cli

    config = make_config(calib=Path("c"), output=Path("o"), check=Path("p"), factory="a:b", classes=Path("n"))
    for words in commands_for(config, candidate(engine=INT8)).split(" && "):
        _, verb, *args = shlex.split(words)
        # A command keeps the help option of its first context; without this one it would be without -h.
        parent = click.Context(cli, **cli.context_settings)
        command = cli.get_command(parent, verb)
        assert command is not None
        command.make_context(verb, args, parent=parent)


def make_report(**changes: Any) -> TuneReport:
    exact = point(100.0, 0.0)
    facts: dict[str, Any] = {
        "checkpoint": "ckpt.pth",
        "limits": TuneLimits(max_latency_ms=50, max_map_drop=1),
        "measured_on": "val.json",
        "images": 8,
        "frame_size_hw": (512, 640),
        "machine": make_benchmark_report().machine,
        "reference": exact,
        "points": (exact,),
        "frontier": (exact,),
        "chosen": None,
        "nearest": exact,
        "command": "edgeseg export",
        "spent_s": 12.0,
    }
    return TuneReport(**{**facts, **changes})


def test_a_report_survives_json() -> None:
    report = make_report(written=WrittenBundle(path="o", box_ap=1.0, mask_ap=1.0, lost=0.1, kept=True))

    assert record_from_json(TuneReport, json_from_record(report), source="report") == report


def test_nothing_keeps_to_the_limits() -> None:
    words = (
        r"^nothing that was measured takes at most 50 ms and loses at most 1 points of AP; the nearest takes "
        r"100.0 ms and loses 0.00: openvino fp32, 512 x 640, 1000 proposals, 2 threads$"
    )
    with pytest.raises(LimitError, match=words) as raised:
        check_limits(make_report())
    assert raised.value.exit_code == 3
    with pytest.raises(LimitError, match="measured \\(3 minutes are over\\) takes"):
        check_limits(make_report(ended="3 minutes are over"))
    with pytest.raises(LimitError, match="give it more --minutes"):
        check_limits(make_report(nearest=None))


def test_what_was_written_loses_more() -> None:
    written = WrittenBundle(path="out", box_ap=1.0, mask_ap=1.0, lost=1.5, kept=False)

    check_limits(make_report(chosen=point(10, 0)))
    with pytest.raises(LimitError, match=r"out must lose at most 1 points and loses 1\.50"):
        check_limits(make_report(chosen=point(10, 0), written=written))


def test_a_full_disk_is_no_verdict() -> None:
    with pytest.raises(EdgeSegError, match="No space left") as raised:
        check_limits(make_report(failure="cannot write x: No space left on device"))
    assert raised.value.exit_code == 1
