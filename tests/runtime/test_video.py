"""Videos, whole and broken, and cameras, there and not."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg.errors import InputError
from edgeseg.runtime import video
from edgeseg.runtime.frames import Frame, Skipped, SourceKind
from edgeseg.runtime.sources import open_source
from edgeseg.runtime.video import CameraSource, quiet_opencv
from tests.data import shared

FPS = 10.0


def write_video(path: Path, frames: int, size_hw: tuple[int, int] = (48, 64)) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, size_hw[::-1])
    for index in range(frames):
        writer.write(np.full((*size_hw, 3), 20 * index % 256, np.uint8))
    writer.release()
    return path


class FakeCapture:
    """A camera that gives what it is told to; None is a read that fails."""

    def __init__(self, pictures: list[np.ndarray | None], *, opens: bool = True) -> None:
        self.pictures, self.opens, self.released = pictures, opens, False

    def isOpened(self) -> bool:
        return self.opens

    def read(self) -> tuple[bool, Any]:
        picture = self.pictures.pop(0) if self.pictures else None
        return picture is not None, picture

    def get(self, prop: int) -> float:
        return 30.0 if prop == cv2.CAP_PROP_FPS else 0.0

    def set(self, prop: int, value: float) -> bool:
        return False

    def release(self) -> None:
        self.released = True


@pytest.fixture
def plug_in(monkeypatch):
    def plug(pictures, **facts):
        camera = FakeCapture(list(pictures), **facts)
        monkeypatch.setattr(cv2, "VideoCapture", lambda target: camera)
        return camera

    return plug


def picture(value: int = 0, shape: tuple[int, ...] = (4, 6, 3)) -> np.ndarray:
    return np.full(shape, value, np.uint8)


def test_every_frame_of_a_video_in_order(tmp_path):
    source = open_source(str(write_video(tmp_path / "clip.mp4", 12)))

    frames = list(source)
    source.close()

    assert source.kind is SourceKind.VIDEO
    assert (source.total, source.fps) == (12, FPS)
    assert [frame.image_id for frame in frames] == list(range(12))
    assert [frame.time_s for frame in frames] == pytest.approx([index / FPS for index in range(12)], abs=0.01)
    assert {frame.name for frame in frames} == {"clip.mp4"}
    assert [round(float(frame.image.mean()) / 20) for frame in frames] == list(range(12))


def test_a_real_clip():
    source = open_source(str(shared("data", "videos", "bottle-detection.mp4")))

    first = next(iter(source))
    source.close()
    assert source.fps == pytest.approx(29.83, abs=0.01)
    assert source.total == 1189
    assert first.image.shape == (360, 640, 3)


def test_a_video_that_is_damaged_in_the_middle_says_where_it_ends(tmp_path):
    data = bytearray(shared("data", "videos", "bottle-detection.mp4").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 60000] = bytes(60000)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)

    *frames, last = open_source(str(path))

    assert len(frames) > 100
    assert all(isinstance(frame, Frame) for frame in frames)
    assert last == Skipped(
        name="damaged.mp4", reason=f"it ends after frame {len(frames)} of 1189: truncated or corrupt"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "bad.mp4 is empty"),
        (b"hello", "bad.mp4 is not a video that can be read; it may be truncated"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, content, words):
    (tmp_path / "bad.mp4").write_bytes(content)

    with pytest.raises(InputError, match=words):
        open_source(str(tmp_path / "bad.mp4"))


def test_a_truncated_video_is_refused(tmp_path):
    data = write_video(tmp_path / "whole.mp4", 12).read_bytes()
    # An MP4's index is its end.
    (tmp_path / "half.mp4").write_bytes(data[: len(data) // 2])

    with pytest.raises(InputError, match=r"half\.mp4 is not a video that can be read"):
        open_source(str(tmp_path / "half.mp4"))


def test_a_video_without_frames_is_refused(tmp_path, plug_in):
    capture = plug_in([])
    (tmp_path / "none.mp4").write_bytes(b"an index and nothing else")

    with pytest.raises(InputError, match=r"none\.mp4 has no frame that can be decoded"):
        open_source(str(tmp_path / "none.mp4"))
    assert capture.released


def test_no_camera_at_that_index():
    with pytest.raises(InputError, match=r"no camera opens at index 97; (this machine has|connect)"):
        CameraSource(97)


@pytest.mark.parametrize(
    ("devices", "readable", "advice"),
    [
        ([], True, "this machine has no /dev/video*; connect a camera"),
        (["video0", "video2"], True, "this machine has /dev/video0, /dev/video2"),
        (["video3"], True, "/dev/video3 exists but gives no video: another program uses it"),
        (["video3"], False, "you may not read /dev/video3; run: sudo usermod -aG video $USER"),
    ],
)
def test_advice_when_a_camera_does_not_open(monkeypatch, plug_in, devices, readable, advice):
    paths = [Path("/dev") / name for name in devices]
    plug_in([], opens=False)
    monkeypatch.setattr(Path, "exists", lambda path: path in paths)
    monkeypatch.setattr(Path, "glob", lambda path, pattern: iter(paths))
    monkeypatch.setattr(video.os, "access", lambda path, mode: readable)

    with pytest.raises(InputError, match=re.escape(f"no camera opens at index 3; {advice}")):
        CameraSource(3)


def test_a_camera_gives_frames_until_it_vanishes(plug_in):
    camera = plug_in([picture(), picture(1), picture(2)])
    source = CameraSource(0)
    items = iter(source)

    assert (source.kind, source.total, source.fps) == (SourceKind.LIVE, None, 30.0)
    assert [(next(items).image_id, source.total) for _ in range(2)] == [(0, None), (1, None)]
    with pytest.raises(InputError, match="camera 0 gives no more pictures after frame 2; check that"):
        list(items)
    source.close()
    assert camera.released


def test_a_spoilt_picture_does_not_end_a_camera(plug_in):
    plug_in([picture(), picture(1), None, None, picture(2), None, picture(3)])
    items = iter(CameraSource(0))

    kinds = [type(next(items)) for _ in range(6)]

    assert kinds == [Frame, Skipped, Skipped, Frame, Skipped, Frame]


def test_a_camera_may_need_some_reads_to_start(plug_in):
    plug_in([None, None, picture(), picture(5)])

    assert next(iter(CameraSource(0))).image.max() == 5


def test_a_camera_that_gives_nothing_is_refused(plug_in):
    camera = plug_in([])

    with pytest.raises(InputError, match="camera 2 opens but gives no picture; close other programs"):
        CameraSource(2)
    assert camera.released


def test_an_infrared_camera_becomes_three_channels(plug_in):
    plug_in([picture(), picture(7, (4, 6))])

    frame = next(iter(CameraSource(0)))

    assert frame.image.shape == (4, 6, 3)
    assert (frame.image == 7).all()


@pytest.mark.parametrize("moved", [True, False])
def test_the_log_is_found_where_opencv_4_and_5_have_it(monkeypatch, moved):
    monkeypatch.setattr(cv2, "utils", SimpleNamespace(logging="log of 5"), raising=False)
    monkeypatch.delattr(cv2, "setLogLevel", raising=False)
    if not moved:
        monkeypatch.setattr(cv2, "setLogLevel", lambda level: None, raising=False)

    assert video._log() == ("log of 5" if moved else cv2)


def test_the_log_level_is_put_back():
    log = video._log()
    before = log.getLogLevel()

    def fail() -> None:
        with quiet_opencv():
            raise InputError(log.getLogLevel())

    with pytest.raises(InputError, match=r"^0$"):
        fail()
    assert log.getLogLevel() == before
