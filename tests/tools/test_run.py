"""The command `edgeseg run`: what it prints where, and its exit codes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edgeseg.runtime import images, runner
from edgeseg.tools.main import VERBS, cli
from edgeseg.tools.run import run as command
from tests.runtime.fake_bundle import make_bundle

pytest.importorskip("onnxruntime")


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Call `edgeseg run` in a folder with a bundle at its default place and two photos."""
    monkeypatch.chdir(tmp_path)
    make_bundle(tmp_path / "edgeseg-model")
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(f"photos/{name}", np.zeros((32, 48, 3), np.uint8))
    # What the command leaves for OpenCV to read must not outlive the test.
    for name in ("OPENCV_FFMPEG_LOGLEVEL", "OPENCV_LOG_LEVEL"):
        monkeypatch.setenv(name, os.environ.get(name, ""))

    def invoke(*args: str):
        return CliRunner().invoke(cli, ["run", *args])

    return invoke


def test_the_table_is_all_on_stdout(run):
    result = run("--source", "photos")

    assert (result.exit_code, result.stderr) == (0, "")
    words = " ".join(result.stdout.split())
    for part in ("frames 2", "skipped 0", "instances 6 above 0.5", "2 bolt, 2 nut, 2 washer"):
        assert part in words
    for name in ("overlays", "results.json", "detections.jsonl"):
        assert f"edgeseg-output/{name}" in words
        assert Path("edgeseg-output", name).exists()


def test_json_is_the_summary_on_the_disk(run):
    result = run(
        "--source", "photos", "--json", "-o", "found", "--score-threshold", "0.65", "--max-frames", "1"
    )

    printed = json.loads(result.stdout)
    assert printed == json.loads(Path("found/summary.json").read_text("utf-8"))
    assert (printed["frames"], printed["instances"], printed["score_threshold"]) == (1, 2, 0.65)


def test_the_example_on_the_help_page(run):
    example = run("--help").stdout.partition("Example:")[2].split()
    assert example[:2] == ["edgeseg", "run"]

    assert run(*example[2:]).exit_code == 0


def test_the_one_line_help_is_that_of_the_overview():
    assert command.help.startswith(VERBS["run"][2])


def test_no_overlay(run):
    assert run("--source", "photos", "--no-overlay").exit_code == 0
    assert not Path("edgeseg-output/overlays").exists()


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--source", "photos", "--camera", "0"),
        ("--source", "photos", "--score-threshold", "1.5"),
        ("--source", "photos", "--max-frames", "0"),
        ("--camera", "-1"),
        ("--camera", "front"),
    ],
)
def test_wrong_usage(run, args):
    result = run(*args)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error: " in result.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--source", "absent.jpg"), "no file or folder is at absent.jpg"),
        (("--source", "*.tiff"), "no file or folder matches the pattern *.tiff"),
        (("--camera", "97"), "no camera opens at index 97"),
        (("--source", "photos", "--model", "absent"), "no bundle at absent"),
        (
            ("--source", "photos", "--backend", "tensorrt"),
            "no engine of tensorrt; build it with",
        ),
        (
            ("--source", "photos", "--provider", "cuda", "--backend", "openvino"),
            "provider is a choice",
        ),
        (("--source", "photos", "--precision", "int8"), "build it with `edgeseg build-engine --int8"),
        (("--source", "photos", "-o", "photos/a.png"), "photos/a.png is a file and must be a folder"),
    ],
)
def test_bad_input_is_one_sentence(run, args, words):
    result = run(*args)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr


def test_some_inputs_skipped_is_no_failure(run):
    Path("photos/bad.jpg").write_text("hello")
    result = run("--source", "photos")

    assert result.exit_code == 0
    assert result.stderr == "skipped bad.jpg: photos/bad.jpg is not an image that can be read (5 bytes)\n"
    assert "1 (named above and in summary.json)" in result.stdout


def test_all_inputs_skipped_is_a_failure(run):
    Path("bad.jpg").write_text("hello")
    result = run("--source", "bad.jpg", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["skipped"][0]["name"] == "bad.jpg"
    assert "error: the only input cannot be read: bad.jpg is not an image" in result.stderr
    assert "Traceback" not in result.stderr


def test_results_are_replaced_with_force_only(run):
    assert run("--source", "photos").exit_code == 0
    refused = run("--source", "photos")

    assert refused.exit_code == 1
    assert "pass --force to replace it" in refused.stderr
    assert run("--source", "photos", "--force").exit_code == 0


def test_rebuild_comes_before_the_model_is_loaded(run, monkeypatch):
    asked = []

    def rebuild(model, note, progress):
        asked.append(model)
        note("onnxruntime int8 stays as it is: no onnx")

    monkeypatch.setattr("edgeseg.exporter.build.rebuild_unfit", rebuild)
    result = run("--source", "photos", "--rebuild")

    assert asked == [Path("edgeseg-model")]
    assert result.exit_code == 0
    assert "stays as it is" in result.stderr
    assert run("--source", "photos", "--force").exit_code == 0
    assert len(asked) == 1


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_after_a_frame(run, monkeypatch, by):
    read = images.read_image

    def interrupting(path):
        if path.name == "b.png":
            os.kill(os.getpid(), by)
        return read(path)

    monkeypatch.setattr("edgeseg.runtime.sources.read_image", interrupting)
    before = signal.getsignal(signal.SIGTERM)
    # Where the tests themselves run in the background, the shell has SIGINT ignored.
    at_interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)

    result = run("--source", "photos", "--json")
    signal.signal(signal.SIGINT, at_interrupt)

    assert result.exit_code == 130
    printed = json.loads(result.stdout)
    assert (printed["interrupted"], printed["frames"]) == (True, 1)
    assert result.stderr == "interrupted; frames done before it: 1, in edgeseg-output\n"
    assert len(json.loads(Path("edgeseg-output/results.json").read_text("utf-8"))) == 3
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_error_in_the_middle_prints_what_was_done(run, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runner.ImageOverlays, "write", lambda sink, frame, found: None)
    monkeypatch.setattr(Path, "write_bytes", full)
    result = run("--source", "photos", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["frames"] == 2
    assert "cannot write edgeseg-output/summary.json: No space left on device; make room" in result.stderr
