"""MP4 and QuickTime files: their boxes, and an index with a time for each frame."""

from __future__ import annotations

import os
import struct
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

# Boxes that a file of this family may begin with; in old QuickTime files any of them can be the first.
FIRST_BOXES = frozenset((b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof"))
# Boxes on the way from the index to the tables of a track.
PARENTS = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl"))
# The index of a day of video at 60 frames a second takes about 100 MB; more is no index.
MAX_INDEX_BYTES = 1 << 30
# Ticks a second of the frames' times. 24, 25, 29.97, 30, 50 and 60 frames a second are whole ticks.
TIMESCALE = 90_000
# Editing and encoding cost a few frames at the ends.
COMPLETE = 0.95
MAX_TICKS = 0xFFFFFFFF


def is_mp4(path: Path) -> bool:
    """Whether a file begins as MP4, QuickTime or 3GP files do."""
    with path.open("rb") as file:
        return file.read(8)[4:] in FIRST_BOXES


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Go through the boxes that lie one after the other; ends at the first that is broken.

    Returns:
        Type and content of each.
    """
    position = 0
    while position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        head = 8
        if size == 1 and position + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, position + 8)
            head = 16
        size = size or len(data) - position
        if size < head or position + size > len(data):
            return
        yield kind, data[position + head : position + size]
        position += size


def top_boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Go through the boxes of a file without reading their contents.

    Returns:
        Type, position and stated end of each; the end of the last may lie behind the end of the file.
    """
    file_size = os.fstat(file.fileno()).st_size
    position = 0
    while position + 8 <= file_size:
        file.seek(position)
        head = file.read(16)
        size, kind = struct.unpack_from(">I4s", head)
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack_from(">Q", head, 8)
        size = size or file_size - position
        if size < 8:
            return
        yield kind, position, position + size
        position += size


def read_index(path: Path) -> bytes:
    """Read the content of the `moov` box; empty where there is none."""
    with path.open("rb") as file:
        for kind, start, end in top_boxes(file):
            if kind == b"moov" and end - start <= MAX_INDEX_BYTES:
                file.seek(start)
                return next((content for _, content in boxes(file.read(end - start))), b"")
    return b""


def find_box(data: bytes, *path_of_types: bytes) -> bytes:
    """Give the content of the first box of each type on a way down; empty where one is missing."""
    for kind in path_of_types:
        data = next((content for found, content in boxes(data) if found == kind), b"")
    return data


def video_track(index: bytes) -> bytes:
    """Give the content of the first track with pictures; empty where there is none."""
    tracks = (content for kind, content in boxes(index) if kind == b"trak")
    return next((track for track in tracks if find_box(track, b"mdia", b"hdlr")[8:12] == b"vide"), b"")


def frame_count(index: bytes) -> int | None:
    """Count the frames that an index lists, or None where it does not say how many are shown.

    A file in fragments lists none, and one that was trimmed has more than it shows.
    """
    track = video_track(index)
    sizes = find_box(track, b"mdia", b"minf", b"stbl", b"stsz")
    count = int.from_bytes(sizes[8:12], "big")
    return count if count and not _is_trimmed(index, track) else None


def _is_trimmed(index: bytes, track: bytes) -> bool:
    edits = find_box(track, b"edts", b"elst")
    if len(edits) < 8:
        return False
    entry = ">Qqi" if edits[0] else ">Iii"
    whole = edits[8 : 8 + (len(edits) - 8) // struct.calcsize(entry) * struct.calcsize(entry)]
    # An entry without a place in the medium is a pause before it.
    shown = sum(duration for duration, place, _ in struct.iter_unpack(entry, whole) if place >= 0)
    movie_scale, _ = _scale_and_duration(find_box(index, b"mvhd"))
    scale, duration = _scale_and_duration(find_box(track, b"mdia", b"mdhd"))
    return bool(shown / (movie_scale or 1) < COMPLETE * duration / (scale or 1))


def _scale_and_duration(head: bytes) -> tuple[int, int]:
    """Read the ticks a second and the length of a movie or medium; 0 where they are missing."""
    if len(head) >= 32 and head[0]:
        scale, duration = struct.unpack_from(">IQ", head, 20)
    elif len(head) >= 20:
        scale, duration = struct.unpack_from(">II", head, 12)
    else:
        return 0, 0
    return scale, duration


def write_durations(path: Path, durations_s: Sequence[float]) -> bool:
    """Let each frame of a video last for its own time.

    The index is written anew behind the old one, which then becomes free space: whatever interrupts that
    leaves a file that plays.

    Args:
        path: MP4 with one track, whose encoder has kept the order of the frames.
        durations_s: Of each frame, in seconds.

    Returns:
        False where the file has no such index, or not of so many frames; it is unchanged.

    Raises:
        OSError: It cannot be written.
    """
    index = read_index(path)
    table = find_box(video_track(index), b"mdia", b"minf", b"stbl")
    if not durations_s or find_box(table, b"stsz")[8:12] != struct.pack(">I", len(durations_s)):
        return False
    ticks = _ticks(durations_s)
    duration = sum(ticks)
    movie_scale, _ = _scale_and_duration(find_box(index, b"mvhd"))
    in_movie = round(duration * movie_scale / TIMESCALE)
    new = _rewritten(
        index,
        {
            b"mvhd": lambda data: _with_duration(data, data[12:16], in_movie),
            b"tkhd": lambda data: _with_duration(data, data[12:20], in_movie),
            b"mdhd": lambda data: _with_duration(data, struct.pack(">I", TIMESCALE), duration),
            # It cuts a track to the length that it had.
            b"edts": lambda data: None,
            b"stts": lambda data: _time_table(ticks),
        },
    )
    with path.open("r+b") as file:
        old = next(start for kind, start, _ in top_boxes(file) if kind == b"moov")
        file.seek(0, os.SEEK_END)
        file.write(_box(b"moov", new))
        file.flush()
        file.seek(old + 4)
        file.write(b"free")
    return True


def _ticks(durations_s: Sequence[float]) -> list[int]:
    """Round the moments, not the durations, so that the roundings do not add up."""
    ticks, moment_s, before = [], 0.0, 0
    for duration_s in durations_s:
        moment_s += duration_s
        taken = min(max(1, round(moment_s * TIMESCALE) - before), MAX_TICKS)
        ticks.append(taken)
        before += taken
    return ticks


def _time_table(ticks: Sequence[int]) -> bytes:
    runs = [(sum(1 for _ in same), duration) for duration, same in groupby(ticks)]
    return struct.pack(">II", 0, len(runs)) + b"".join(struct.pack(">II", *run) for run in runs)


def _with_duration(data: bytes, between: bytes, duration: int) -> bytes:
    """Write the head of a movie, track or medium with 64 bits for its times, which a day needs.

    Args:
        data: As it is, with 32 bits.
        between: What stands between the time of change and the duration.
        duration: In the ticks of the box.
    """
    created, changed = struct.unpack_from(">II", data, 4)
    flags, rest = data[1:4], data[12 + len(between) + 4 :]
    return (
        b"\x01" + flags + struct.pack(">QQ", created, changed) + between + struct.pack(">Q", duration) + rest
    )


def _rewritten(data: bytes, changes: Mapping[bytes, Callable[[bytes], bytes | None]]) -> bytes:
    """Change boxes wherever they lie; a change to None leaves one out."""
    result = []
    for kind, content in boxes(data):
        new: bytes | None = content
        if kind in PARENTS:
            new = _rewritten(content, changes)
        elif kind in changes:
            new = changes[kind](content)
        if new is not None:
            result.append(_box(kind, new))
    return b"".join(result)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content
