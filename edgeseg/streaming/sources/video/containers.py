"""Which files are videos, by how they begin: FFmpeg also opens playlists, which make it open other files."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from .matroska import EBML_MAGIC, pixel_size
from .mp4 import FIRST_BOXES, find_box, read_index, video_track

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
MAGICS = (
    EBML_MAGIC,
    ASF_HEADER,
    b"FLV\x01",
    b"OggS\0",
    b"DKIF\0\0\x20\0",
    b"GIF8",
    b"YUV4MPEG2 ",
    # Program streams, sequences, and pictures of H.264 and HEVC behind a start code.
    b"\0\0\1",
    b"\0\0\0\1",
    b"\xff\xd8\xff",
)
RIFF, RIFF_KINDS = b"RIFF", (b"AVI ", b"AVIX")
# A transport stream: where its packets of so many bytes begin.
SYNC, PACKETS = 0x47, ((0, 188), (4, 192), (0, 204))
SYNC_COUNT = 3
# How far FFmpeg looks for its playlists, which are text up to the first zero.
PROBED_BYTES = 1 << 20
PLAYLISTS = re.compile(
    rb"#EXTM3U|ffconcat|<MPD|<SmoothStreamingMedia|c=IN IP|v=0\r?\n|\[playlist\]|<ASX", re.I
)
STRF_SIZE_AT = 12


def is_video(file: BinaryIO) -> bool:
    """Whether a file begins as a container, or a stream of pictures, of a known kind does."""
    file.seek(0)
    head = file.read(PROBED_BYTES)
    text = head.partition(b"\0")[0]
    return _has_known_magic(head) and not PLAYLISTS.search(text)


def stated_size(path: Path, head: bytes) -> tuple[int, int] | None:
    """Read the height and width that an MP4, AVI or Matroska states; None where it states none."""
    if head[4:8] in FIRST_BOXES:
        entry = find_box(video_track(read_index(path)), b"mdia", b"minf", b"stbl", b"stsd")[8:]
        return _size_hw(">HH", entry, 32)
    if head.startswith(RIFF):
        at = head.find(b"strf", head.find(b"vids"))
        return _size_hw("<ii", head, at + STRF_SIZE_AT) if at >= 0 else None
    return pixel_size(head) if head.startswith(EBML_MAGIC) else None


def _has_known_magic(head: bytes) -> bool:
    if head[4:8] in FIRST_BOXES or head.startswith(MAGICS):
        return True
    if head.startswith(RIFF):
        return head[8:12] in RIFF_KINDS
    return any(
        len(head) > first + size * (SYNC_COUNT - 1)
        and all(head[first + size * index] == SYNC for index in range(SYNC_COUNT))
        for first, size in PACKETS
    )


def _size_hw(kind: str, data: bytes, at: int) -> tuple[int, int] | None:
    if len(data) < at + struct.calcsize(kind):
        return None
    width, height = (abs(value) for value in struct.unpack_from(kind, data, at))
    return height, width
