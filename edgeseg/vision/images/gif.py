"""Counting the frames of a GIF without decoding any."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

HEAD_BYTES = 13
IMAGE, EXTENSION = b",", b"!"


def frame_count(file: BinaryIO, limit: int) -> int:
    """Count the frames; counting stops at `limit + 1`."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if len(head) < HEAD_BYTES:
        return 0
    _skip_colors(file, head[10])
    count = 0
    while count <= limit and (kind := file.read(1)) in (IMAGE, EXTENSION):
        if kind == IMAGE:
            place = file.read(9)
            if len(place) < 9:
                break
            _skip_colors(file, place[8])
            count += 1
        # Skip the label of an extension, or the initial code size of an image.
        file.seek(1, 1)
        while size := int.from_bytes(file.read(1), "big"):
            file.seek(size, 1)
    return count


def _skip_colors(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        file.seek(3 << (1 + (flags & 7)), 1)
