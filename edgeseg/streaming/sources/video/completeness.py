"""Whether a video file is all there, by what its container states."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from .containers import ASF_HEADER
from .matroska import EBML_MAGIC, stated_end
from .mp4 import FIRST_BOXES, top_boxes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
# Where the file's size stands, after the id of the box.
ASF_SIZE_AT = 40
HEAD_BYTES = 1 << 16


def is_cut_off(path: Path) -> bool:
    """Whether a file ends before its container says that it does.

    Live recordings, whose length nobody knew, and containers that never state one (MPEG-TS, Ogg) count as
    whole: nothing tells that something is missing.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        size = os.fstat(file.fileno()).st_size
        if head[4:8] in FIRST_BOXES:
            return any(end > size for _, _, end in top_boxes(file))
        for magic, ends_early in CHECK_BY_MAGIC.items():
            if head.startswith(magic):
                return ends_early(file, head, size)
    return False


def _riff_ends_early(file: BinaryIO, head: bytes, size: int) -> bool:
    """AVI: one list of a stated size, and others behind it where it has more than a gigabyte."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        magic, stated = struct.unpack("<4sI", file.read(8))
        if magic != b"RIFF" or stated in (0, 0xFFFFFFFF):
            return False
        position += 8 + stated + stated % 2
    # The last byte only fills up.
    return position > size + 1


def _matroska_ends_early(file: BinaryIO, head: bytes, size: int) -> bool:
    """Matroska and WebM: one element holds all, and a live recording leaves its size open."""
    return (stated_end(head) or 0) > size


def _asf_ends_early(file: BinaryIO, head: bytes, size: int) -> bool:
    """WMV: a box in the head has the size of the file, or 0 while it is broadcast."""
    at = head.find(ASF_FILE)
    if at < 0 or at + ASF_SIZE_AT + 8 > len(head):
        return False
    return bool(struct.unpack_from("<Q", head, at + ASF_SIZE_AT)[0] > size)


def _flv_ends_early(file: BinaryIO, head: bytes, size: int) -> bool:
    """FLV: each tag is followed by its size, the last one too."""
    if size < 24:
        return False
    file.seek(size - 4)
    (tag,) = struct.unpack(">I", file.read(4))
    start = size - 4 - tag
    if tag < 11 or start < 13:
        return True
    file.seek(start)
    kind, *length = file.read(4)
    return kind not in (8, 9, 18) or int.from_bytes(length, "big") + 11 != tag


def _gif_ends_early(file: BinaryIO, head: bytes, size: int) -> bool:
    """GIF: a semicolon is the end."""
    file.seek(max(0, size - 1))
    return file.read(1) != b";"


CHECK_BY_MAGIC: dict[bytes, Callable[[BinaryIO, bytes, int], bool]] = {
    b"RIFF": _riff_ends_early,
    EBML_MAGIC: _matroska_ends_early,
    ASF_HEADER: _asf_ends_early,
    b"FLV": _flv_ends_early,
    b"GIF8": _gif_ends_early,
}
