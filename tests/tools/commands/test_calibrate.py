"""`edgeseg calibrate` and `edgeseg build-engine`: what they print where, and their exit codes."""

from __future__ import annotations

import json
import platform
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from edgeseg.builder import build
from edgeseg.bundle.compatibility import Engine
from edgeseg.bundle.engines import EngineOptions, EngineRecord, Precision, Target
from edgeseg.bundle.manifest import FileRecord
from edgeseg.calibration.table import Method
from edgeseg.quantisation import calibrate
from edgeseg.quantisation.calibrate import AccuracyError, CalibrateConfig, CalibrationReport
from edgeseg.quantisation.evaluator import Score
from edgeseg.quantisation.sensitivity import AccuracyBudget, BlockCost, BudgetStep
from edgeseg.runtime import targets
from edgeseg.tools.main import cli
from tests.runtime.fake_bundle import make_bundle

if TYPE_CHECKING:
    from collections.abc import Callable

FP32 = Score(box_ap=40.0, mask_ap=35.0, latency_ms=100.0)
INT8 = Score(box_ap=39.75, mask_ap=34.9, latency_ms=40.0)
REPORT = CalibrationReport(
    table="edgeseg-model/calibration.json",
    method=Method.ENTROPY,
    images=100,
    ranges=93,
    float_layers=("box_head.fc7",),
    measured_on="instances_val.json",
    fp32=FP32,
    int8=INT8,
    costs=(BlockCost(block="box_head.fc7", layers=("box_head.fc7",), box_drop=0.5, mask_drop=-0.25),),
    notes=("calibrating on all 24 usable images",),
    budget=AccuracyBudget(
        met=True,
        score=INT8,
        float_layers=("box_head.fc7",),
        steps=(
            BudgetStep(reverted="", box_drop=0.75, mask_drop=0.2, speed=2.75),
            BudgetStep(reverted="box_head.fc7", box_drop=0.25, mask_drop=0.1, speed=2.5),
        ),
    ),
)
ENGINE = Engine(
    path=Path("edgeseg-model/engines/onnxruntime-int8.onnx"),
    record=EngineRecord(
        backend=Target.ONNXRUNTIME,
        backend_version="1.31.1",
        precision=Precision.INT8,
        options=EngineOptions(machine="x86_64"),
        layers={"backbone.body.conv1": "fp32", "box_head.fc6": "int8"},
        file=FileRecord(size=45_500_000, sha256="0" * 64),
        graph_sha256="0" * 64,
        build_s=1.25,
    ),
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """What the library was asked for; it answers with `REPORT` and `ENGINE`."""
    monkeypatch.chdir(tmp_path)
    # OpenVINO comes before ONNX Runtime where it is installed.
    monkeypatch.setattr(
        targets, "unavailable_reason", lambda target: "" if target is Target.ONNXRUNTIME else "none"
    )
    asked: list[Any] = []

    def measured(
        config: CalibrateConfig, progress: Callable[[str], None], note: Callable[[str], None]
    ) -> CalibrationReport:
        asked.append(config)
        note("skipped photos/broken.jpg")
        return REPORT

    def built(config: build.BuildConfig, progress: Callable[[str], None]) -> build.BuildResult:
        asked.append(config)
        return build.BuildResult(ENGINE, "onnxruntime runs here")

    monkeypatch.setattr(calibrate, "calibrate", measured)
    monkeypatch.setattr(build, "build_engine", built)
    return asked


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


def test_options_reach_the_library(asked: list[Any]) -> None:
    result = run(
        "calibrate", "--calib", "photos", "--images", "50", "--seed", "3", "--method", "minmax", "--resume",
        "--bit-depth", "12",
        "--no-check", "--sensitivity", "--max-map-drop", "0.5", "--annotations", "a.json", "--force",
    )  # fmt: skip

    config = asked[0]
    assert result.exit_code == 0
    assert (config.calib, config.images, config.seed, config.method) == (Path("photos"), 50, 3, Method.MINMAX)
    assert config.calibration_config.bit_depth == 12
    assert config.resume
    assert config.sensitivity
    assert config.force
    assert not config.check
    assert (config.max_map_drop, config.annotations) == (0.5, Path("a.json"))


def test_a_number_of_images_is_only_asked_for_where_it_is_given(asked: list[Any]) -> None:
    run("calibrate", "--calib", "photos")

    assert asked[0].images is None


def test_tables_are_on_stdout_and_remarks_on_stderr(asked: list[Any]) -> None:
    result = run("calibrate", "--calib", "photos")

    assert result.stderr == "skipped photos/broken.jpg\n"
    for part in ("box_head.fc7   +0.50         -0.25", "2.75x", "2.50x", "39.75", "93, entropy, 100 images"):
        assert part in result.stdout


def test_json_has_all_of_it(asked: list[Any]) -> None:
    data = json.loads(run("calibrate", "--calib", "photos", "--json").stdout)

    assert data["int8"]["box_ap"] == 39.75
    assert data["budget"]["steps"][1]["reverted"] == "box_head.fc7"
    assert data["method"] == "entropy"


def test_too_much_lost_prints_what_was_measured_and_exits_with_3(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(
        config: CalibrateConfig, progress: Callable[[str], None], note: Callable[[str], None]
    ) -> None:
        msg = "INT8 must lose at most 0.1 points of AP"
        raise AccuracyError(msg, REPORT)

    monkeypatch.setattr(calibrate, "calibrate", refused)
    result = run("calibrate", "--calib", "photos")

    assert result.exit_code == 3
    assert "39.75" in result.stdout
    assert "error: INT8 must lose at most 0.1 points" in result.stderr


def test_build_engine_calibrates_where_images_are_given(asked: list[Any]) -> None:
    result = run("build-engine", "--int8", "--calib", "photos", "--images", "20")

    assert result.exit_code == 0
    assert asked[0].images == 20
    assert (asked[1].target, asked[1].precision) == (None, Precision.INT8)
    for part in (
        "onnxruntime-int8.onnx",
        "45.5 MB",
        "onnxruntime 1.31.1, INT8, x86_64",
        "runs here",
        "1 of 2",
        "93, entropy",
    ):
        assert part in result.stdout


@pytest.mark.parametrize(
    ("instructions", "options", "bits"),
    [
        ("vnni", (), 8),
        ("vnni", ("--weight-bits", "7"), 7),
        ("vnni", ("--machine", "x86_64"), 7),
        ("without_vnni", (), 7),
        ("without_vnni", ("--weight-bits", "8", "--machine", "x86_64"), 8),
        ("without_vnni", ("--machine", "aarch64"), 8),
    ],
)
def test_int8_is_measured_as_it_will_be_built(
    asked: list[Any],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    instructions: str,
    options: tuple[str, ...],
    bits: int,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    request.getfixturevalue(instructions)

    assert run("build-engine", "--int8", "--calib", "photos", *options).exit_code == 0
    measured, built = asked
    assert measured.weight_bits == bits
    assert targets.resolve_options(Target.ONNXRUNTIME, Precision.INT8, built.options).weight_bits == bits


def test_weights_that_this_processor_cannot_compute_with_are_told_before_the_images_are_looked_at(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch, without_vnni: None
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")

    result = run("build-engine", "--int8", "--calib", "photos", "--weight-bits", "8")

    assert result.exit_code == 1
    assert "weights of 8 bits need a processor with AVX-512 VNNI or AVX-VNNI" in result.stderr
    assert "leave --weight-bits out for 7, or build for other processors with --machine x86_64" in " ".join(
        result.stderr.split()
    )
    assert not asked


def test_calibrate_can_measure_for_another_processor(asked: list[Any]) -> None:
    assert run("calibrate", "--calib", "photos", "--weight-bits", "7").exit_code == 0
    assert asked[0].weight_bits == 7


def test_narrow_weights_are_told_beside_the_figures(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = replace(REPORT, weight_bits=7)
    monkeypatch.setattr(calibrate, "calibrate", lambda config, progress, note: narrow)

    assert "INT8, 7-bit weights" in run("calibrate", "--calib", "photos").stdout
    assert json.loads(run("calibrate", "--calib", "photos", "--json").stdout)["weight_bits"] == 7


def test_build_engine_alone_takes_the_table_that_is_there(asked: list[Any]) -> None:
    result = run("build-engine", "--int8", "--machine", "aarch64", "--json")

    assert len(asked) == 1
    assert asked[0].options.machine == "aarch64"
    data = json.loads(result.stdout)
    assert data["precision"] == "int8"
    assert "calibration" not in data


def test_json_of_both_steps_is_one_document(asked: list[Any]) -> None:
    data = json.loads(run("build-engine", "--int8", "--calib", "photos", "--json").stdout)

    assert data["file"]["size"] == 45_500_000
    assert data["calibration"]["images"] == 100
    assert data["calibration"]["notes"] == ["calibrating on all 24 usable images"]


def test_an_engine_that_is_there_is_told_before_the_images_are_looked_at(asked: list[Any]) -> None:
    path = Path("edgeseg-model/engines/onnxruntime-int8.json")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"kept")

    result = run("build-engine", "--int8", "--calib", "photos")

    assert result.exit_code == 1
    assert "exists; pass --force" in result.stderr
    assert not asked


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("calibrate",), 2, "--calib"),
        (("calibrate", "--calib", "photos"), 1, "no bundle at edgeseg-model"),
        (("calibrate", "--calib", "photos", "--images", "5"), 1, "at least 10 images, got 5"),
        (("calibrate", "--calib", "photos", "--max-map-drop", "0.5"), 1, "--annotations"),
        (("calibrate", "--calib", "photos", "--method", "guess"), 2, "guess"),
        (
            ("build-engine", "--int8", "--fp16"),
            2,
            "--int8, got fp16 int8",
        ),
        (("build-engine", "--fp16", "--target", "onnxruntime"), 1, "onnxruntime computes in int8, fp32"),
        (
            ("build-engine", "--fp32", "--calib", "photos", "--target", "onnxruntime"),
            2,
            "--calib is for --int8",
        ),
        (("build-engine", "--dla", "0", "--target", "onnxruntime"), 1, "--dla is for --target tensorrt"),
        (("build-engine", "--int8", "--weight-bits", "4"), 2, "4 is not in the range 7<=x<=8"),
        (("build-engine", "--fp32", "--weight-bits", "7"), 1, "--weight-bits is for --int8, got fp32"),
        (
            ("build-engine", "--dla", "0", "--machine", "aarch64"),
            1,
            "--dla is for tensorrt and --machine for",
        ),
        (("build-engine",), 1, "no bundle at edgeseg-model"),
        (("build-engine", "--int8"), 1, "no bundle at edgeseg-model"),
    ],
)
def test_what_cannot_work(
    args: tuple[str, ...], code: int, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    result = run(*args)

    assert result.exit_code == code
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_int8_without_calibration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    make_bundle(tmp_path / "edgeseg-model")

    result = run("build-engine", "--int8")

    assert result.exit_code == 1
    assert "edgeseg calibrate" in result.stderr
