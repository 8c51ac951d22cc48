"""Matroska and WebM files: the elements of their head."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

EBML, SEGMENT, TRACKS, TRACK = 0x1A45DFA3, 0x18538067, 0x1654AE6B, 0xAE
VIDEO, PROJECTION, YAW, ROLL = 0xE0, 0x7670, 0x7673, 0x7675
WIDTH, HEIGHT = 0xB0, 0xBA
EBML_MAGIC = EBML.to_bytes(4, "big")


def elements(data: bytes) -> Iterator[tuple[int, int, int | None]]:
    """Go through the elements that lie one after the other; ends at the first that is broken.

    Returns:
        Id of each, where its content begins, and where it states to end, which may be behind the data; None
        where a live recording has left that open.
    """
    position = 0
    while position < len(data) and data[position]:
        start = position + _length(data, position)
        if start >= len(data) or not data[start]:
            return
        content = start + _length(data, start)
        marked = int.from_bytes(data[start:content], "big")
        most = (1 << 7 * (content - start)) - 1
        end = None if marked & most == most else content + (marked & most)
        yield int.from_bytes(data[position:start], "big"), content, end
        if end is None:
            return
        position = end


def stated_end(head: bytes) -> int | None:
    """Say where a file with this head states to end; None where it does not."""
    return next((end for kind, _, end in elements(head) if kind == SEGMENT), None)


def pixel_size(head: bytes) -> tuple[int, int] | None:
    """Say how high and wide the pictures of the first track are; None where it does not say."""
    tracks = _content(_content(head, SEGMENT), TRACKS)
    videos = (_content(tracks[start:end], VIDEO) for kind, start, end in elements(tracks) if kind == TRACK)
    video = next((video for video in videos if video), b"")
    height, width = (int.from_bytes(_content(video, side)[:8], "big") for side in (HEIGHT, WIDTH))
    return (height, width) if height and width else None


def read_rotation(head: bytes) -> tuple[bool, float]:
    """Say how the first track with pictures is shown.

    Returns:
        Whether its pictures are mirrored from left to right, and by how many degrees clockwise they are then
        turned.
    """
    tracks = _content(_content(head, SEGMENT), TRACKS)
    videos = (_content(tracks[start:end], VIDEO) for kind, start, end in elements(tracks) if kind == TRACK)
    projection = _content(next((video for video in videos if video), b""), PROJECTION)
    return abs(_number(projection, YAW)) == 180, -_number(projection, ROLL) % 360


def _length(data: bytes, position: int) -> int:
    """Of a number whose first bits say how long it is."""
    return 9 - data[position].bit_length()


def _content(data: bytes, wanted: int) -> bytes:
    return next((data[start:end] for kind, start, end in elements(data) if kind == wanted), b"")


def _number(data: bytes, wanted: int) -> float:
    content = _content(data, wanted)
    kinds = {4: ">f", 8: ">d"}
    return float(struct.unpack(kinds[len(content)], content)[0]) if len(content) in kinds else 0.0
