"""The command `edgeseg tune`: what it prints where, and its exit codes."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from edgeseg.benchmark.tune import tuner as module
from edgeseg.benchmark.tune.candidate import CandidateState
from edgeseg.benchmark.tune.config import TuneConfig, TuneLimits
from edgeseg.benchmark.tune.report import TuneReport, WrittenBundle
from edgeseg.errors import BuildError
from edgeseg.runtime.choice import EngineChoice
from edgeseg.tools.main import cli
from edgeseg.vision.frames import Skipped
from tests.benchmark.tune.test_tune import INT8, candidate, make_report, point

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FAST = point(40.0, 0.6, candidate(1, 1, INT8))
FAILED = point(None, None, candidate(2, 2, INT8), state=CandidateState.FAILED, remark="out of memory")
LIMITS = ("--max-latency-ms", "50", "--max-map-drop", "1")


class FakeTuner:
    """Reports what it was given."""

    def __init__(self) -> None:
        self.report = make_report(chosen=FAST, frontier=(FAST, point(100.0, 0.0)), points=(FAST, FAILED))
        self.written: WrittenBundle | None = None
        self.error: BaseException | None = None
        self.config: TuneConfig | None = None

    def run(self) -> TuneReport:
        return self.report

    def write(self, report: TuneReport) -> TuneReport:
        if self.error is not None:
            raise self.error
        return replace(report, written=self.written)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeTuner:
    monkeypatch.chdir(tmp_path)
    fake = FakeTuner()

    @contextmanager
    def open_tuner(
        config: TuneConfig, progress: Callable[[str], None], note: Callable[[str], None]
    ) -> Iterator[FakeTuner]:
        fake.config = config
        yield fake

    monkeypatch.setattr(module, "open_tuner", open_tuner)
    return fake


def run(*args: str, limits: Sequence[str] = LIMITS) -> Result:
    return CliRunner().invoke(cli, ["tune", "ckpt.pth", *limits, "--images", "photos", *args])


def test_the_table_and_the_command(told: FakeTuner) -> None:
    result = run()

    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    for part in (
        "what nothing else beats (val.json)",
        "openvino int8 448 x 576 300 2 40.0 30.00 30.00 +0.60 chosen",
        "openvino fp32 512 x 640 1000 2 100.0 30.00 30.00 +0.00 reference, beyond the limits",
        "Failed openvino int8, 416 x 512, 100 proposals, 2 threads out of memory",
        "1 measured, 1 failed",
        "This makes it: edgeseg export",
    ):
        assert part in words


def test_json(told: FakeTuner) -> None:
    result = run("--json")

    printed = json.loads(result.stdout)
    assert printed["chosen"]["candidate"]["shape"] == {"size_hw": [448, 576], "max_proposals": 300}
    assert printed["limits"] == {"max_latency_ms": 50.0, "max_map_drop": 1.0}
    assert len(printed["points"]) == 2


def test_settings_reach_the_search(told: FakeTuner) -> None:
    run(
        *("--annotations", "val.json", "--calib", "c", "--calib-images", "20", "--size", "512", "640"),
        *("--backend", "openvino", "--threads", "1", "--minutes", "5", "--max-annotated", "9"),
        *("--detections", "50", "--frames", "2", "--repeats", "7", "-o", "out", "--force"),
        *("--settings", "settings.json"),
    )

    config = told.config
    assert config is not None
    assert config.limits == TuneLimits(max_latency_ms=50, max_map_drop=1)
    assert (config.annotations, config.images, config.calib) == (Path("val.json"), Path("photos"), Path("c"))
    assert (config.calib_images, config.size_hw) == (20, (512, 640))
    assert config.engine == EngineChoice(backend="openvino", threads=1)
    assert (config.minutes, config.max_annotated) == (5.0, 9)
    assert config.settings == config.export_config.settings == Path("settings.json")
    assert (config.max_detections, config.frames, config.turns) == (50, 2, 7)
    assert (config.output, config.force) == (Path("out"), True)


def test_nothing_keeps_to_the_limits_exits_with_3_and_prints_the_nearest(told: FakeTuner) -> None:
    told.report = make_report()
    result = run()

    assert result.exit_code == 3
    assert "nearest, reference, beyond the limits" in " ".join(result.stdout.split())
    assert "This makes the nearest:" in result.stdout
    assert result.stderr.splitlines()[-1].startswith("error: nothing that was measured takes at most 50 ms")


def test_interrupted_prints_what_is_known(told: FakeTuner) -> None:
    told.report = replace(told.report, interrupted=True, ended="it was interrupted")
    result = run("--json", "-o", "out")

    assert result.exit_code == 130
    assert json.loads(result.stdout)["interrupted"] is True
    assert result.stderr.splitlines()[-1] == "interrupted; what was measured until then is above"


def test_the_time_is_over(told: FakeTuner) -> None:
    told.report = replace(told.report, ended="5 minutes are over")
    result = run()

    assert result.exit_code == 0
    assert "12 s; ended early: 5 minutes are over" in result.stdout


def test_what_was_written(told: FakeTuner) -> None:
    told.written = WrittenBundle(path="out", box_ap=29.1, mask_ap=29.0, lost=0.4, kept=True)
    result = run("-o", "out")

    assert result.exit_code == 0
    assert "out: box AP 29.10, mask AP 29.00, lost +0.40" in result.stdout

    told.written = replace(told.written, lost=1.4, kept=False)
    result = run("-o", "out")
    assert result.exit_code == 3
    assert "out must lose at most 1 points and loses 1.40" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"), [(BuildError("the builder gave up"), 1), (KeyboardInterrupt(), 130)]
)
def test_what_was_found_is_printed_though_writing_fails(
    told: FakeTuner, error: BuildError | KeyboardInterrupt, code: int
) -> None:
    told.error = error
    result = run("-o", "out")

    assert result.exit_code == code
    assert "openvino int8" in result.stdout


def test_a_full_disk(told: FakeTuner) -> None:
    told.report = replace(told.report, failure="cannot write x: No space left on device", ended="full")
    result = run()

    assert result.exit_code == 1
    assert "openvino int8" in result.stdout
    assert "No space left" in result.stderr


def test_notes_and_skipped_images_go_to_stderr(told: FakeTuner) -> None:
    told.report = replace(
        told.report, notes=("INT8 is left out",), skipped=(Skipped(name="2.jpg", reason="not an image"),)
    )

    assert run().stderr.splitlines() == ["skipped 2.jpg: not an image", "INT8 is left out"]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ((), "pass --max-latency-ms, --max-map-drop or both"),
        (("--max-latency-ms", "0"), "max_latency_ms must be above 0 and finite, got 0.0"),
        (("--max-map-drop", "-1"), "max_map_drop must be above 0 and finite, got -1.0"),
    ],
)
def test_limits_that_cannot_be(told: FakeTuner, limits: tuple[str, ...], words: str) -> None:
    result = run(limits=limits)

    assert (result.exit_code, result.stdout) == (1, "")
    assert words in result.stderr


def test_images_or_annotations_are_needed(told: FakeTuner) -> None:
    result = CliRunner().invoke(cli, ["tune", "ckpt.pth", "--max-map-drop", "1"])

    assert result.exit_code == 1
    assert "pass --annotations FILE, or --images DIR" in result.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "no checkpoint at ckpt.pth"),
        (("--calib", "absent"), "absent"),
    ],
)
def test_bad_input_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, args: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*args, "--backend", "onnxruntime")

    assert result.exit_code == 1
    assert words in result.stderr
    assert "Traceback" not in result.output
