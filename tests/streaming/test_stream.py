"""Frames and detections for programs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

import edgeseg
from edgeseg.errors import ConfigError, InputError
from edgeseg.streaming.tracking import Line
from tests.runtime.fake_bundle import make_bundle

from .tracking.scenes import ids_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeseg.runtime.model import Model
    from edgeseg.vision.detections import Detections
    from edgeseg.vision.frames import Frame

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with edgeseg.load(make_bundle(tmp_path_factory.mktemp("model") / "bundle"), threads=1) as model:
        yield model


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(1, 6):
        cv2.imwrite(str(folder / f"{index:03d}.png"), np.full((32, 48, 3), 40 * index, np.uint8))
    return folder


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("edgeseg")]


def test_a_loop_gives_each_frame_with_its_detections(model: Model, photos: Path) -> None:
    seen = [
        (frame.name, frame.image.shape, detections.names)
        for frame, detections in edgeseg.stream(model, str(photos))
    ]

    assert [name for name, _, _ in seen] == [f"{index:03d}.png" for index in range(1, 6)]
    assert seen[0][1:] == ((32, 48, 3), ["bolt", "nut", "washer"])
    assert threads() == []


def test_the_model_stays_open(model: Model, photos: Path) -> None:
    for _ in range(2):
        assert len(list(edgeseg.stream(model, str(photos), max_frames=2))) == 2


def test_leaving_the_loop_early_ends_its_threads(model: Model, photos: Path) -> None:
    with edgeseg.stream(model, str(photos)) as stream:
        for _frame, _detections in stream:
            break
    assert threads() == []


def test_results_tell_more(model: Model, photos: Path) -> None:
    (result,) = edgeseg.stream(model, str(photos), max_frames=1).results()

    assert result.age_ms is None
    assert set(result.stages_ms) == {"read", "prepare", "infer", "finish"}


def test_a_callback_and_a_wish_to_stop(model: Model, photos: Path) -> None:
    stream = edgeseg.stream(model, str(photos))
    names = []

    def called(frame: Frame, detections: Detections) -> None:
        names.append(frame.name)
        if len(names) == 2:
            stream.controls.stopping.set()

    assert stream.run(called) == 2
    assert names == ["001.png", "002.png"]


def test_several_sources_at_once(model: Model, photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    cv2.imwrite(str(other / "9.png"), np.zeros((20, 20, 3), np.uint8))

    frames = [frame for frame, _ in edgeseg.stream(model, [str(photos), str(other)])]

    assert sorted(frame.name for frame in frames)[0] == "other/9.png"
    assert {frame.source for frame in frames} == {0, 1}


def test_what_is_skipped_is_told(model: Model, photos: Path) -> None:
    (photos / "bad.jpg").write_text("hello")
    notes: list[str] = []

    assert len(list(edgeseg.stream(model, str(photos), note=notes.append))) == 5
    assert "skipped bad.jpg" in notes[0]


def test_tracking_numbers_objects(model: Model, photos: Path) -> None:
    pytest.importorskip("trackers")
    results = list(edgeseg.stream(model, str(photos), track=True).results())

    scene = results[-1].scene
    assert scene is not None
    assert scene.entered == 3
    assert sorted(ids_of(results[-1].detections)) == [1, 2, 3]


def test_a_line_outside_the_frame_is_told(model: Model, photos: Path) -> None:
    pytest.importorskip("trackers")
    notes: list[str] = []
    track = edgeseg.TrackConfig(lines=(Line(start_xy=(9000, 0), end_xy=(9000, 9), name="gate"),))

    assert len(list(edgeseg.stream(model, str(photos), track=track, note=notes.append))) == 5
    assert len(notes) == 1
    assert "line 'gate' counts nothing" in notes[0]


def test_what_cannot_be_opened(model: Model, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file or folder is at"):
        edgeseg.stream(model, str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="score_threshold must be within 0 and 1, got 2"):
        edgeseg.stream(model, str(photos), score_threshold=2)
    assert threads() == []
