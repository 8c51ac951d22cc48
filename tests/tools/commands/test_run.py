"""The command `edgeseg run`: what it prints where, and its exit codes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from edgeseg.runtime.host import processors
from edgeseg.runtime.host.processors import Cpus
from edgeseg.streaming.outputs.overlays import ImageOverlays
from edgeseg.streaming.outputs.writers import JsonLines
from edgeseg.tools.commands.run import run as command
from edgeseg.tools.main import VERBS, cli
from edgeseg.tools.memory import ONEDNN_CACHE_VARIABLE
from edgeseg.vision.images.reader import read_image
from tests.runtime.fake_bundle import make_bundle

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeseg.streaming.results import RenderedFrame

pytest.importorskip("onnxruntime")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Call `edgeseg run` in a folder with a bundle at its default place and two photos."""
    monkeypatch.chdir(tmp_path)
    make_bundle(tmp_path / "edgeseg-model")
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(f"photos/{name}", np.zeros((32, 48, 3), np.uint8))
    # What the command leaves for libraries to read must not outlive the test.
    for name in ("OPENCV_FFMPEG_LOGLEVEL", "OPENCV_LOG_LEVEL"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setenv(ONEDNN_CACHE_VARIABLE, "")
    monkeypatch.delenv(ONEDNN_CACHE_VARIABLE)

    def invoke(*args: str) -> Result:
        return CliRunner().invoke(cli, ["run", *args])

    return invoke


def test_the_table_is_all_on_stdout(run: Callable[..., Result]) -> None:
    result = run("--source", "photos")

    assert (result.exit_code, result.stderr) == (0, "")
    words = " ".join(result.stdout.split())
    for part in ("frames 2", "skipped 0", "instances 6 above 0.5", "2 bolt, 2 nut, 2 washer"):
        assert part in words
    for name in ("overlays", "results.json", "detections.jsonl"):
        assert f"edgeseg-output/{name}" in words
        assert Path("edgeseg-output", name).exists()


def test_compiled_kernels_are_not_kept_for_ever(run: Callable[..., Result]) -> None:
    assert run("--source", "photos").exit_code == 0
    assert os.environ[ONEDNN_CACHE_VARIABLE] == "0"


def test_json_is_the_summary_on_the_disk(run: Callable[..., Result]) -> None:
    result = run(
        "--source", "photos", "--json", "-o", "found", "--score-threshold", "0.65", "--max-frames", "1"
    )

    printed = json.loads(result.stdout)
    assert printed == json.loads(Path("found/summary.json").read_text("utf-8"))
    assert (printed["frames"], printed["instances"], printed["score_threshold"]) == (1, 2, 0.65)


def test_the_example_on_the_help_page(run: Callable[..., Result]) -> None:
    example = run("--help").stdout.partition("Example:")[2].split()
    assert example[:2] == ["edgeseg", "run"]

    assert run(*example[2:]).exit_code == 0


def test_the_one_line_help_is_that_of_the_overview() -> None:
    assert (command.help or "").startswith(VERBS["run"][2])


def test_no_files(run: Callable[..., Result]) -> None:
    result = run("--source", "photos", "--no-files")

    assert result.exit_code == 0
    assert "frames 2" in " ".join(result.stdout.split())
    assert not Path("edgeseg-output").exists()


def test_tracking_counts_objects_in_the_table_and_in_every_result(run: Callable[..., Result]) -> None:
    pytest.importorskip("trackers")
    result = run("--source", "photos", "--track", "--zone", "all:0,0,1,0,1,1,0,1", "--line", "0.5,0,0.5,1")

    assert result.exit_code == 0, result.stderr
    words = " ".join(result.stdout.split())
    assert "objects 3 (1 bolt, 1 nut, 1 washer), 0 of them gone" in words
    assert "all 3 entered, 3 inside at the end" in words
    assert "line 1 0 forward, 0 backward" in words
    second = json.loads(Path("edgeseg-output/detections.jsonl").read_text("utf-8").splitlines()[1])
    assert sorted(found["track_id"] for found in second["detections"]) == [1, 2, 3]
    assert second["scene"]["zones"] == {"all": {"inside": 3, "entered": 3}}
    assert {
        found.get("track_id") for found in json.loads(Path("edgeseg-output/results.json").read_text("utf-8"))
    } >= {1, 2, 3}


def test_a_line_on_the_edge_of_the_frame_is_told(run: Callable[..., Result]) -> None:
    pytest.importorskip("trackers")
    result = run("--source", "photos", "--line", "gate:1,0,1,1", "--zone", "50,0,60,0,60,10")

    assert result.exit_code == 0, result.stderr
    assert "a.png: line 'gate' counts nothing" in result.stderr
    assert "it reaches from 48 to 48 in x and from 0 to 32 in y" in result.stderr
    assert "the frame is 48 pixels wide and 32 high" in result.stderr
    assert "a.png: zone 1 counts nothing" in result.stderr
    assert "b.png" not in result.stderr.replace("frame 2 of 2: b.png", "")


def test_a_redacted_class_is_in_no_picture(run: Callable[..., Result]) -> None:
    texture = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    cv2.imwrite("photos/a.png", texture)

    for more in ((), ("--redact", "washer", "--redact-with", "fill")):
        assert run("--source", "photos/a.png", "--force", *more).exit_code == 0
        drawn = read_image(Path("edgeseg-output/overlays/a.png"))
        # Within the washer, where nothing else is drawn.
        spread = float(drawn[20:26, 44:50].std((0, 1)).max())
        assert (spread < 10) == bool(more)


def test_no_overlay(run: Callable[..., Result]) -> None:
    assert run("--source", "photos", "--no-overlay").exit_code == 0
    assert not Path("edgeseg-output/overlays").exists()


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--source", "photos", "--give-up-after", "0"),
        ("--source", "photos", "--smooth-masks", "1"),
        ("--source", "photos", "--color-by", "name"),
        ("--source", "photos", "--score-threshold", "1.5"),
        ("--source", "photos", "--max-frames", "0"),
        ("--camera", "-1"),
        ("--camera", "front"),
    ],
)
def test_wrong_usage(run: Callable[..., Result], args: tuple[str, ...]) -> None:
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
        (("--source", "photos", "--camera", "0"), "is live and photos is not"),
        (
            ("--source", "photos", "--redact", "person"),
            "'person' is no class of this model; give one of: 'bolt'",
        ),
        (("--source", "photos", "--line", "gate:1,2,3"), "gate:1,2,3"),
        (("--source", "photos", "--web", "0.0.0.0:0"), "give --web-token with at least 8 characters"),
        (("--source", "photos", "--web", "127.0.0.1:http"), "127.0.0.1:http"),
        (("--source", "photos", "-o", "photos/a.png"), "photos/a.png is a file and must be a folder"),
    ],
)
def test_bad_input_is_one_sentence(run: Callable[..., Result], args: tuple[str, ...], words: str) -> None:
    result = run(*args)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr


def test_some_inputs_skipped_is_no_failure(run: Callable[..., Result]) -> None:
    Path("photos/bad.jpg").write_text("hello")
    result = run("--source", "photos")

    assert result.exit_code == 0
    assert result.stderr == "skipped bad.jpg: photos/bad.jpg is not an image that can be read (5 bytes)\n"
    assert "skipped      1 (named above)" in result.stdout


def test_all_inputs_skipped_is_a_failure(run: Callable[..., Result]) -> None:
    Path("bad.jpg").write_text("hello")
    result = run("--source", "bad.jpg", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["skipped"][0]["name"] == "bad.jpg"
    assert "error: the only input cannot be read: bad.jpg is not an image" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_that_was_named_is_replaced_with_force_only(run: Callable[..., Result]) -> None:
    args = ("--source", "photos", "-o", "edgeseg-output")
    assert run(*args).exit_code == 0
    refused = run(*args)

    assert refused.exit_code == 1
    assert "pass --force to replace it" in refused.stderr
    assert run(*args, "--force").exit_code == 0
    assert not Path("edgeseg-output-2").exists()


def test_results_of_every_run_have_a_folder_of_their_own(run: Callable[..., Result]) -> None:
    first = run("--source", "photos")
    before = Path("edgeseg-output/detections.jsonl").read_bytes()
    second = run("--source", "photos/a.png")
    third = json.loads(run("--source", "photos", "--json").stdout)

    assert (first.exit_code, second.exit_code, first.stderr) == (0, 0, "")
    assert second.stderr == "edgeseg-output is taken, so the results go to edgeseg-output-2\n"
    assert "edgeseg-output-2/results.json" in second.stdout
    assert third["output"] == "edgeseg-output-3"
    assert third["outputs"]["coco"] == "edgeseg-output-3/results.json"
    assert json.loads(Path("edgeseg-output-3/summary.json").read_text("utf-8")) == third
    assert Path("edgeseg-output/detections.jsonl").read_bytes() == before
    assert len(Path("edgeseg-output-2/detections.jsonl").read_text("utf-8").splitlines()) == 1
    assert run("--source", "photos", "--force").exit_code == 0
    assert not Path("edgeseg-output-4").exists()


def test_rebuild_comes_before_the_model_is_loaded(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def rebuild(model: Path, note: Callable[[str], None], progress: Callable[[str], None]) -> None:
        asked.append(model)
        note("onnxruntime int8 stays as it is: no onnx")

    monkeypatch.setattr("edgeseg.builder.build.rebuild_unfit", rebuild)
    result = run("--source", "photos", "--rebuild")

    assert asked == [Path("edgeseg-model")]
    assert result.exit_code == 0
    assert "stays as it is" in result.stderr
    assert run("--source", "photos", "--force").exit_code == 0
    assert len(asked) == 1


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_after_a_frame(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, by: signal.Signals
) -> None:
    write = JsonLines.write

    def interrupting(lines: JsonLines, shown: RenderedFrame) -> None:
        if shown.result.frame.name == "b.png":
            os.kill(os.getpid(), by)
        write(lines, shown)

    monkeypatch.setattr(JsonLines, "write", interrupting)
    before = signal.getsignal(signal.SIGTERM)
    # Where the tests themselves run in the background, the shell has SIGINT ignored.
    at_interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)

    result = run("--source", "photos", "--json")
    signal.signal(signal.SIGINT, at_interrupt)

    assert result.exit_code == 130
    printed = json.loads(result.stdout)
    assert (printed["interrupted"], printed["frames"]) == (True, 1)
    assert result.stderr == "interrupted; frames done before it: 1, in edgeseg-output\n"
    assert len(Path("edgeseg-output/detections.jsonl").read_text("utf-8").splitlines()) == 1
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_error_in_the_middle_prints_what_was_done(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ImageOverlays, "write", lambda sink, shown: None)
    monkeypatch.setattr("edgeseg.files.draft.write_all", full)
    result = run("--source", "photos", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["frames"] == 2
    assert "cannot write edgeseg-output/summary.json: No space left on device; make room" in result.stderr


def detections() -> dict[str, list[dict[str, Any]]]:
    lines = Path("edgeseg-output/detections.jsonl").read_text("utf-8").splitlines()
    return {item["file_name"]: item["detections"] for item in map(json.loads, lines)}


def test_a_camera_of_12_bits_finds_what_8_bits_find(run: Callable[..., Result]) -> None:
    # The model's boxes move with the brightness.
    gray = np.linspace(0, 255, 32 * 48).astype(np.uint8).reshape(32, 48)
    cv2.imwrite("photos/8.png", gray)
    cv2.imwrite("photos/12.png", gray.astype(np.uint16) << 4)
    cv2.imwrite("photos/12.tif", np.dstack(3 * [gray.astype(np.uint16) << 4]))
    result = run("--source", "photos")

    found = detections()
    assert found["8.png"] != found["a.png"]
    assert found["12.png"] == found["12.tif"] == found["8.png"]
    assert result.stderr.count("12 bits") == 1
    assert "is read as an image of 12 bits, because its largest sample is 4080" in result.stderr


def test_a_bit_depth_that_is_given(run: Callable[..., Result]) -> None:
    gray = np.linspace(0, 30, 32 * 48).astype(np.uint8).reshape(32, 48)
    cv2.imwrite("photos/8.png", gray)
    cv2.imwrite("photos/12.png", gray.astype(np.uint16) << 4)
    result = run("--source", "photos", "--bit-depth", "12")

    found = detections()
    assert found["12.png"] == found["8.png"]
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_stack_is_said_to_have_more_pages(run: Callable[..., Result]) -> None:
    pages = [Image.new("RGB", (48, 32), (60 * number, 0, 0)) for number in range(4)]
    pages[0].save("photos/stack.tif", save_all=True, append_images=pages[1:])
    result = run("--source", "photos")

    assert result.stderr == (
        "page 1 of 4 of photos/stack.tif is used, and of every other image with several pages\n"
    )


@pytest.mark.parametrize(("quota", "threads"), [(1.5, 2), (None, 3)])
def test_opencv_starts_no_more_threads_than_a_container_has(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, quota: float | None, threads: int
) -> None:
    limited = Cpus(present=4, allowed=(0, 1, 2, 3), quota=quota)
    monkeypatch.setattr(processors, "usable_cpus", lambda *root: limited)
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        assert run("--source", "photos").exit_code == 0
        assert cv2.getNumThreads() == threads
    finally:
        cv2.setNumThreads(before)
