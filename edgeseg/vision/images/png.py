"""Checking that a PNG has data for all pixels in its header; Pillow leaves missing ones black."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

SIGNATURE_BYTES = 8
# Samples per pixel, by colour type.
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# For each pass of Adam7: the first column, the first row, and the steps between columns and between rows.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
CHUNK_BYTES = 1 << 20


def ends_early(file: BinaryIO) -> bool:
    """Tell whether a picture's decompressed data are fewer than its header states."""
    file.seek(SIGNATURE_BYTES + 8)
    head = file.read(13)
    if len(head) < 13:
        return False
    width, height, bits, colors, _, _, interlaced = struct.unpack(">IIBBBBB", head)
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    wanted = 0
    for left, top, right, down in passes:
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            wanted += rows * (1 + -(-columns * bits * CHANNELS.get(colors, 1) // 8))
    unpacker, found = zlib.decompressobj(), 0
    try:
        for data in _packed(file):
            rest = data
            while rest and found < wanted and not unpacker.eof:
                found += len(unpacker.decompress(rest, CHUNK_BYTES))
                rest = unpacker.unconsumed_tail
    except zlib.error:
        return False
    return found < wanted


def _packed(file: BinaryIO) -> Iterator[bytes]:
    file.seek(SIGNATURE_BYTES)
    begun = False
    while len(head := file.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT":
            begun = True
            while size > 0 and (data := file.read(min(size, CHUNK_BYTES))):
                size -= len(data)
                yield data
        elif begun:
            return
        file.seek(size + 4, 1)
