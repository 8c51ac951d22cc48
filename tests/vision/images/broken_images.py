"""Pictures that state what they do not hold, written byte by byte."""

from __future__ import annotations

import io
import re
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

FRAME = re.compile(rb"\xff[\xc0\xc2]\x00[\x0b\x11\x14]\x08")


def noise(height: int = 64, width: int = 64) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def jpeg(image: np.ndarray, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def restated(data: bytes, size_hw: tuple[int, int]) -> bytes:
    """Write another size into the header of a JPEG."""
    frame = FRAME.search(data)
    assert frame is not None
    changed = bytearray(data)
    struct.pack_into(">HH", changed, frame.end(), *size_hw)
    return bytes(changed)


def png(size_hw: tuple[int, int], rows: bytes, *chunks: bytes, bits: int = 8, colors: int = 2) -> bytes:
    head = struct.pack(">IIBBBBB", size_hw[1], size_hw[0], bits, colors, 0, 0, 0)
    parts = [chunk(b"IHDR", head), *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def tiff(
    size_hw: tuple[int, int], rows_per_strip: int, strips: int, *tags: tuple[int, int, int, int]
) -> bytes:
    """A TIFF of 8 bits and gray whose strips all lie at the same place."""
    height, width = size_hw
    every = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, strips, 0),
        (277, 3, 1, 1),
        (278, 4, 1, rows_per_strip),
        (279, 4, strips, 0),
        *tags,
    ]
    values_at = 8 + 2 + 12 * len(every) + 4
    pixels_at = values_at + 8 * strips
    places = {273: values_at, 279: values_at + 4 * strips}
    values = struct.pack(f"<{strips}I", *strips * [pixels_at]) + struct.pack(
        f"<{strips}I", *strips * [width * rows_per_strip]
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(every))
    for tag, kind, count, value in every:
        # A single value lies in the entry itself.
        alone = {273: pixels_at, 279: width * rows_per_strip}.get(tag, value) if strips == 1 else value
        head += struct.pack("<HHII", tag, kind, count, places.get(tag, value) if strips > 1 else alone)
    return head + b"\0" * 4 + values + b"x" * (width * rows_per_strip)


def jpeg_2000(size_hw: tuple[int, int], tile_hw: tuple[int, int], components: int = 3) -> bytes:
    """The beginning of a codestream."""
    height, width = size_hw
    size = struct.pack(">HIIIIIIIIH", 0, width, height, 0, 0, *tile_hw[::-1], 0, 0, components)
    return (
        b"\xff\x4f\xff\x51"
        + struct.pack(">H", 2 + len(size) + 3 * components)
        + size
        + b"\7\1\1" * components
    )


def webp_canvas(size_hw: tuple[int, int]) -> bytes:
    canvas = (size_hw[1] - 1).to_bytes(3, "little") + (size_hw[0] - 1).to_bytes(3, "little")
    content = b"WEBPVP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + canvas
    return b"RIFF" + struct.pack("<I", len(content)) + content


BOMBS = {
    "width and height.jpg": restated(jpeg(noise()), (32000, 32000)),
    "progressive.jpg": restated(jpeg(noise(), progressive=True), (32000, 32000)),
    "few bytes.jpg": restated(jpeg(noise(300, 300)), (8192, 8192)),
    "square.png": png((60000, 60000), b""),
    "twelve thousand.png": png((12000, 12000), b""),
    "one row.png": png((1, 60_000_000), b""),
    "one column.png": png((60_000_000, 1), b""),
    "largest.png": png((2**31 - 1, 2**31 - 1), b""),
    "profile.png": png((1, 1), b"\0\1\2\3", chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(50_000_000)))),
    "text.png": png((1, 1), b"\0\1\2\3", chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(50_000_000)))),
    "header.ppm": b"P6 999999 999999 255\n" + bytes(99),
    "bits.pbm": b"P4 60000 60000\n" + bytes(99),
    "size.tif": tiff((60000, 60000), 60000, 1)[:4000],
    "strips.tif": tiff((200_000, 8), 1, 200_000),
    "tags.tif": tiff((8, 8), 8, 1, *((40000 + tag, 1, 60_000, 8) for tag in range(5000))),
    "values.tif": tiff((8, 8), 8, 1, *((40000 + tag, 1, 40_000, 8) for tag in range(4000))),
    "canvas.gif": b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0;",
    "frame.gif": b"GIF89a"
    + struct.pack("<HH", 9, 9)
    + b"\0\0\0,"
    + struct.pack("<HHHH", 0, 0, 65535, 65535)
    + b"\0\2\2L\1\0;",
    "canvas.webp": webp_canvas((65000, 65000)),
    "tiles.jp2": jpeg_2000((8000, 8000), (32, 32)),
    "components.jp2": jpeg_2000((64, 64), (64, 64), 16384),
    "area.jp2": jpeg_2000((60000, 60000), (60000, 60000)),
    "header.bmp": b"BM"
    + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0),
}
