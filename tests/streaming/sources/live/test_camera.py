"""Cameras, there and not."""

from __future__ import annotations

import os
import re
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import pytest

from edgeseg.errors import InputError
from edgeseg.streaming.sources.live.camera import open_camera
from edgeseg.streaming.sources.live.capture import MAX_FIRST_READS, CaptureSource
from edgeseg.vision.frames import Frame, Skipped, SourceKind
from tests.streaming.sources.fake_capture import FakeCapture, picture
from tests.vision.found import as_frame, capture_of

if TYPE_CHECKING:
    from typing import NoReturn

    from tests.streaming.sources.fake_capture import PlugIn


def test_no_camera_at_that_index() -> None:
    with pytest.raises(InputError, match=r"no camera opens at index 97; (this machine has|connect)"):
        open_camera(97)


@pytest.mark.parametrize(
    ("devices", "readable", "advice"),
    [
        ([], True, "this machine has no /dev/video*; connect a camera"),
        (["video0", "video2"], True, "this machine has /dev/video0, /dev/video2"),
        (["video3"], True, "/dev/video3 exists but gives no video: another program uses it"),
        (["video3"], False, "you may not read /dev/video3; run: sudo usermod -aG video $USER"),
    ],
)
def test_advice_when_a_camera_does_not_open(
    monkeypatch: pytest.MonkeyPatch, plug_in: PlugIn, devices: list[str], readable: bool, advice: str
) -> None:
    paths = [Path("/dev") / name for name in devices]
    plug_in([], opens=False)
    monkeypatch.setattr(Path, "exists", lambda path: path in paths)
    monkeypatch.setattr(Path, "glob", lambda path, pattern: iter(paths))
    monkeypatch.setattr(os, "access", lambda path, mode: readable)

    with pytest.raises(InputError, match=re.escape(f"no camera opens at index 3; {advice}")):
        open_camera(3)


def test_a_device_is_named_by_its_path(plug_in: PlugIn) -> None:
    plug_in([], opens=False)

    with pytest.raises(InputError, match="no camera opens at /dev/video97; "):
        open_camera("/dev/video97")


@pytest.mark.skipif(sys.platform != "linux", reason="V4L2 is Linux")
def test_linux_reads_cameras_through_v4l2(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def opened(*target: object) -> FakeCapture:
        asked.append(target)
        return FakeCapture([])

    monkeypatch.setattr(cv2, "VideoCapture", opened)

    open_camera(0)

    assert asked == [(0, cv2.CAP_V4L2, ())]


def test_a_camera_gives_frames_until_it_vanishes(plug_in: PlugIn) -> None:
    camera = plug_in([picture(), picture(1)])
    source = open_camera(0)
    items = iter(source)

    assert (source.kind, source.total, source.fps) == (SourceKind.LIVE, None, 30.0)
    frames = [as_frame(next(items)) for _ in range(2)]
    assert [(frame.image_id, frame.image.max()) for frame in frames] == [(0, 0), (1, 1)]
    assert capture_of(frames[0]) <= capture_of(frames[1])
    with pytest.raises(InputError, match="camera 0 gives no more pictures after frame 2; check that"):
        list(items)
    source.close()
    assert camera.released


def test_a_spoilt_picture_does_not_end_a_camera(plug_in: PlugIn) -> None:
    plug_in([picture(), None, None, picture(2), None, picture(3)])
    items = iter(open_camera(0))

    got = [next(items) for _ in range(5)]

    assert [type(item) for item in got] == [Frame, Skipped, Frame, Skipped, Frame]
    assert got[1] == Skipped(name="camera 0", reason="2 frames after frame 1 did not come")


def test_opencv_may_raise_where_it_should_fail(monkeypatch: pytest.MonkeyPatch, plug_in: PlugIn) -> None:
    camera = plug_in([picture(), picture(1)])
    good = camera.read

    def read() -> NoReturn:
        monkeypatch.setattr(camera, "read", good)
        raise cv2.error

    monkeypatch.setattr(camera, "read", read)

    assert as_frame(next(iter(open_camera(0)))).image.max() == 0


def test_a_camera_may_need_some_reads_to_start(plug_in: PlugIn) -> None:
    plug_in([None] * (MAX_FIRST_READS - 1) + [picture(5)])

    first = as_frame(next(iter(open_camera(0))))

    assert (first.image.max(), first.image_id) == (5, 0)


def test_a_camera_that_gives_nothing_is_refused(plug_in: PlugIn) -> None:
    plug_in([])

    with pytest.raises(InputError, match="camera 2 opens but gives no picture; close other programs"):
        next(iter(open_camera(2)))


def test_an_infrared_camera_becomes_three_channels(plug_in: PlugIn) -> None:
    plug_in([picture(7, (4, 6))])

    frame = as_frame(next(iter(open_camera(0))))

    assert frame.image.shape == (4, 6, 3)
    assert (frame.image == 7).all()


class Backlogged(FakeCapture):
    """Gives what has gathered at once, and then a picture a tenth of a second."""

    def __init__(self, gathered: int, count: int) -> None:
        super().__init__([picture(value) for value in range(count)])
        self.gathered = gathered

    def grab(self) -> bool:
        grabbed = self.pictures.pop(0)
        assert grabbed is not None
        if grabbed[0, 0, 0] >= self.gathered:
            threading.Event().wait(0.1)
        return True


def test_what_a_server_sent_while_the_stream_was_opened_is_passed_over() -> None:
    on_time = CaptureSource("rtsp", Backlogged(5, 8), late=True)
    first = as_frame(next(iter(on_time)))
    # The first one that had to be waited for is gone with them.
    assert first.image.max() == 6

    assert as_frame(next(iter(CaptureSource("camera", Backlogged(5, 8))))).image.max() == 0


def test_pictures_that_never_have_to_be_waited_for_are_not_passed_over_for_ever() -> None:
    source = CaptureSource("rtsp", Backlogged(250, 250), late=True)

    assert as_frame(next(iter(source))).image.max() == 90


@pytest.mark.parametrize(
    ("stated", "fps"), [(30.0, 30.0), (90000.0, None), (0.0, None), (float("nan"), None)]
)
def test_a_rate_that_is_the_tick_of_a_clock_is_none(
    monkeypatch: pytest.MonkeyPatch, stated: float, fps: float | None
) -> None:
    capture = FakeCapture([])
    monkeypatch.setattr(capture, "get", lambda prop: stated if prop == cv2.CAP_PROP_FPS else 0.0)

    assert CaptureSource("rtsp://camera/path", capture).fps == fps


def test_a_source_that_states_too_many_pixels_is_refused_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = FakeCapture([picture()])
    monkeypatch.setattr(capture, "get", lambda prop: 9000.0)

    with pytest.raises(InputError, match=r"camera 0 is refused: its header states 9000x9000 pixels"):
        CaptureSource("camera 0", capture)
    assert capture.released
