"""Small clips as cameras, browsers and phones write them, and what a player makes of them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgeseg.streaming.sources.video.mp4 import find_box, read_index, video_track, write_durations

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FPS = 10.0
FIXED = 1 << 16


def write_clip(
    path: Path, frames: int, *, codec: str = "mp4v", size_hw: tuple[int, int] = (48, 64), first: int = 0
) -> Path:
    """Ten frames a second, each brighter by 20 than the one before."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), FPS, size_hw[::-1])
    assert writer.isOpened(), f"this OpenCV cannot write {codec} into {path.name}"
    for index in range(first, first + frames):
        writer.write(np.full((*size_hw, 3), 20 * index % 256, np.uint8))
    writer.release()
    return path


def write_uneven(path: Path, times_s: Sequence[float], end_s: float) -> Path:
    """A clip whose frames begin at these times; the first at 0."""
    write_clip(path, len(times_s))
    ends_s = [*times_s[1:], end_s]
    assert write_durations(path, [end - start for start, end in zip(times_s, ends_s, strict=True)])
    return path


def write_two_sizes(path: Path, codec: str, sizes_hw: Sequence[tuple[int, int]]) -> Path:
    """Six frames of each size in one stream, as a browser writes a call; `path` ends in `.ivf`."""
    parts = [
        write_clip(path.with_name(f"part{index}.ivf"), 6, codec=codec, size_hw=size_hw, first=6 * index)
        for index, size_hw in enumerate(sizes_hw)
    ]
    streams = [part.read_bytes() for part in parts]
    # The head of 32 bytes is that of the first.
    path.write_bytes(streams[0] + b"".join(stream[32:] for stream in streams[1:]))
    return path


def mp4_head(frames: int) -> bytes:
    """An MP4 whose index lists so many frames, and that has none."""
    table = _box(b"stbl", _box(b"stsz", struct.pack(">III", 0, 1, frames)))
    medium = _box(b"mdia", _box(b"hdlr", b"\0" * 8 + b"vide" + b"\0" * 12) + _box(b"minf", table))
    return _box(b"ftyp", b"isom") + _box(b"moov", _box(b"trak", medium))


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def write_corner(path: Path) -> Path:
    """A picture, 64x48, that is white where its upper left corner is."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (64, 48))
    image = np.zeros((48, 64, 3), np.uint8)
    image[:16, :24] = 255
    writer.write(image)
    writer.release()
    return path


def set_matrix(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Write a display matrix into an MP4: x' = a x + c y, y' = b x + d y."""
    data = bytearray(path.read_bytes())
    a, b, c, d = (FIXED * value for value in matrix)
    struct.pack_into(">9i", data, data.find(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def read_clip(path: Path) -> list[np.ndarray]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    capture.release()
    return frames


def shown_at(path: Path) -> list[float]:
    """When each frame is shown, in seconds."""
    capture, times_s = cv2.VideoCapture(str(path)), []
    while capture.grab():
        times_s.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    capture.release()
    return times_s


def length_s(path: Path) -> float:
    """How long an MP4 lasts, which its movie, track and medium must agree on."""
    index = read_index(path)
    track = video_track(index)
    movie, head, medium = (
        find_box(index, b"mvhd"),
        find_box(track, b"tkhd"),
        find_box(track, b"mdia", b"mdhd"),
    )
    movie_scale, in_movie = _scaled(movie)
    scale, duration = _scaled(medium)
    in_head = struct.unpack_from(">Q", head, 28)[0] if head[0] else struct.unpack_from(">I", head, 20)[0]
    assert in_movie == in_head
    assert abs(in_movie / movie_scale - duration / scale) <= 1 / movie_scale
    return float(duration / scale)


def _scaled(head: bytes) -> tuple[int, int]:
    scale, duration = struct.unpack_from(">IQ", head, 20) if head[0] else struct.unpack_from(">II", head, 12)
    return scale, duration
