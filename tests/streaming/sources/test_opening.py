"""What can be opened together, under which names, and videos played as a camera would."""

from __future__ import annotations

import re
import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from edgeseg.errors import ConfigError, DependencyError, InputError
from edgeseg.streaming.sources.live import network, plugins
from edgeseg.streaming.sources.live.reader import LiveReader
from edgeseg.streaming.sources.opening import open_frame_reader, unique_names
from edgeseg.vision.frames import SourceKind
from edgeseg.vision.opencv import has_ffmpeg
from tests.vision.found import all_frames, as_frame, capture_of, time_of

from .fake_capture import FakeCapture, picture
from .mjpeg_server import MjpegServer, mute_server, until
from .scripted import QUICK
from .video.clips import write_clip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any

    from edgeseg.streaming.frame_reader import FrameReader
    from edgeseg.vision.frames import Frame, Skipped

pytestmark = pytest.mark.usefixtures("no_threads_left")


def all_of(frame_reader: FrameReader, count: int = 4) -> list[Frame | Skipped]:
    items: list[Frame | Skipped] = []
    while taken := frame_reader.take(count):
        items += taken
    frame_reader.close()
    return items


def save(path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (6, 4)).save(path)
    return str(path)


def test_images_keep_their_own_ids(tmp_path: Path) -> None:
    save(tmp_path / "139.png")
    save(tmp_path / "285.png")
    frame_reader = open_frame_reader([str(tmp_path)])

    assert (frame_reader.kind, frame_reader.total, frame_reader.names) == (
        SourceKind.IMAGES,
        2,
        (str(tmp_path),),
    )
    frames = all_frames(all_of(frame_reader))
    assert [(frame.name, frame.image_id) for frame in frames] == [("139.png", 139), ("285.png", 285)]
    assert all(frame.read_ms > 0 and frame.captured_s is None for frame in frames)


def test_images_of_several_folders_share_no_name_and_no_id(tmp_path: Path) -> None:
    folders = [str(tmp_path / name) for name in ("a", "b")]
    for name in ("a/1.png", "b/1.png", "b/2.png"):
        save(tmp_path / name)

    frames = all_frames(all_of(open_frame_reader(folders)))

    assert [(frame.name, frame.image_id, frame.source) for frame in frames] == [
        ("a/1.png", 1, 0),
        ("b/1.png", 2, 1),
        ("b/2.png", 3, 1),
    ]


def test_videos_named_alike_are_told_apart(tmp_path: Path) -> None:
    paths = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        paths.append(str(write_clip(tmp_path / name / "clip.mp4", 3)))

    frame_reader = open_frame_reader(paths)

    assert frame_reader.names == ("clip.mp4", "clip.mp4 (2)")
    frames = all_frames(all_of(frame_reader))
    assert [(frame.name, frame.image_id) for frame in frames] == [
        (("clip.mp4", "clip.mp4 (2)")[number % 2], number) for number in range(6)
    ]


def test_names_that_are_alike_are_numbered() -> None:
    assert unique_names(["x", "y", "x", "x"]) == ["x", "y", "x (2)", "x (3)"]


def test_a_video_as_from_a_camera(tmp_path: Path) -> None:
    frame_reader = open_frame_reader([str(write_clip(tmp_path / "clip.mp4", 8))], realtime=True)

    frames = all_frames(all_of(frame_reader))

    assert (frame_reader.kind, frame_reader.rates_fps) == (SourceKind.LIVE, (10.0,))
    (dropped,) = frame_reader.dropped.values()
    assert len(frames) + dropped == 8
    for before, after in pairwise(frames):
        # Never earlier than it is due; a busy machine may be late.
        due_s = time_of(after) - time_of(frames[0])
        assert capture_of(after) - capture_of(frames[0]) > due_s - 0.02
        assert before.image_id < after.image_id
    assert [frame.time_s for frame in frames] == pytest.approx(
        [frame.image_id / 10 for frame in frames], abs=0.01
    )


def test_a_video_waits_for_the_first_take(tmp_path: Path) -> None:
    frame_reader = open_frame_reader([str(write_clip(tmp_path / "clip.mp4", 3))], realtime=True)
    assert isinstance(frame_reader, LiveReader)
    until(lambda: frame_reader._latest._count == 1)
    # Longer than the whole of it takes.
    assert not threading.Event().wait(0.5)

    assert frame_reader.dropped == {"clip.mp4": 0}
    begins_s = time.monotonic()
    (frame,) = all_frames(frame_reader.take(1))
    assert frame.image_id == 0
    # The wait is no age of the picture.
    assert capture_of(frame) >= begins_s
    frame_reader.close()


def test_a_video_that_nobody_takes_from_can_be_closed(tmp_path: Path) -> None:
    open_frame_reader([str(write_clip(tmp_path / "clip.mp4", 3))], realtime=True).close()


@pytest.mark.parametrize(
    ("make", "settings", "words"),
    [
        (lambda path: [], {}, "a run wants one source or more, got none"),
        (lambda path: [0, str(write_clip(path / "c.mp4", 2))], {}, "camera 0 is live and"),
        (
            lambda path: [save(path / "a.png"), str(write_clip(path / "c.mp4", 2))],
            {},
            "is images and other sources are videos; run them one after the other",
        ),
        (lambda path: [save(path / "a.png")], {"realtime": True}, "--realtime plays videos and"),
        (lambda path: [-3], {}, "a camera's number must be 0 or more, got -3"),
    ],
    ids=[
        "no source",
        "a camera and a video",
        "images and a video",
        "images at their own pace",
        "no camera's number",
    ],
)
def test_what_does_not_go_together(
    tmp_path: Path, make: Callable[[Path], list[str | int]], settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        open_frame_reader(make(tmp_path), **settings)


def test_what_nobody_can_read_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file or folder is at"):
        open_frame_reader([str(tmp_path / "absent.mp4")])
    with pytest.raises(InputError, match=r"cannot read .*: File name too long"):
        open_frame_reader(["x" * 5000])


def test_a_camera_and_a_video_play_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = MjpegServer(fps=100.0)
    frame_reader = open_frame_reader([server.url, str(write_clip(tmp_path / "clip.mp4", 4))], realtime=True)
    found: dict[int, int] = {}
    while set(found) != {0, 1}:
        for frame in all_frames(frame_reader.take(2)):
            found[frame.source] = frame.image_id

    assert frame_reader.names == (server.url, "clip.mp4")
    frame_reader.close()
    server.close()


def test_a_network_camera_that_is_killed_and_restarted() -> None:
    server = MjpegServer(fps=100.0)
    notes: list[str] = []
    frame_reader = open_frame_reader([server.url], note=notes.append, policy=QUICK)
    ids = [as_frame(frame_reader.take(1)[0]).image_id for _ in range(3)]
    server.close()
    until(lambda: notes)
    server = MjpegServer(fps=100.0, port=server.port)

    # What was on its way when the server went may still come.
    while not frame_reader.reconnects:
        ids += [frame.image_id for frame in all_frames(frame_reader.take(1))]
    ids += [frame.image_id for frame in all_frames(frame_reader.take(1))]
    assert ids == sorted(set(ids))
    assert [note.split()[1] for note in notes] == ["gives", "is"]
    frame_reader.close()
    server.close()


@pytest.mark.skipif(not has_ffmpeg(), reason="this OpenCV has no FFmpeg")
def test_a_stream_that_never_answers_and_one_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "OPEN_TIMEOUT_MS", 300)
    words = r"rtsp://\*\*\*@127.0.0.1:\d+/x does not open as a stream; .* answers, but sends no video"
    with mute_server() as port, pytest.raises(InputError, match=words):
        open_frame_reader([f"rtsp://u:secret@127.0.0.1:{port}/x"])
    with pytest.raises(InputError, match=rf"nothing answers at 127.0.0.1:{port} \(Connection refused\)"):
        open_frame_reader([f"rtsp://127.0.0.1:{port}/x"])


def test_a_port_that_is_none() -> None:
    with pytest.raises(InputError, match=r"does not open as a stream; its port is no number"):
        open_frame_reader(["rtsp://127.0.0.1:123456/x"])


@pytest.mark.skipif(not has_ffmpeg(), reason="this OpenCV has no FFmpeg")
@pytest.mark.parametrize("password", ["[Zq7", "a/Zq7", "a?Zq7", "1#Zq7", "\u2100Zq7", "p@Zq7/x"])
def test_special_characters_in_a_password(password: str) -> None:
    with pytest.raises(InputError, match="special characters in a user name or password must be") as told:
        open_frame_reader([f"rtsp://u:{password}@127.0.0.1:1/x"])

    assert "zq7" not in str(told.value).lower()


def test_what_opencv_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "has_gstreamer", lambda: False)
    monkeypatch.setattr(plugins, "has_ffmpeg", lambda: False)

    with pytest.raises(
        DependencyError, match=r"csi://0 is read through GStreamer.*sudo apt install python3-opencv"
    ):
        open_frame_reader(["csi://0"])
    with pytest.raises(DependencyError, match=r"videotestsrc ! videoconvert is read through GStreamer"):
        open_frame_reader(["videotestsrc ! videoconvert"])
    with pytest.raises(DependencyError, match=r"rtsp://cam/x is read through FFmpeg.*opencv-python-headless"):
        open_frame_reader(["rtsp://cam/x"])


@pytest.mark.skipif(not network.CAN_CHOOSE_THREADS, reason="this OpenCV cannot choose threads")
@pytest.mark.parametrize(("width", "threads"), [(1920, [1]), (3840, [1, 4])])
def test_a_large_stream_gets_more_decoders(
    monkeypatch: pytest.MonkeyPatch, width: int, threads: list[int]
) -> None:
    asked = []

    def opened(address: str, backend: int, parameters: Sequence[int]) -> FakeCapture:
        asked.append(parameters[-1])
        return FakeCapture([picture()], facts={3: width, 4: 1080})

    monkeypatch.setattr(network, "open_capture", opened)
    network.open_network("rtsp://cam/x")

    assert asked == threads
