"""Videos, whole and broken."""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edgeseg.errors import InputError
from edgeseg.runtime.frames import Frame, Skipped, SourceKind
from edgeseg.runtime.sources import open_source
from edgeseg.runtime.video import VideoSource
from tests.data import shared
from tests.runtime.streams.fake_capture import FakeCapture, picture

if TYPE_CHECKING:
    from pathlib import Path

FPS = 10.0


def write_video(path: Path, frames: int, size_hw: tuple[int, int] = (48, 64)) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, size_hw[::-1])
    for index in range(frames):
        writer.write(np.full((*size_hw, 3), 20 * index % 256, np.uint8))
    writer.release()
    return path


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


def test_a_video_that_is_damaged_in_the_middle_goes_on(tmp_path):
    data = bytearray(shared("data", "videos", "bottle-detection.mp4").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 60000] = bytes(60000)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)

    items = list(open_source(str(path)))

    frames = [item for item in items if isinstance(item, Frame)]
    skipped = [item for item in items if isinstance(item, Skipped)]
    assert frames[-1].image_id == 1188
    assert 900 < len(frames) < 1189
    assert 1 <= len(skipped) <= 10
    lost = [int(item.reason.split()[0]) for item in skipped]
    assert sum(lost) + len(frames) == 1189
    assert all("cannot be decoded" in item.reason for item in skipped)
    # After the gap a frame has the number and the time that it has in the whole file.
    assert frames[-1].time_s == pytest.approx(1188 / 29.83, abs=0.1)
    assert all(before.time_s < after.time_s for before, after in pairwise(frames))


def capture_of(monkeypatch, tmp_path, pictures, *, total: int) -> VideoSource:
    capture = FakeCapture(pictures)
    values = {cv2.CAP_PROP_FPS: 10.0, cv2.CAP_PROP_FRAME_COUNT: float(total)}
    capture.get = lambda prop: values.get(prop, 0.0)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *target: capture)
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x08ftyp")
    return VideoSource(tmp_path / "clip.mp4")


def test_a_gap_is_told_once_and_frames_keep_their_numbers(monkeypatch, tmp_path):
    pictures = [None, None, picture(2), *[None] * 400, picture(3), picture(4)]

    items = list(capture_of(monkeypatch, tmp_path, pictures, total=405))

    frames = [item for item in items if isinstance(item, Frame)]
    assert [(frame.image_id, frame.image.max()) for frame in frames] == [(2, 2), (403, 3), (404, 4)]
    assert [item.reason for item in items if isinstance(item, Skipped)] == [
        "2 frames after frame 0 cannot be decoded",
        "400 frames after frame 3 cannot be decoded",
    ]


def test_a_video_that_ends_early_says_where(monkeypatch, tmp_path):
    *frames, last = capture_of(monkeypatch, tmp_path, [picture(), picture()], total=100)

    assert len(frames) == 2
    assert last.reason == "it ends after frame 2 of 100: truncated or corrupt"


def test_a_stream_without_times_goes_by_its_rate(monkeypatch, tmp_path):
    frames = list(capture_of(monkeypatch, tmp_path, [picture()] * 3, total=3))

    assert [frame.time_s for frame in frames] == pytest.approx([0.0, 0.1, 0.2])


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs the program ffmpeg to write a variable rate")
def test_a_variable_rate_gives_each_frame_its_own_time(tmp_path):
    # The pauses between frames grow: frame n is due at n * (n + 1) / 20 seconds.
    command = ("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=0.8")
    filters = ("-vf", "settb=1/1000,setpts=N*(N+1)/20/TB", "-fps_mode", "passthrough")
    times = (*filters, "-enc_time_base", "1:1000", "-c:v", "mpeg4")
    subprocess.run((*command, *times, str(tmp_path / "clip.mp4")), check=True)

    frames = list(open_source(str(tmp_path / "clip.mp4")))

    assert [frame.time_s for frame in frames] == pytest.approx(
        [index * (index + 1) / 20 for index in range(8)], abs=0.011
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


def test_a_video_without_frames_is_refused(tmp_path, monkeypatch):
    capture = FakeCapture([])
    monkeypatch.setattr(cv2, "VideoCapture", lambda *target: capture)
    (tmp_path / "none.mp4").write_bytes(b"an index and nothing else")

    with pytest.raises(InputError, match=r"none\.mp4 has no frame that can be decoded"):
        open_source(str(tmp_path / "none.mp4"))
    assert capture.released
