"""A run from source to results: what it keeps, counts and says, however it ends."""

from __future__ import annotations

import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
import pytest
from PIL import Image

from edgeseg.errors import ArtifactError, ConfigError, EdgeSegError, InputError
from edgeseg.runtime.choice import EngineChoice
from edgeseg.streaming import runner
from edgeseg.streaming.config import (
    DisplayConfig,
    OutputConfig,
    RunCallbacks,
    RunConfig,
    RunStoppedError,
    SourceConfig,
)
from edgeseg.streaming.outputs import folder as outputs
from edgeseg.streaming.outputs import writers
from edgeseg.streaming.runner import run
from edgeseg.tools.options import record_from_options
from edgeseg.vision.frames import Frame, Skipped, SourceKind
from tests.data import shared
from tests.runtime.fake_bundle import make_bundle

from .frame_readers import ListIntake
from .sources.video.clips import length_s, read_clip, shown_at, write_clip, write_two_sizes, write_uneven

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from edgeseg.streaming.config import RunSummary
    from edgeseg.streaming.outputs.writers import RecordFile

pytest.importorskip("onnxruntime")

# The bundle finds three instances above 0.5 in every frame: a bolt, a nut and a washer.
A_FRAME = {"bolt": 1, "nut": 1, "washer": 1}


class Configure(Protocol):
    """Makes the settings of a run over the photographs, with changes."""

    def __call__(self, **facts: Any) -> RunConfig: ...


class PlugIn(Protocol):
    """Makes the source that is opened next a camera that gives these."""

    def __call__(self, *items: Frame | Skipped | BaseException) -> ListIntake: ...


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(1, 6):
        cv2.imwrite(str(folder / f"{index:03d}.png"), np.full((32, 48, 3), 40 * index, np.uint8))
    return folder


@pytest.fixture
def config(tmp_path: Path, model: Path, photos: Path) -> Configure:
    def make(**facts: Any) -> RunConfig:
        settings: dict[str, Any] = {"folder": tmp_path / "found", "sources": (str(photos),), **facts}
        return RunConfig(
            source=record_from_options(SourceConfig, settings),
            output=record_from_options(OutputConfig, settings),
            display=record_from_options(DisplayConfig, settings),
            engine=EngineChoice(threads=1),
            **{"model": model, **settings},
        )

    return make


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> PlugIn:
    def plug(*items: Frame | Skipped | BaseException) -> ListIntake:
        frame_reader = ListIntake(items, SourceKind.LIVE)
        monkeypatch.setattr(runner, "open_frame_reader", lambda sources, **settings: frame_reader)
        return frame_reader

    return plug


def frames(count: int) -> list[Frame]:
    image = np.zeros((32, 48, 3), np.uint8)
    now = time.monotonic()
    return [
        Frame(image=image, name="camera 0", image_id=i, time_s=i / 10, captured_s=now) for i in range(count)
    ]


def lines_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "detections.jsonl").read_text("utf-8").splitlines()]


def json_in(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text("utf-8"))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_of_images(config: Configure, tmp_path: Path) -> None:
    told: list[str] = []
    summary = run(config(), RunCallbacks(progress=told.append))

    found = tmp_path / "found"
    assert (summary.frames, summary.instances) == (5, 15)
    assert summary.instances_by_class == {name: 5 for name in A_FRAME}
    assert (summary.skipped, summary.interrupted, summary.error) == ((), False, None)
    assert names_in(found) == ["detections.jsonl", "overlays", "results.json", "summary.json"]
    assert names_in(found / "overlays") == [f"{index:03d}.png" for index in range(1, 6)]
    assert summary.outputs == {
        "overlays": str(found / "overlays"),
        "coco": str(found / "results.json"),
        "lines": str(found / "detections.jsonl"),
    }
    assert [line["image_id"] for line in lines_in(found)] == [1, 2, 3, 4, 5]
    assert {result["image_id"] for result in json_in(found, "results.json")} == {1, 2, 3, 4, 5}
    assert json_in(found, "summary.json")["frames"] == 5
    assert told[-1] == "frame 5 of 5: 005.png"


def test_each_frame_has_its_own_results_in_batches(config: Configure, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "four", batch=4)

    one, four = tmp_path / "one", tmp_path / "by four"
    run(config(folder=one))
    run(config(folder=four, model=bundle))

    lefts = [line["detections"][0]["box_xyxy"][0] for line in lines_in(one)]
    assert len(set(lefts)) == 5
    of_one, of_four = lines_in(one), lines_in(four)
    for line in (*of_one, *of_four):
        assert set(line.pop("stages_ms")) == {"read", "prepare", "infer", "finish"}
    assert of_one == of_four


def test_the_threshold_cuts(config: Configure) -> None:
    assert run(config(score_threshold=0.65)).instances_by_class == {"bolt": 5, "nut": 5}


def test_no_more_frames_than_asked_for_are_read(config: Configure, camera: PlugIn) -> None:
    camera(*frames(2), AssertionError("a third frame was read"))

    assert run(config(sources=(0,), max_frames=2)).frames == 2


def test_no_overlay(config: Configure, tmp_path: Path) -> None:
    run(config(overlay=False))

    assert names_in(tmp_path / "found") == ["detections.jsonl", "results.json", "summary.json"]


def test_a_real_clip(config: Configure, tmp_path: Path) -> None:
    clip = shared("data", "videos", "bottle-detection.mp4")
    summary = run(config(sources=(str(clip),), max_frames=3))

    capture = cv2.VideoCapture(str(tmp_path / "found" / "overlay.mp4"))
    assert (summary.frames, capture.get(cv2.CAP_PROP_FRAME_COUNT)) == (3, 3)
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(29.83, abs=0.01)
    capture.release()
    assert [line["time_s"] for line in lines_in(tmp_path / "found")] == pytest.approx(
        [0, 0.0335, 0.067], abs=1e-3
    )


def test_a_clip_without_a_steady_rate(config: Configure, tmp_path: Path) -> None:
    times_s = [0, 0.04, 0.08, 0.12, 1.12, 1.16, 2.5, 2.54, 2.58, 4.0, 4.04, 6.0]
    clip = write_uneven(tmp_path / "screen.mp4", times_s, end_s=6.04)

    summary = run(config(sources=(str(clip),)))

    overlay = tmp_path / "found" / "overlay.mp4"
    assert (summary.frames, summary.skipped) == (12, ())
    assert [line["time_s"] for line in lines_in(tmp_path / "found")] == pytest.approx(times_s, abs=1e-3)
    assert shown_at(overlay) == pytest.approx(times_s, abs=1e-3)
    assert length_s(overlay) == pytest.approx(6.04, abs=0.01)


def test_a_clip_that_changes_its_size(config: Configure, tmp_path: Path) -> None:
    clip = write_two_sizes(tmp_path / "call.ivf", "VP80", [(48, 64), (96, 128), (24, 32)])
    notes: list[str] = []

    summary = run(config(sources=(str(clip),)), RunCallbacks(note=notes.append))

    lines = lines_in(tmp_path / "found")
    assert (summary.frames, summary.skipped) == (18, ())
    assert [(line["width"], line["height"]) for line in lines[::6]] == [(64, 48), (128, 96), (32, 24)]
    assert [note for note in notes if "changes its size from 64x48 to 128x96" in note] == notes
    assert len(notes) == 1
    assert {frame.shape for frame in read_clip(tmp_path / "found" / "overlay.mp4")} == {(48, 64, 3)}


def test_every_odd_image_is_done_or_named(config: Configure, tmp_path: Path) -> None:
    folder = shared("data", "odd_images")
    rows = [line.split("\t") for line in (folder / "CHECK.tsv").read_text("utf-8").splitlines()]
    bad = {name for name, _, state in rows if "OPEN-FAILS" in state or "LOAD-FAILS" in state}
    if ".avif" not in Image.registered_extensions():
        # Pillow reads AVIF from 11.3 on.
        bad |= {name for name, _, _ in rows if name.endswith(".avif")}
    notes: list[str] = []

    summary = run(config(sources=(str(folder),)), RunCallbacks(note=notes.append))

    assert {skipped.name for skipped in summary.skipped} == bad
    assert sum(note.startswith("skipped ") for note in notes) == len(bad)
    others = [note.replace(f"{folder}/", "") for note in notes if not note.startswith("skipped ")]
    # They come from the threads that read and that follow, in no order.
    assert sorted(note.partition(",")[0] for note in others) == [
        # Upright, in a landscape input.
        "derived/UPPER.JPG",
        "page 1 of 4 of derived/animated.gif is used",
        "pillow/16_bit_noise.tif is read as an image of 10 bits",
    ]
    assert summary.frames == len(rows) - len(bad)
    assert {line["file_name"] for line in lines_in(tmp_path / "found")} == {row[0] for row in rows} - bad
    drawn = [path for path in (tmp_path / "found" / "overlays").rglob("*") if path.is_file()]
    assert len(drawn) == summary.frames


def test_what_is_skipped_is_counted_and_told(config: Configure, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.jpg").write_text("hello")
    notes: list[str] = []

    summary = run(config(), RunCallbacks(note=notes.append))

    assert summary.frames == 5
    assert [skipped.name for skipped in summary.skipped] == ["bad.jpg"]
    assert notes == [f"skipped bad.jpg: {photos}/bad.jpg is not an image that can be read (5 bytes)"]
    assert json_in(tmp_path / "found", "summary.json")["skipped"][0]["name"] == "bad.jpg"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("a.jpg", "b.jpg"), "none of the 2 inputs can be read; the first: .*a.jpg is not an image"),
        (("a.jpg",), "the only input cannot be read: .*a.jpg is not an image"),
    ],
)
def test_when_nothing_can_be_read(
    config: Configure, tmp_path: Path, names: tuple[str, ...], words: str
) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    for name in names:
        (folder / name).write_text("hello")

    with pytest.raises(RunStoppedError, match=words) as stopped:
        run(config(sources=(str(folder),)))
    assert len(stopped.value.summary.skipped) == len(names)


def test_ctrl_c_keeps_what_was_done(config: Configure, camera: PlugIn, tmp_path: Path) -> None:
    source = camera(*frames(3), KeyboardInterrupt())

    summary = run(config(sources=(0,)))

    found = tmp_path / "found"
    assert (summary.interrupted, summary.frames, summary.error) == (True, 3, None)
    assert source.closed
    assert names_in(found) == ["detections.jsonl", "overlay.mp4", "results.json", "summary.json"]
    assert len(lines_in(found)) == 3
    assert len(json_in(found, "results.json")) == 9
    assert json_in(found, "summary.json")["interrupted"] is True
    capture = cv2.VideoCapture(str(found / "overlay.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    capture.release()


def test_ctrl_c_before_the_first_good_frame_is_no_failure_of_the_inputs(
    config: Configure, camera: PlugIn
) -> None:
    camera(Skipped(name="camera 0", reason="spoilt"), KeyboardInterrupt())

    assert run(config(sources=(0,))).interrupted is True


def test_a_camera_that_vanishes(config: Configure, camera: PlugIn, tmp_path: Path) -> None:
    camera(*frames(2), InputError("camera 0 gives no more pictures after frame 2"))

    with pytest.raises(
        RunStoppedError, match="no more pictures after frame 2; frames done before it: 2, in"
    ) as stopped:
        run(config(sources=(0,)))
    assert stopped.value.summary.error == "camera 0 gives no more pictures after frame 2"
    assert len(json_in(tmp_path / "found", "results.json")) == 6


def test_an_unforeseen_error_keeps_what_was_done(config: Configure, camera: PlugIn, tmp_path: Path) -> None:
    camera(*frames(2), RuntimeError("bug"))

    with pytest.raises(RuntimeError, match="bug"):
        run(config(sources=(0,)))
    assert len(json_in(tmp_path / "found", "results.json")) == 6
    assert len(lines_in(tmp_path / "found")) == 2


def test_a_disk_that_fills_up(config: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write, calls = writers.RecordFile._write, []

    def filling(self: RecordFile, data: bytes) -> None:
        if self._path.name == "detections.jsonl" and data:
            calls.append(data)
            if len(calls) > 2:
                write(self, data[:5])
                raise OSError(28, "No space left on device")
        write(self, data)

    monkeypatch.setattr(writers.RecordFile, "_write", filling)

    with pytest.raises(
        RunStoppedError, match=r"cannot write .*detections\.jsonl: No space left on device; make room"
    ):
        run(config())
    found = tmp_path / "found"
    assert len(lines_in(found)) == 2
    assert json_in(found, "summary.json")["frames"] == 2
    assert {result["image_id"] for result in json_in(found, "results.json")} >= {1, 2}


def test_a_folder_that_cannot_be_made(config: Configure, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(EdgeSegError, match=r"cannot write .*file/found: Not a directory; name another"):
        run(config(folder=tmp_path / "file" / "found"))


def test_an_unwritable_folder(config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path, *args: object, **more: object) -> NoReturn:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", denied)

    with pytest.raises(EdgeSegError, match=r"cannot write .*found: Permission denied; name another folder"):
        run(config())


@pytest.mark.parametrize(
    "name", ["results.json", "overlays", "overlay.mp4", "detections.jsonl", "summary.json"]
)
def test_results_are_not_replaced_unasked(config: Configure, tmp_path: Path, name: str) -> None:
    (tmp_path / "found" / name).mkdir(parents=True)

    with pytest.raises(ConfigError, match=rf"found already holds {name}; pass --force to replace it"):
        run(config())


def test_the_output_may_not_be_a_file(config: Configure, photos: Path) -> None:
    with pytest.raises(ConfigError, match=r"001\.png is a file and must be a folder"):
        run(config(folder=photos / "001.png"))


def test_force_leaves_no_result_of_the_earlier_run_and_nothing_else_out(
    config: Configure, camera: PlugIn, photos: Path, tmp_path: Path
) -> None:
    found = tmp_path / "found"
    run(config())
    (found / "overlays" / "mine.png").write_bytes(b"not of a run")
    (found / "notes.txt").write_text("mine")
    for name in ("001.png", "002.png", "003.png"):
        (photos / name).unlink()

    run(config(force=True))
    assert names_in(found / "overlays") == ["004.png", "005.png", "mine.png"]

    camera(*frames(1))
    run(config(sources=(0,), force=True))
    assert names_in(found / "overlays") == ["mine.png"]
    assert [line["file_name"] for line in lines_in(found)] == ["camera 0"]
    assert (found / "notes.txt").read_text() == "mine"


def test_lines_that_no_run_wrote_remove_nothing(config: Configure, tmp_path: Path) -> None:
    found = tmp_path / "found"
    (found / "overlays").mkdir(parents=True)
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"mine")
    names = ["../../outside.png", str(outside), 7]
    text = "\n".join(["no JSON", "[]", *(json.dumps({"file_name": name}) for name in names)])
    (found / "detections.jsonl").write_text(text)

    run(config(force=True))

    assert outside.exists()


def test_results_beside_the_images(config: Configure, photos: Path) -> None:
    for _ in range(2):
        summary = run(config(folder=photos, force=True))
        assert (summary.frames, summary.skipped) == (5, ())


def test_a_source_is_never_replaced(config: Configure, photos: Path, tmp_path: Path) -> None:
    clip = photos / "overlay.mp4"
    clip.write_bytes(b"mine")
    run(config())

    for source, output in ((clip, photos), (tmp_path / "found" / "overlays", tmp_path / "found")):
        with pytest.raises(ConfigError, match=f"{source.name} is a result in {output} and would be replaced"):
            run(config(sources=(str(source),), folder=output, force=True))
    assert clip.read_bytes() == b"mine"


@pytest.fixture
def unnamed(config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunSummary]:
    """Run with no folder named, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return lambda **facts: run(config(folder=None, **facts))


def test_a_default_folder_without_results_is_taken(
    unnamed: Callable[..., RunSummary], tmp_path: Path
) -> None:
    (tmp_path / "edgeseg-output").mkdir()
    (tmp_path / "edgeseg-output" / "notes.txt").write_text("mine")

    assert unnamed().output == "edgeseg-output"
    assert (tmp_path / "edgeseg-output" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["results.json", "overlays/mine.png", "overlay-1.mp4", "detections.jsonl", "summary.json"]
)
def test_a_default_folder_with_any_result_is_left_alone(
    unnamed: Callable[..., RunSummary], tmp_path: Path, name: str
) -> None:
    there = tmp_path / "edgeseg-output" / name
    there.parent.mkdir(parents=True)
    there.write_bytes(b"mine")

    assert unnamed().output == "edgeseg-output-2"
    assert [path for path in (tmp_path / "edgeseg-output").rglob("*") if path.is_file()] == [there]
    assert there.read_bytes() == b"mine"


@pytest.mark.parametrize("kind", ["file", "link to nowhere"])
def test_what_is_no_folder_at_the_default_place_is_left_alone(
    unnamed: Callable[..., RunSummary], tmp_path: Path, kind: str
) -> None:
    there = tmp_path / "edgeseg-output"
    if kind == "file":
        there.write_bytes(b"mine")
    else:
        there.symlink_to("absent")

    assert unnamed().output == "edgeseg-output-2"
    assert there.is_file() == (kind == "file")


def test_results_of_earlier_runs_are_no_input(
    unnamed: Callable[..., RunSummary], tmp_path: Path, photos: Path
) -> None:
    first = unnamed(sources=(".",))
    second = unnamed(sources=(".",))
    third = unnamed(sources=(".", "photos"))
    named = unnamed(sources=("edgeseg-output",))

    assert [first.frames, second.frames, third.frames, named.frames] == [5, 5, 10, 5]
    assert third.output == "edgeseg-output-3"
    # What has another name may be anything.
    (tmp_path / "edgeseg-output-2").rename(tmp_path / "edgeseg-output-mine")
    assert unnamed(sources=(".",)).frames == 10


def test_a_run_that_does_not_start_takes_no_folder(
    unnamed: Callable[..., RunSummary], tmp_path: Path
) -> None:
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(InputError, match="no file or folder is at circle"):
        unnamed(sources=("circle",))
    with pytest.raises(ArtifactError, match="no bundle at"):
        unnamed(model=tmp_path / "absent")

    assert not (tmp_path / "edgeseg-output").exists()


def test_the_default_folder_is_replaced_with_force(
    unnamed: Callable[..., RunSummary], tmp_path: Path
) -> None:
    unnamed()
    assert unnamed(sources=("photos/001.png",), force=True).output == "edgeseg-output"
    assert len(lines_in(tmp_path / "edgeseg-output")) == 1


def test_runs_that_start_together_have_a_folder_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "edgeseg-output").mkdir()
    # At the same moment none of them sees a result of another.
    monkeypatch.setattr(outputs, "_holds_results", lambda folder: False)
    start = threading.Barrier(8)

    def together(_: int) -> Path:
        start.wait(timeout=30)
        return outputs.open_output(None, lambda line: None)

    with ThreadPoolExecutor(8) as threads:
        taken = set(threads.map(together, range(8)))

    assert taken == {Path("edgeseg-output"), *(Path(f"edgeseg-output-{number}") for number in range(2, 9))}


def test_a_failed_start_leaves_earlier_results(config: Configure, tmp_path: Path) -> None:
    run(config())

    with pytest.raises(InputError, match="no file or folder is at"):
        run(config(sources=(str(tmp_path / "absent"),), force=True))
    with pytest.raises(ArtifactError, match="no bundle at"):
        run(config(model=tmp_path / "absent", force=True))
    assert len(lines_in(tmp_path / "found")) == 5


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"sources": ()}, "sources must name at least one image, .*, and is empty"),
        ({"sources": ("x",), "bit_depth": 7}, "bit_depth must be within 8 and 16, got 7"),
        ({"sources": ("x",), "score_threshold": 1.5}, "score_threshold must be within 0 and 1, got 1.5"),
        ({"sources": ("x",), "max_frames": 0}, "max_frames must be at least 1, got 0"),
        ({"sources": ("x",), "give_up_after_s": 0}, "give_up_after_s must be more than 0, got 0"),
    ],
)
def test_settings_that_cannot_work(config: Configure, facts: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config(**facts)


def test_several_folders_fill_one_batch_and_keep_their_names_apart(
    config: Configure, photos: Path, tmp_path: Path
) -> None:
    bundle, other = make_bundle(tmp_path / "four", batch=4), tmp_path / "other"
    other.mkdir()
    for name in ("001.png", "002.png", "003.png"):
        cv2.imwrite(str(other / name), np.zeros((32, 48, 3), np.uint8))

    summary = run(config(sources=(str(photos), str(other)), model=bundle))

    lines = lines_in(tmp_path / "found")
    assert summary.frames == 8
    assert [line["source"] for line in lines[:4]] == [str(photos), str(other)] * 2
    assert sorted(line["file_name"] for line in lines)[:2] == ["other/001.png", "other/002.png"]
    assert len({line["image_id"] for line in lines}) == 8
    drawn = [path for path in (tmp_path / "found" / "overlays").rglob("*.png") if path.is_file()]
    assert len(drawn) == 8


def test_several_videos_have_an_overlay_each_and_force_removes_them(
    config: Configure, photos: Path, tmp_path: Path
) -> None:
    clips = [str(write_clip(tmp_path / f"{name}.mp4", 3)) for name in "ab"]
    found = tmp_path / "found"

    summary = run(config(sources=tuple(clips)))
    assert summary.outputs["overlay 1"] == str(found / "overlay-1.mp4")
    with pytest.raises(ConfigError, match=r"already holds"):
        run(config(sources=tuple(clips)))
    run(config(sources=(clips[0],), force=True))

    assert sorted(path.name for path in found.glob("*.mp4")) == ["overlay.mp4"]


def test_the_rate_and_the_age_of_a_live_run(config: Configure, camera: PlugIn, tmp_path: Path) -> None:
    camera(*frames(4))
    lines: list[str] = []
    summary = run(config(sources=(0,)), RunCallbacks(progress=lines.append))

    assert summary.fps > 0
    assert summary.age_mean_ms is not None
    assert summary.age_max_ms is not None
    assert 0 < summary.age_mean_ms <= summary.age_max_ms
    assert set(summary.stages_ms) == {"read", "prepare", "infer", "finish", "output"}
    assert re.fullmatch(r"[\d.]+ frames/s, 3 instances, \d+ ms old, 0 dropped, .*CPU .*", lines[-1]), lines[
        -1
    ]
