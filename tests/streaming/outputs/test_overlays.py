"""Pictures and videos with detections drawn over them."""

from __future__ import annotations

import shutil
from collections import namedtuple
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edgeseg.errors import EdgeSegError, InputError
from edgeseg.streaming.outputs import overlays
from edgeseg.streaming.outputs.overlays import ImageOverlays, VideoOverlays, overlay_name
from edgeseg.vision.images.reader import read_image
from tests.streaming.sources.video.clips import length_s, read_clip, shown_at
from tests.vision.found import make_detections, make_frame, make_shown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import NoReturn

Usage = namedtuple("Usage", "total used free")


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
def test_no_two_images_share_an_overlay(name: str, overlay: str) -> None:
    assert overlay_name(name) == overlay


@pytest.mark.parametrize("name", ["a/ü.png", "UPPER.JPG", "b.tiff"])
def test_a_picture_has_the_size_of_its_image_and_shows_what_was_found(tmp_path: Path, name: str) -> None:
    sink = ImageOverlays(tmp_path)
    frame = make_frame(name)
    sink.write(make_shown(frame, make_detections()))
    sink.close()

    drawn = read_image(tmp_path / overlay_name(name))
    assert drawn.shape == frame.image.shape
    changed = np.abs(drawn.astype(int) - frame.image).max(-1) > 30
    assert changed[5:12, 2:9].mean() > 0.5
    assert not changed[30:].any()


def test_a_picture_too_wide_for_jpeg_is_written_as_png(tmp_path: Path) -> None:
    size_hw = (2, 65501)
    ImageOverlays(tmp_path).write(make_shown(make_frame("wide.bmp", size_hw), make_detections(0, size_hw)))

    written = (tmp_path / "wide.bmp.jpg").read_bytes()
    assert written.startswith(b"\x89PNG")
    assert read_image(tmp_path / "wide.bmp.jpg").shape == (*size_hw, 3)


def test_a_picture_on_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgeseg.files.draft.write_all", full)

    with pytest.raises(EdgeSegError, match=r"cannot write .*a\.png: No space left on device; make room"):
        ImageOverlays(tmp_path).write(make_shown(make_frame(), make_detections()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("live", [False, True])
def test_a_video_shows_each_frame_at_its_own_time(tmp_path: Path, live: bool) -> None:
    path = tmp_path / "overlay.mp4"
    times_s = [0, 0.04, 0.08, 0.12, 1.12, 1.16, 2.5, 2.54, 4.0]
    sink = VideoOverlays([path], [1000], live=live)
    for time_s in times_s:
        sink.write(make_shown(make_frame("clip.webm", time_s=time_s), make_detections()))
    sink.close()

    assert [frame.shape for frame in read_clip(path)] == [(40, 60, 3)] * len(times_s)
    assert shown_at(path) == pytest.approx(times_s, abs=1e-4)
    # The last frame lasts as long as most do.
    assert length_s(path) == pytest.approx(4.04, abs=0.01)


@pytest.mark.parametrize(("fps", "length"), [(10.0, 0.1), (29.97, 0.0334), (None, 0.04)])
def test_a_single_frame_lasts_as_long_as_the_rate_says(
    tmp_path: Path, fps: float | None, length: float
) -> None:
    path = tmp_path / "overlay.mp4"
    sink = VideoOverlays([path], [fps], live=False)
    sink.write(make_shown(make_frame("clip.mp4", time_s=0.0)))
    sink.close()

    assert len(read_clip(path)) == 1
    assert length_s(path) == pytest.approx(length, abs=1e-4)


def test_a_steady_rate_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    sink = VideoOverlays([path], [29.97], live=False)
    for index in range(90):
        sink.write(make_shown(make_frame("clip.mp4", time_s=index / 29.97)))
    sink.close()

    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(29.97, abs=0.001)
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 90
    capture.release()


def test_the_first_frame_is_there_from_the_beginning(tmp_path: Path) -> None:
    # Of a clip whose first frames are damaged, or a camera while the model was loaded.
    path = tmp_path / "overlay.mp4"
    sink = VideoOverlays([path], [10], live=False)
    for time_s in (2.0, 2.1, 2.2):
        sink.write(make_shown(make_frame("clip.mp4", time_s=time_s)))
    sink.close()

    assert shown_at(path) == pytest.approx([0, 2.1, 2.2], abs=1e-4)


def test_frames_without_a_time_go_by_the_rate(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    sink = VideoOverlays([path], [12.5], live=False)
    for _ in range(4):
        sink.write(make_shown(make_frame()))
    sink.close()

    assert shown_at(path) == pytest.approx([0, 0.08, 0.16, 0.24], abs=1e-4)


def test_frames_of_the_same_moment_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    sink = VideoOverlays([path], [10], live=True)
    for time_s in (0.0, 0.1, 0.1, 0.05, 0.3):
        sink.write(make_shown(make_frame("camera 0", time_s=time_s)))
    sink.close()

    assert len(read_clip(path)) == 5


def test_a_frame_of_another_size_keeps_its_shape_within_the_first(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    sink = VideoOverlays([path], [None], live=False)
    sink.write(make_shown(make_frame(size_hw=(40, 60))))
    for size_hw in ((80, 80), (10, 40)):
        frame = replace(make_frame(), image=np.full((*size_hw, 3), 255, np.uint8))
        sink.write(make_shown(frame, make_detections(0, size_hw)))
    sink.close()

    _, square, wide = read_clip(path)
    assert square.shape == wide.shape == (40, 60, 3)
    assert (square[4:36, 4:36] > 200).all()
    assert (square[:, 46:] < 50).all()
    assert (wide[2:13, 4:56] > 200).all()
    assert (wide[20:] < 50).all()


def test_a_video_stops_while_there_is_room_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "overlay.mp4"
    sink = VideoOverlays([path], [10], live=False)
    sink.write(make_shown(make_frame(), make_detections()))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(100 << 20, 95 << 20, 5 << 20))

    with pytest.raises(InputError, match=r"overlay\.mp4 stops here: the disk is nearly full \(5 MiB left\)"):
        sink.write(make_shown(make_frame(), make_detections()))
    sink.close()
    assert len(read_clip(path)) == 1


def test_a_video_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "overlay.mp4").mkdir()
    sink = VideoOverlays([tmp_path / "overlay.mp4"], [10], live=False)

    with pytest.raises(InputError, match=r"overlay\.mp4 cannot be written as MPEG-4 video.*--no-overlay"):
        sink.write(make_shown(make_frame(), make_detections()))
    sink.close()


def test_a_video_that_came_out_broken_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    sink = VideoOverlays([path], [10], live=False)
    sink.write(make_shown(make_frame(), make_detections()))
    sink._videos[0]._writer.release()
    draft = sink._videos[0]._pending_file
    assert draft is not None
    draft.path.write_bytes(b"no index")

    with pytest.raises(
        EdgeSegError, match=r"overlay\.mp4 cannot be played; the disk or the quota was used up"
    ):
        sink.close()
    assert list(tmp_path.iterdir()) == []


def test_a_video_has_its_name_once_it_can_be_played(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    sink = VideoOverlays([path], [10], live=False)
    sink.write(make_shown(make_frame(), make_detections()))

    assert not path.exists()
    sink.close()
    assert list(tmp_path.iterdir()) == [path]


def test_no_frame_makes_no_video(tmp_path: Path) -> None:
    VideoOverlays([tmp_path / "overlay.mp4"], [10], live=False).close()

    assert list(tmp_path.iterdir()) == []


def test_each_source_has_a_video_of_its_own(tmp_path: Path) -> None:
    paths = [tmp_path / "overlay-0.mp4", tmp_path / "overlay-1.mp4"]
    sink = VideoOverlays(paths, [10, None], live=False)
    for source in (0, 1, 1):
        sink.write(make_shown(make_frame(source=source)))
    sink.close()

    assert [len(read_clip(path)) for path in paths] == [1, 2]
    capture = cv2.VideoCapture(str(paths[1]))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(25)
    capture.release()


def test_a_source_that_was_away_is_not_shown_as_a_still_of_that_length(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    sink = VideoOverlays([path], [10], live=True)
    for time_s in (0.0, 0.1, 3600.0, 3600.1, 3600.2):
        sink.write(make_shown(make_frame("camera 0", time_s=time_s)))
    sink.close()

    assert shown_at(path) == pytest.approx([0, 0.1, 5.1, 5.2, 5.3], abs=1e-4)


def test_a_long_still_of_a_file_is_as_long_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    sink = VideoOverlays([path], [10], live=False)
    for time_s in (0.0, 0.1, 600.0):
        sink.write(make_shown(make_frame("screen.mp4", time_s=time_s)))
    sink.close()

    assert shown_at(path) == pytest.approx([0, 0.1, 600.0], abs=1e-3)


def test_a_video_whose_index_is_not_understood_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "overlay.mp4"
    sink = VideoOverlays([path], [10], live=False)
    sink.write(make_shown(make_frame()))
    monkeypatch.setattr(overlays, "write_durations", lambda path, durations_s: False)

    with pytest.raises(EdgeSegError, match=r"overlay\.mp4 plays at 25 frames a second instead of"):
        sink.close()


def test_a_disk_that_is_full_at_the_end_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, durations_s: Sequence[float]) -> NoReturn:
        raise OSError(28, "No space left on device")

    path = tmp_path / "overlay.mp4"
    sink = VideoOverlays([path], [10], live=False)
    sink.write(make_shown(make_frame()))
    monkeypatch.setattr(overlays, "write_durations", full)

    with pytest.raises(EdgeSegError, match=r"cannot write .*overlay\.mp4: No space left on device"):
        sink.close()
