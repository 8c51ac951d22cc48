"""The command `edgeseg benchmark`: what it prints where, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgeseg.benchmark import benchmark as module
from edgeseg.benchmark.report import BenchmarkReport, read_report
from edgeseg.benchmark.row import RowState
from edgeseg.tools.main import cli
from edgeseg.vision.frames import Skipped
from tests.benchmark.samples import make_report, make_row
from tests.runtime.fake_bundle import make_bundle

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeseg.benchmark.config import BenchmarkConfig


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Call `edgeseg benchmark` in a folder with a bundle and a photo."""
    monkeypatch.chdir(tmp_path)
    make_bundle(tmp_path / "edgeseg-model")
    Path("photos").mkdir()
    cv2.imwrite("photos/1.png", np.full((64, 96, 3), 20, np.uint8))

    def invoke(*args: str) -> Result:
        return CliRunner().invoke(cli, ["benchmark", *args])

    return invoke


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the run shall report; and what it was asked."""
    facts: dict[str, Any] = {"report": make_report()}

    def benchmark(config: BenchmarkConfig, **rest: Any) -> BenchmarkReport:
        facts.update(config=config, **rest)
        report: BenchmarkReport = facts["report"]
        return report

    monkeypatch.setattr(module, "benchmark", benchmark)
    return facts


def test_the_tables(run: Callable[..., Result], told: dict[str, Any]) -> None:
    result = run()

    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    for part in (
        "Frames in to masks out",
        "OpenVINO INT8 11.0 12.0 12.0 5.00x 4.80-5.20 90.90 900 40 540 45.5",
        "OpenVINO INT8 34.00 33.00 19 of 20, +1 0.980 1.0 + 9.0 + 1.0 400 50%",
        "Not measured, or not to the end TensorRT no NVIDIA GPU here",
        "OpenVINO INT8 a note",
        "timed at 512 x 640, batch 1, above 0.5",
        "3 turns in 12 s, 2 threads",
        "peak GMAC/s FP32 200",
        "OpenVINO INT8 3.2",
        "OpenVINO INT8 95.00 img/s",
    ):
        assert part in words
    assert result.stderr.splitlines() == ["skipped 2.jpg: not an image", "noisy"]


def test_rows_without_numbers(run: Callable[..., Result], told: dict[str, Any]) -> None:
    told["report"] = make_report(
        rows=(
            make_row(ratio=None, accuracy=None, agreement=None, compute=None, stages=None, startup=None),
            make_row("a", latency=None, state=RowState.FAILED, reason="it broke"),
        )
    )
    words = " ".join(run().stdout.split())

    assert "OpenVINO INT8 11.0 12.0 12.0 90.90 45.5" in words
    assert "OpenVINO INT8 it broke" in words


def test_nothing_was_measured(run: Callable[..., Result], told: dict[str, Any]) -> None:
    told["report"] = make_report(
        rows=(make_row(latency=None, state=RowState.SKIPPED, reason="no GPU", notes=()),),
        peaks_gmacs_per_s={},
    )
    result = run()

    assert result.exit_code == 0
    assert "Frames in" not in result.stdout
    assert "no GPU" in result.stdout


def test_json_on_stdout_and_in_a_file(run: Callable[..., Result], told: dict[str, Any]) -> None:
    result = run("--json", "-o", "out/report.json")

    assert json.loads(result.stdout) == json.loads(Path("out/report.json").read_text("utf-8"))
    assert read_report(Path("out/report.json")) == told["report"]


def test_settings_reach_the_run(run: Callable[..., Result], told: dict[str, Any]) -> None:
    run(
        *("--images", "photos", "--rows", "openvino-*", "--rows", "pytorch-eager", "--repeats", "7"),
        *(
            "--duration",
            "1.5",
            "--threads",
            "2",
            "--batch",
            "4",
            "--boxes",
            "10",
            "--frame",
            "720",
            "1280",
            "--no-compile",
        ),
        *("--concurrency", "2", "--price-per-hour", "0.5", "--warmup", "3", "--frames", "2"),
    )

    config = told["config"]
    assert (config.images, config.rows) == (Path("photos"), ("openvino-*", "pytorch-eager"))
    assert (config.turns, config.duration_s, config.engine.threads, config.boxes) == (7, 1.5, 2, 10)
    assert config.batch == 4
    assert (config.frame_size_hw, config.compile, config.concurrency) == ((720, 1280), False, 2)
    assert (config.price_per_hour, config.warmup, config.frames) == (0.5, 3, 2)
    assert told["command"][0] == "edgeseg"


def test_interrupted_is_written_marked_and_exits_with_130(
    run: Callable[..., Result], told: dict[str, Any]
) -> None:
    told["report"] = make_report(interrupted=True)
    result = run("-o", "report.json", "--json")

    assert result.exit_code == 130
    assert json.loads(result.stdout)["interrupted"] is True
    assert read_report(Path("report.json")).interrupted
    assert result.stderr.splitlines()[-1] == (
        "interrupted; the report is of what was measured, in report.json"
    )


def test_many_skipped_images_are_not_all_printed(run: Callable[..., Result], told: dict[str, Any]) -> None:
    told["report"] = make_report(skipped=tuple(Skipped(name=f"{i}.jpg", reason="x") for i in range(14)))

    assert "and 4 more; --json lists them all" in run().stderr.splitlines()


@pytest.mark.parametrize(
    "args",
    [
        ("--repeats", "0"),
        ("--batch", "0"),
        ("--boxes", "0"),
        ("--frame", "5"),
        ("--price-per-hour", "-1"),
        ("x",),
    ],
)
def test_wrong_usage(run: Callable[..., Result], args: tuple[str, ...]) -> None:
    result = run(*args)

    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--model", "absent"), "no bundle at absent"),
        (("--images", "absent"), "no folder at absent"),
        (("--images", "edgeseg-model"), "found none in edgeseg-model; name another with --images"),
        (("--annotations", "absent.json"), "no annotations at absent.json"),
        (("--checkpoint", "absent.pth"), "no checkpoint at absent.pth"),
        (("--checkpoint", "photos/1.png"), "photos/1.png is another"),
        (
            ("--batch", "2"),
            "edgeseg-model has a batch of 1, and for one of 2 it must be exported anew from fake.pth",
        ),
        (("--rows", "openvino-int4"), "rows must be some of pytorch-eager"),
    ],
)
def test_bad_input_is_one_sentence(run: Callable[..., Result], args: tuple[str, str], words: str) -> None:
    result = run(*args)

    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr


def test_a_real_run_of_one_row(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(module.BenchmarkRun, "_measure_roofline", lambda run: None)
    result = run("--images", "photos", "--rows", "onnxruntime-fp32", "--repeats", "1", "--json")

    (row,) = json.loads(result.stdout)["rows"]
    assert (result.exit_code, row["state"], row["found"]) == (0, "ok", 3)


def test_a_page_is_written_beside(run: Callable[..., Result], told: dict[str, Any]) -> None:
    pytest.importorskip("jinja2")
    result = run("--html", "report.html")

    assert result.exit_code == 0
    assert "OpenVINO INT8" in Path("report.html").read_text("utf-8")
