"""Sizes in the first bytes of WebP and JPEG 2000 files, for which decoders allocate memory on opening."""

from __future__ import annotations

import struct

RIFF, WEBP = b"RIFF", b"WEBP"
# The markers at the start of a JPEG 2000 codestream.
JPEG_2000_START = b"\xff\x4f\xff\x51"
SIZ = ">HHIIIIIIIIH"
# OpenJPEG allocates 6 KB for each tile, and 1 KB more for each of the tile's components.
MAX_TILES, MAX_COMPONENTS = 4096, 4


def webp_size(head: bytes) -> tuple[int, int] | None:
    """Read the height and width of the canvas, in pixels; None if the file is no WebP."""
    if head[:4] != RIFF or head[8:12] != WEBP or len(head) < 30:
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[27:30], "little"), 1 + int.from_bytes(head[24:27], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    width, height = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    return height, width


def jpeg_2000_fault(head: bytes) -> str:
    """Say why a codestream must not be decoded; empty if it may be, or if there is none."""
    at = head.find(JPEG_2000_START)
    if at < 0 or len(head) < at + 4 + struct.calcsize(SIZ):
        return ""
    _, _, right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, components = (
        struct.unpack_from(SIZ, head, at + 4)
    )
    if components > MAX_COMPONENTS:
        return f"it states {components} components, and at most {MAX_COMPONENTS} are read"
    if right <= left or bottom <= top or not tile_width or not tile_height:
        return "its header states no size"
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if tiles > MAX_TILES:
        return f"it states {tiles} tiles, and at most {MAX_TILES} are read; save it with larger ones"
    return ""


def jpeg_2000_size(head: bytes) -> tuple[int, int] | None:
    """Read the height and width of a codestream, which may differ from those of the file around it."""
    at = head.find(JPEG_2000_START)
    if at < 0 or len(head) < at + 4 + struct.calcsize(SIZ):
        return None
    _, _, right, bottom, left, top = struct.unpack_from(">HHIIII", head, at + 4)
    return bottom - top, right - left
