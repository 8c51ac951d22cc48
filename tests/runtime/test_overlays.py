"""Pictures and videos with detections drawn over them."""

from __future__ import annotations

import shutil
from collections import namedtuple

import cv2
import numpy as np
import pytest

from edgeseg.errors import EdgeSegError, InputError
from edgeseg.runtime.images import read_image
from edgeseg.runtime.overlays import ImageOverlays, VideoOverlays, overlay_name

from .found import make_detections, make_frame, make_shown

Usage = namedtuple("Usage", "total used free")


def video_frames(path) -> list[np.ndarray]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    capture.release()
    return frames


@pytest.mark.parametrize(
    ("name", "overlay"),
    [
        ("a/b.jpg", "a/b.jpg"),
        ("UPPER.JPG", "UPPER.JPG"),
        ("b.png", "b.png"),
        ("b.bmp", "b.bmp.jpg"),
        ("no_suffix", "no_suffix.jpg"),
    ],
)
def test_no_two_images_share_an_overlay(name, overlay):
    assert overlay_name(name) == overlay


@pytest.mark.parametrize("name", ["a/ü.png", "UPPER.JPG", "b.tiff"])
def test_a_picture_has_the_size_of_its_image_and_shows_what_was_found(tmp_path, name):
    sink = ImageOverlays(tmp_path)
    frame = make_frame(name)
    sink.write(make_shown(frame, make_detections()))
    sink.close()

    drawn = read_image(tmp_path / overlay_name(name))
    assert drawn.shape == frame.image.shape
    changed = np.abs(drawn.astype(int) - frame.image).max(-1) > 30
    assert changed[5:12, 2:9].mean() > 0.5
    assert not changed[30:].any()


def test_a_picture_too_wide_for_jpeg_is_written_as_png(tmp_path):
    size_hw = (2, 65501)
    ImageOverlays(tmp_path).write(make_shown(make_frame("wide.bmp", size_hw), make_detections(0, size_hw)))

    written = (tmp_path / "wide.bmp.jpg").read_bytes()
    assert written.startswith(b"\x89PNG")
    assert read_image(tmp_path / "wide.bmp.jpg").shape == (*size_hw, 3)


def test_a_picture_on_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(tmp_path), "write_bytes", full)

    with pytest.raises(EdgeSegError, match=r"cannot write .*a\.png: No space left on device; make room"):
        ImageOverlays(tmp_path).write(make_shown(make_frame(), make_detections()))
    assert list(tmp_path.iterdir()) == []


def test_a_video_keeps_speed_size_and_every_frame(tmp_path):
    path = tmp_path / "overlay.mp4"
    sink = VideoOverlays([path], [12.5], live=False)
    for index in range(6):
        sink.write(make_shown(make_frame("clip.mp4", time_s=index / 2), make_detections()))
    sink.close()

    frames = video_frames(path)
    assert len(frames) == 6
    assert frames[0].shape == (40, 60, 3)
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    capture.release()


def test_a_slow_run_on_a_camera_is_shown_in_real_time(tmp_path):
    path = tmp_path / "overlay.mp4"
    sink = VideoOverlays([path], [10], live=True)
    for time_s in (0.0, 0.01, 0.5, 0.9):
        sink.write(make_shown(make_frame("camera 0", time_s=time_s), make_detections()))
    sink.close()

    assert len(video_frames(path)) == 10


def test_a_frame_of_another_size_is_fitted(tmp_path):
    path = tmp_path / "overlay.mp4"
    sink = VideoOverlays([path], [None], live=False)
    sink.write(make_shown(make_frame(), make_detections()))
    sink.write(make_shown(make_frame(size_hw=(80, 80)), make_detections(2, (80, 80))))
    sink.close()

    assert [frame.shape for frame in video_frames(path)] == [(40, 60, 3)] * 2


def test_a_video_stops_while_there_is_room_for_its_end(tmp_path, monkeypatch):
    path = tmp_path / "overlay.mp4"
    sink = VideoOverlays([path], [10], live=False)
    sink.write(make_shown(make_frame(), make_detections()))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(100 << 20, 95 << 20, 5 << 20))

    with pytest.raises(InputError, match=r"overlay\.mp4 stops here: the disk is nearly full \(5 MiB left\)"):
        sink.write(make_shown(make_frame(), make_detections()))
    sink.close()
    assert len(video_frames(path)) == 1


def test_a_video_that_cannot_be_made(tmp_path):
    (tmp_path / "overlay.mp4").mkdir()
    sink = VideoOverlays([tmp_path / "overlay.mp4"], [10], live=False)

    with pytest.raises(InputError, match=r"overlay\.mp4 cannot be written as MPEG-4 video.*--no-overlay"):
        sink.write(make_shown(make_frame(), make_detections()))
    sink.close()


def test_a_video_that_came_out_broken_is_said_to_be(tmp_path):
    path = tmp_path / "overlay.mp4"
    sink = VideoOverlays([path], [10], live=False)
    sink.write(make_shown(make_frame(), make_detections()))
    sink._videos[0]._writer.release()
    path.write_bytes(b"no index")

    with pytest.raises(
        EdgeSegError, match=r"overlay\.mp4 cannot be played; the disk or the quota was used up"
    ):
        sink.close()


def test_no_frame_makes_no_video(tmp_path):
    VideoOverlays([tmp_path / "overlay.mp4"], [10], live=False).close()

    assert list(tmp_path.iterdir()) == []


def test_each_source_has_a_video_of_its_own(tmp_path):
    paths = [tmp_path / "overlay-0.mp4", tmp_path / "overlay-1.mp4"]
    sink = VideoOverlays(paths, [10, None], live=False)
    for source in (0, 1, 1):
        sink.write(make_shown(make_frame(source=source)))
    sink.close()

    assert [len(video_frames(path)) for path in paths] == [1, 2]
    capture = cv2.VideoCapture(str(paths[1]))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(25)
    capture.release()


def test_a_source_that_was_away_is_not_shown_as_a_still_of_that_length(tmp_path):
    path = tmp_path / "overlay.mp4"
    sink = VideoOverlays([path], [10], live=True)
    for time_s in (0.0, 0.1, 3600.0, 3600.1, 3600.2):
        sink.write(make_shown(make_frame("camera 0", time_s=time_s)))
    sink.close()

    assert len(video_frames(path)) == 2 + 50 + 2
