"""Videos, whole and broken."""

from __future__ import annotations

import errno
import math
import os
import struct
import tempfile
from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edgeseg.errors import InputError
from edgeseg.streaming.sources.files import open_source
from edgeseg.streaming.sources.video import packets, reader
from edgeseg.streaming.sources.video.containers import stated_size
from edgeseg.streaming.sources.video.reader import VideoSource
from edgeseg.vision.frames import Frame, Skipped, SourceKind
from edgeseg.vision.images.reader import ImageReader
from tests.data import shared
from tests.streaming.sources.fake_capture import FakeCapture, picture
from tests.vision.found import all_frames, as_frame, as_skipped, time_of
from tests.vision.images.broken_images import jpeg, noise

from .clips import FPS, mp4_head, write_clip, write_two_sizes, write_uneven

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from typing import NoReturn


def test_every_frame_of_a_video_in_order(tmp_path: Path) -> None:
    source = open_source(str(write_clip(tmp_path / "clip.mp4", 12)))

    frames = all_frames(source)
    source.close()

    assert source.kind is SourceKind.VIDEO
    assert (source.total, source.fps) == (12, FPS)
    assert [frame.image_id for frame in frames] == list(range(12))
    assert [frame.time_s for frame in frames] == pytest.approx([index / FPS for index in range(12)], abs=0.01)
    assert {frame.name for frame in frames} == {"clip.mp4"}
    assert [round(float(frame.image.mean()) / 20) for frame in frames] == list(range(12))


def test_a_real_clip() -> None:
    source = open_source(str(shared("data", "videos", "bottle-detection.mp4")))

    first = as_frame(next(iter(source)))
    source.close()
    assert source.fps == pytest.approx(29.83, abs=0.01)
    assert source.total == 1189
    assert first.image.shape == (360, 640, 3)


def test_a_video_that_is_damaged_in_the_middle_goes_on(tmp_path: Path) -> None:
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
    assert all(time_of(before) < time_of(after) for before, after in pairwise(frames))


def capture_of(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    pictures: Iterable[np.ndarray | None],
    *,
    total: float,
    fps: float = 10.0,
    fourcc: float = 0.0,
    head: bytes | None = None,
) -> VideoSource:
    facts = {cv2.CAP_PROP_FPS: fps, cv2.CAP_PROP_FRAME_COUNT: float(total), cv2.CAP_PROP_FOURCC: fourcc}
    capture = FakeCapture(pictures, facts=facts)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *target: capture)
    (tmp_path / "clip.mp4").write_bytes(mp4_head(int(total)) if head is None else head)
    return VideoSource(tmp_path / "clip.mp4")


def test_a_gap_is_told_once_and_frames_keep_their_numbers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pictures = [None, None, picture(2), *[None] * 400, picture(3), picture(4)]

    items = list(capture_of(monkeypatch, tmp_path, pictures, total=405))

    frames = [item for item in items if isinstance(item, Frame)]
    assert [(frame.image_id, frame.image.max()) for frame in frames] == [(2, 2), (403, 3), (404, 4)]
    assert [item.reason for item in items if isinstance(item, Skipped)] == [
        "2 frames after frame 0 cannot be decoded",
        "400 frames after frame 3 cannot be decoded",
    ]


def test_a_video_that_ends_early_says_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    *frames, last = capture_of(monkeypatch, tmp_path, [picture(), picture()], total=100)

    assert len(frames) == 2
    assert as_skipped(last).reason == "it ends after frame 2 of 100: truncated or corrupt"


def test_a_stream_without_times_goes_by_its_rate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    frames = all_frames(capture_of(monkeypatch, tmp_path, [picture()] * 3, total=3))

    assert [frame.time_s for frame in frames] == pytest.approx([0.0, 0.1, 0.2])


def test_a_variable_rate_gives_each_frame_its_own_time(tmp_path: Path) -> None:
    times_s = [0, 0.04, 0.08, 1.12, 1.16, 2.5, 6.0]
    path = write_uneven(tmp_path / "clip.mp4", times_s, end_s=6.04)

    items = list(open_source(str(path)))

    assert [item.time_s for item in items if isinstance(item, Frame)] == pytest.approx(times_s, abs=1e-3)
    assert len(items) == len(times_s)


@pytest.mark.parametrize(
    ("rate", "count"), [(1000.0, -9.2e18), (90000.0, 57.0), (math.nan, math.nan), (0.0, 0.0), (240.0, 57.0)]
)
def test_a_whole_file_whose_header_says_nonsense_is_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rate: float, count: float
) -> None:
    # So FFmpeg sees what browsers (1000 frames a second, no length) and webcams (240) record.
    source = capture_of(
        monkeypatch, tmp_path, [picture()] * 8, total=count, fps=rate, head=b"\x1a\x45\xdf\xa3"
    )

    items = list(source)

    assert (source.total, source.fps) == (None, rate if rate == 240 else None)
    assert [type(item) for item in items] == [Frame] * 8


def test_a_recording_in_fragments_is_whole_whatever_opencv_makes_of_its_rate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    head = mp4_head(0)
    source = capture_of(monkeypatch, tmp_path, [picture()] * 8, total=270, fps=240.0, head=head)

    assert [type(item) for item in source] == [Frame] * 8


@pytest.mark.parametrize("codec", ["VP80", "VP90"])
def test_a_size_that_changes_is_told_and_nothing_is_squeezed(tmp_path: Path, codec: str) -> None:
    sizes_hw = [(48, 64), (96, 128), (120, 32)]
    notes: list[str] = []
    path = write_two_sizes(tmp_path / "clip.ivf", codec, sizes_hw)

    items = list(open_source(str(path), reader=ImageReader(note=notes.append)))

    frames = [item for item in items if isinstance(item, Frame)]
    assert len(items) == len(frames) == 18
    assert [frame.image.shape[:2] for frame in frames] == [size for size in sizes_hw for _ in range(6)]
    # The brightness counts on, but for 256 being 0.
    assert [round(float(frame.image.mean()) / 20) for frame in frames[:12]] == list(range(12))
    assert [frame.time_s for frame in frames] == pytest.approx([index / FPS for index in range(18)], abs=0.01)
    assert [frame.image_id for frame in frames] == list(range(18))
    assert notes == [
        "clip.ivf changes its size from 64x48 to 128x96 at 0.60 s: results are in pixels of their own frame, "
        "and an overlay video keeps its first size, with black borders"
    ]


def test_mpeg_2_of_two_sizes_loses_at_most_the_frame_before_the_change(tmp_path: Path) -> None:
    # Here a header states the size, and FFmpeg's decoder drops what it holds back.
    first = write_clip(tmp_path / "first.ts", 6, codec="MPG2").read_bytes()
    second = write_clip(tmp_path / "second.ts", 6, codec="MPG2", size_hw=(96, 64), first=6).read_bytes()
    (tmp_path / "clip.ts").write_bytes(first + second)

    items = list(open_source(str(tmp_path / "clip.ts")))

    frames = [item for item in items if isinstance(item, Frame)]
    assert [frame.image.shape[:2] for frame in frames] == [(48, 64)] * 5 + [(96, 64)] * 6
    assert [round(float(frame.image.mean()) / 20) for frame in frames] == [0, 1, 2, 3, 4, *range(6, 12)]
    assert [item.reason for item in items if isinstance(item, Skipped)] == [
        "1 frame after frame 5 cannot be decoded"
    ]


def test_nothing_stays_of_the_files_that_hold_other_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = write_two_sizes(tmp_path / "clip.ivf", "VP80", [(48, 64), (96, 128)])

    source = open_source(str(path))
    for item in source:
        if isinstance(item, Frame) and item.image_id == 8:
            assert list((tmp_path / "temporary").iterdir())
            break
    source.close()
    assert not list((tmp_path / "temporary").iterdir())


def test_a_long_stretch_of_another_size_is_decoded_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packets, "SEGMENT_BYTES", 0)
    path = write_two_sizes(tmp_path / "clip.ivf", "VP80", [(48, 64), *[(96, 128)] * 3])

    frames = list(open_source(str(path)))

    assert [frame.image.shape[:2] for frame in frames if isinstance(frame, Frame)] == (
        [(48, 64)] * 6 + [(96, 128)] * 18
    )


def test_av1_that_cannot_be_decoded_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fourcc = float(int.from_bytes(b"AV01", "little"))

    with pytest.raises(InputError) as failed:
        capture_of(monkeypatch, tmp_path, [], total=12, fourcc=fourcc)
    assert str(failed.value) == (
        f"{tmp_path}/clip.mp4 has no frame that can be decoded: it is AV1 video, which OpenCV "
        f"{cv2.__version__} cannot decode on this machine; convert it: ffmpeg -i {tmp_path}/clip.mp4 "
        f"-c:v libx264 -pix_fmt yuv420p {tmp_path}/clip-h264.mp4"
    )


def test_av1_is_not_tried_again_and_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # At each try FFmpeg writes three lines that nobody can keep off the screen.
    capture = FakeCapture([], facts={cv2.CAP_PROP_FOURCC: float(int.from_bytes(b"av01", "little"))})
    monkeypatch.setattr(cv2, "VideoCapture", lambda *target: capture)
    (tmp_path / "clip.webm").write_bytes(b"\x1a\x45\xdf\xa3")

    with pytest.raises(InputError, match="AV1"):
        VideoSource(tmp_path / "clip.webm")
    assert capture.reads == reader.AV1_READS


def test_a_codec_that_opencv_does_not_know_is_named(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "my clip.mov", 3)
    data = path.read_bytes()
    # Without its description of the codec, only the name of the sample's format counts.
    path.write_bytes(data.replace(b"mp4v", b"vvc9").replace(b"esds", b"free"))

    with pytest.raises(InputError, match=r"no decoder for its codec \(vvc9\).*-i '.*my clip\.mov'"):
        open_source(str(path))


def test_pictures_of_a_camera_without_a_container_are_a_video(tmp_path: Path) -> None:
    # To a reader of images it is the first picture, with something behind it.
    images = [cv2.imencode(".jpg", picture(40 * index, (48, 64, 3)))[1].tobytes() for index in range(4)]
    (tmp_path / "clip.mjpeg").write_bytes(b"".join(images))

    frames = list(open_source(str(tmp_path / "clip.mjpeg")))

    assert [frame.time_s for frame in frames if isinstance(frame, Frame)] == pytest.approx(
        [0, 0.04, 0.08, 0.12]
    )


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "sound.mp4", 3)
    path.write_bytes(path.read_bytes().replace(b"vide", b"soun"))

    with pytest.raises(InputError, match=r"sound\.mp4 has no pictures: it holds sound or data only"):
        open_source(str(path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "bad.mp4 is empty"),
        (b"hello", "bad.mp4 is not a video that can be read; it may be truncated"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "bad.mp4").write_bytes(content)

    with pytest.raises(InputError, match=words):
        open_source(str(tmp_path / "bad.mp4"))


def test_a_truncated_video_is_refused(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "whole.mp4", 12).read_bytes()
    # An MP4's index is its end.
    (tmp_path / "half.mp4").write_bytes(data[: len(data) // 2])

    with pytest.raises(InputError, match=r"half\.mp4 is not a video that can be read"):
        open_source(str(tmp_path / "half.mp4"))


def test_a_video_without_frames_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capture = FakeCapture([])
    monkeypatch.setattr(cv2, "VideoCapture", lambda *target: capture)
    (tmp_path / "none.mp4").write_bytes(mp4_head(0))

    with pytest.raises(InputError, match=r"none\.mp4 has no frame that can be decoded"):
        open_source(str(tmp_path / "none.mp4"))
    assert capture.released


def mjpeg(*sizes_hw: tuple[int, int]) -> bytes:
    """Pictures of a camera one behind the other."""
    return b"".join(jpeg(noise(*size_hw)) for size_hw in sizes_hw)


def test_a_size_that_grows_too_large_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_VIDEO_PIXELS", 64 * 64)
    (tmp_path / "clip.mjpeg").write_bytes(mjpeg(*[(48, 64)] * 3, (96, 128), *[(48, 64)] * 2))

    items = list(open_source(str(tmp_path / "clip.mjpeg")))

    frames = [item for item in items if isinstance(item, Frame)]
    assert [frame.image.shape[:2] for frame in frames] == [(48, 64)] * 5
    assert [frame.image_id for frame in frames] == [0, 1, 2, 4, 5]
    assert [item.reason for item in items if isinstance(item, Skipped)] == [
        "1 frame after frame 3 cannot be decoded"
    ]


def bomb_mp4(data: bytes) -> bytes:
    at = data.index(b"mp4v", data.index(b"stsd")) + 28
    return data[:at] + struct.pack(">HH", 30000, 30000) + data[at + 4 :]


def bomb_avi(data: bytes) -> bytes:
    at = data.index(b"strf") + 12
    return data[:at] + struct.pack("<ii", 30000, 30000) + data[at + 8 :]


@pytest.mark.parametrize(
    ("name", "codec", "change"),
    [("a.mp4", "mp4v", bomb_mp4), ("a.avi", "MJPG", bomb_avi)],
)
def test_a_stated_size_that_is_too_large_is_refused_before_ffmpeg_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str, change: Callable[[bytes], bytes]
) -> None:
    path = write_clip(tmp_path / name, 3, codec=codec)
    path.write_bytes(change(path.read_bytes()))
    monkeypatch.setattr(cv2, "VideoCapture", lambda *target: pytest.fail("FFmpeg was asked"))

    with pytest.raises(InputError, match=r"its header states 30000x30000 pixels .* at most 67108864"):
        open_source(str(path))


def test_pictures_larger_than_their_container_says_are_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.avi", 3, codec="MJPG")
    data = path.read_bytes()
    while b"\xff\xc0\x00\x11\x08\x00" in data:
        data = data.replace(b"\xff\xc0\x00\x11\x08\x00\x30\x00\x40", b"\xff\xc0\x00\x11\x08\x75\x30\x75\x30")
    path.write_bytes(data)

    with pytest.raises(InputError, match="its header states 30000x30000 pixels"):
        open_source(str(path))


@pytest.mark.parametrize("size_hw", [(48, 64), (3000, 4000)])
def test_a_matroska_says_its_size(tmp_path: Path, size_hw: tuple[int, int]) -> None:
    path = write_clip(tmp_path / "a.mkv", 1, codec="MJPG", size_hw=size_hw)

    assert stated_size(path, path.read_bytes()) == size_hw


PLAYLISTS = {
    "concat": b"ffconcat version 1.0\nfile clip.avi\n",
    "HLS": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nclip.avi\n#EXT-X-ENDLIST\n",
    "SDP": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "DASH": b"<?xml version='1.0'?><MPD profiles='urn:mpeg:dash:profile:isoff-on-demand:2011'></MPD>",
    "subtitles": b"# VobSub index file, v7\n",
    "behind a picture's mark": b"\xff\xd8\xff\xfe\n\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "in a box": b"    ftyp\n#EXTM3U\n#EXTINF:9,\nclip.avi\n",
}


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv", "mjpeg"])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_reads_no_neighbour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, suffix: str
) -> None:
    write_clip(tmp_path / "clip.avi", 3, codec="MJPG")
    (tmp_path / f"list.{suffix}").write_bytes(PLAYLISTS[kind])
    monkeypatch.setattr(cv2, "VideoCapture", lambda *target: pytest.fail("FFmpeg was asked"))

    with pytest.raises(InputError, match=rf"list\.{suffix} is not a video that can be read"):
        open_source(str(tmp_path / f"list.{suffix}"))


CONTAINERS = [
    ("mp4", "mp4v"),
    ("mov", "mp4v"),
    ("avi", "MJPG"),
    ("mkv", "MJPG"),
    ("webm", "VP80"),
    ("ivf", "VP90"),
    ("wmv", "WMV2"),
    ("flv", "FLV1"),
    ("mpg", "MPG2"),
    ("ts", "MPG2"),
    ("ogv", "THEO"),
]


@pytest.mark.parametrize(("suffix", "codec"), CONTAINERS)
def test_the_documented_containers_are_read(tmp_path: Path, suffix: str, codec: str) -> None:
    path = tmp_path / f"clip.{suffix}"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), FPS, (64, 48))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV writes no {codec} into {suffix}")
    for index in range(4):
        writer.write(np.full((48, 64, 3), 20 * index, np.uint8))
    writer.release()

    assert [item for item in open_source(str(path)) if isinstance(item, Frame)]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes by name")
def test_what_is_no_file_is_no_video_and_does_not_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")

    with pytest.raises(InputError, match=r"pipe\.mp4: it must be a regular file and is a named pipe"):
        open_source(str(tmp_path / "pipe.mp4"))
    with pytest.raises(InputError, match=r"pipe\.mp4: it must be a regular file and is a named pipe"):
        VideoSource(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match=r"cannot read .*: Is a directory"):
        VideoSource(tmp_path)


def test_a_video_that_may_not_be_read_is_said_to_be_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "clip.mp4", 3)
    refused = PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def forbid(*args: object, **options: object) -> NoReturn:
        raise refused

    # Root may read everything.
    monkeypatch.setattr(os, "open", forbid)
    with pytest.raises(InputError, match=r"cannot read .*clip\.mp4: Permission denied"):
        open_source(str(path))
