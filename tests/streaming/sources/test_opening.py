"""What can be opened together, under which names, and videos played as a camera would."""

from __future__ import annotations

import re
import threading
import time
from itertools import pairwise

import pytest
from PIL import Image

from edgeseg.errors import ConfigError, DependencyError, InputError
from edgeseg.streaming.sources.live import network, plugins
from edgeseg.streaming.sources.opening import open_intake, unique
from edgeseg.vision.frames import SourceKind

from .fake_capture import FakeCapture, picture
from .mjpeg_server import MjpegServer, mute_server, until
from .scripted import QUICK
from .video.clips import write_clip

pytestmark = pytest.mark.usefixtures("no_threads_left")


def all_of(intake, count: int = 4) -> list:
    items: list = []
    while taken := intake.take(count):
        items += taken
    intake.close()
    return items


def save(path):
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (6, 4)).save(path)
    return str(path)


def test_images_keep_their_own_ids(tmp_path):
    save(tmp_path / "139.png")
    save(tmp_path / "285.png")
    intake = open_intake([str(tmp_path)])

    assert (intake.kind, intake.total, intake.names) == (SourceKind.IMAGES, 2, (str(tmp_path),))
    frames = all_of(intake)
    assert [(frame.name, frame.image_id) for frame in frames] == [("139.png", 139), ("285.png", 285)]
    assert all(frame.read_ms > 0 and frame.captured_s is None for frame in frames)


def test_images_of_several_folders_share_no_name_and_no_id(tmp_path):
    folders = [str(tmp_path / name) for name in ("a", "b")]
    for name in ("a/1.png", "b/1.png", "b/2.png"):
        save(tmp_path / name)

    frames = all_of(open_intake(folders))

    assert [(frame.name, frame.image_id, frame.source) for frame in frames] == [
        ("a/1.png", 1, 0),
        ("b/1.png", 2, 1),
        ("b/2.png", 3, 1),
    ]


def test_videos_named_alike_are_told_apart(tmp_path):
    paths = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        paths.append(str(write_clip(tmp_path / name / "clip.mp4", 3)))

    intake = open_intake(paths)

    assert intake.names == ("clip.mp4", "clip.mp4 (2)")
    frames = all_of(intake)
    assert [(frame.name, frame.image_id) for frame in frames] == [
        (("clip.mp4", "clip.mp4 (2)")[number % 2], number) for number in range(6)
    ]


def test_names_that_are_alike_are_numbered():
    assert unique(["x", "y", "x", "x"]) == ["x", "y", "x (2)", "x (3)"]


def test_a_video_as_from_a_camera(tmp_path):
    intake = open_intake([str(write_clip(tmp_path / "clip.mp4", 8))], realtime=True)

    frames = all_of(intake)

    assert (intake.kind, intake.rates_fps) == (SourceKind.LIVE, (10.0,))
    (dropped,) = intake.dropped.values()
    assert len(frames) + dropped == 8
    for before, after in pairwise(frames):
        # Never earlier than it is due; a busy machine may be late.
        assert after.captured_s - frames[0].captured_s > after.time_s - frames[0].time_s - 0.02
        assert before.image_id < after.image_id
    assert [frame.time_s for frame in frames] == pytest.approx(
        [frame.image_id / 10 for frame in frames], abs=0.01
    )


def test_a_video_waits_for_the_first_take(tmp_path):
    intake = open_intake([str(write_clip(tmp_path / "clip.mp4", 3))], realtime=True)
    until(lambda: intake._board._count == 1)
    # Longer than the whole of it takes.
    assert not threading.Event().wait(0.5)

    assert intake.dropped == {"clip.mp4": 0}
    begins_s = time.monotonic()
    (frame,) = intake.take(1)
    assert frame.image_id == 0
    # The wait is no age of the picture.
    assert frame.captured_s >= begins_s
    intake.close()


def test_a_video_that_nobody_takes_from_can_be_closed(tmp_path):
    open_intake([str(write_clip(tmp_path / "clip.mp4", 3))], realtime=True).close()


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
        (lambda path: [0], {"give_up_after_s": -1}, "give_up_after_s must be 0 or more, got -1"),
        (lambda path: [-3], {}, "a camera's number must be 0 or more, got -3"),
    ],
)
def test_what_does_not_go_together(tmp_path, make, settings, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        open_intake(make(tmp_path), **settings)


def test_what_nobody_can_read_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no file or folder is at"):
        open_intake([str(tmp_path / "absent.mp4")])
    with pytest.raises(InputError, match=r"cannot read .*: File name too long"):
        open_intake(["x" * 5000])


def test_a_camera_and_a_video_play_together(tmp_path, monkeypatch):
    server = MjpegServer(fps=100.0)
    intake = open_intake([server.url, str(write_clip(tmp_path / "clip.mp4", 4))], realtime=True)
    found: dict[int, int] = {}
    while set(found) != {0, 1}:
        for frame in intake.take(2):
            found[frame.source] = frame.image_id

    assert intake.names == (server.url, "clip.mp4")
    intake.close()
    server.close()


def test_a_network_camera_that_is_killed_and_restarted():
    server, notes = MjpegServer(fps=100.0), []
    intake = open_intake([server.url], note=notes.append, patience=QUICK)
    ids = [intake.take(1)[0].image_id for _ in range(3)]
    server.close()
    until(lambda: notes)
    server = MjpegServer(fps=100.0, port=server.port)

    # What was on its way when the server went may still come.
    while not intake.reconnects:
        ids += [frame.image_id for frame in intake.take(1)]
    ids += [frame.image_id for frame in intake.take(1)]
    assert ids == sorted(set(ids))
    assert [note.split()[1] for note in notes] == ["gives", "is"]
    intake.close()
    server.close()


@pytest.mark.skipif(not plugins.has_ffmpeg(), reason="this OpenCV has no FFmpeg")
def test_a_stream_that_never_answers_and_one_that_refuses(monkeypatch):
    monkeypatch.setattr(network, "OPEN_TIMEOUT_MS", 300)
    words = r"rtsp://\*\*\*@127.0.0.1:\d+/x does not open as a stream; .* answers, but sends no video"
    with mute_server() as port, pytest.raises(InputError, match=words):
        open_intake([f"rtsp://u:secret@127.0.0.1:{port}/x"])
    with pytest.raises(InputError, match=rf"nothing answers at 127.0.0.1:{port} \(Connection refused\)"):
        open_intake([f"rtsp://127.0.0.1:{port}/x"])


def test_a_port_that_is_none():
    with pytest.raises(InputError, match=r"does not open as a stream; its port is no number"):
        open_intake(["rtsp://127.0.0.1:123456/x"])


@pytest.mark.skipif(not plugins.has_ffmpeg(), reason="this OpenCV has no FFmpeg")
@pytest.mark.parametrize("password", ["[Zq7", "a/Zq7", "a?Zq7", "1#Zq7", "\u2100Zq7", "p@Zq7/x"])
def test_special_characters_in_a_password(password):
    with pytest.raises(InputError, match="special characters in a user name or password must be") as told:
        open_intake([f"rtsp://u:{password}@127.0.0.1:1/x"])

    assert "zq7" not in str(told.value).lower()


def test_what_opencv_lacks_is_named(monkeypatch):
    monkeypatch.setattr(plugins, "has_gstreamer", lambda: False)
    monkeypatch.setattr(plugins, "has_ffmpeg", lambda: False)

    with pytest.raises(
        DependencyError, match=r"csi://0 is read through GStreamer.*sudo apt install python3-opencv"
    ):
        open_intake(["csi://0"])
    with pytest.raises(DependencyError, match=r"videotestsrc ! videoconvert is read through GStreamer"):
        open_intake(["videotestsrc ! videoconvert"])
    with pytest.raises(DependencyError, match=r"rtsp://cam/x is read through FFmpeg.*opencv-python-headless"):
        open_intake(["rtsp://cam/x"])


@pytest.mark.skipif(not network.CAN_CHOOSE_THREADS, reason="this OpenCV cannot choose threads")
@pytest.mark.parametrize(("width", "threads"), [(1920, [1]), (3840, [1, 4])])
def test_a_large_stream_gets_more_decoders(monkeypatch, width, threads):
    asked = []

    def opened(address, backend, parameters):
        asked.append(parameters[-1])
        capture = FakeCapture([picture()])
        capture.get = lambda prop: {3: width, 4: 1080}.get(prop, 0.0)
        return capture

    monkeypatch.setattr(network, "opened", opened)
    network.open_network("rtsp://cam/x")

    assert asked == threads
