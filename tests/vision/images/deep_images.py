"""Images of more than 8 bits a sample, written byte by byte, as no library writes all of their kinds."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal

    from numpy.typing import NDArray

ASCII, SHORT, LONG = 2, 3, 4
LETTERS = {SHORT: "H", LONG: "I"}
SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3}
Tag = tuple[int, int, Any]


def scene() -> NDArray[np.uint8]:
    """Give a picture that is no ramp: `uint8[48, 64, 3]`, RGB, with black, white and much between."""
    return np.random.default_rng(5).integers(0, 256, (48, 64, 3)).astype(np.uint8)


def deepened(levels: NDArray[np.uint8], bits: int) -> NDArray[np.uint16]:
    """Give the same picture as a camera of so many bits has it, in 16."""
    return levels.astype(np.uint16) << np.uint16(bits - 8)


def write_png(path: Path, samples: NDArray[np.uint16], *, sbit: bytes = b"") -> Path:
    """Write `uint16[H, W]` gray, or `[H, W, C]`: gray and alpha, RGB or RGBA."""
    height, width, *rest = samples.shape
    color = {1: 0, 2: 4, 3: 2, 4: 6}[rest[0] if rest else 1]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0))]
    chunks += [(b"sBIT", sbit)] if sbit else []
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    whole = (struct.pack(">I", len(data)) + kind + data for kind, data in chunks)
    summed = (part + struct.pack(">I", zlib.crc32(part[4:])) for part in whole)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(summed))
    return path


def write_tiff(
    path: Path,
    samples: NDArray[Any],
    *tags: Tag,
    photometric: int | None = None,
    bits: int = 0,
    order: Literal["<", ">"] = "<",
) -> Path:
    """Write a TIFF of one strip.

    Args:
        path: Where to.
        samples: `[H, W]` or `[H, W, C]` of any type; or, with `bits`, packed bytes.
        tags: Number, type and values of further ones.
        photometric: None for black is zero, or RGB.
        bits: Of a sample, where it is not that of the type.
        order: Of the bytes.
    """
    height, width = samples.shape[:2]
    count = samples.shape[2] if samples.ndim == 3 else 1
    each = [bits or 8 * samples.dtype.itemsize] * count
    data = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    known: list[Tag] = [
        (256, LONG, [8 * width // bits if bits else width]),
        (257, LONG, [height]),
        (258, SHORT, each),
        (259, SHORT, [1]),
        (262, SHORT, [photometric if photometric is not None else 2 if count > 1 else 1]),
        (273, LONG, [8]),
        (277, SHORT, [count]),
        (278, LONG, [height]),
        (279, LONG, [len(data)]),
        (339, SHORT, [SAMPLE_FORMATS[samples.dtype.kind]] * count),
    ]
    directory = _directory(sorted([*known, *tags]), 8 + len(data), order)
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(data))
    path.write_bytes(start + data + directory)
    return path


def _directory(tags: list[Tag], at: int, order: Literal["<", ">"]) -> bytes:
    fields, beyond = struct.pack(order + "H", len(tags)), b""
    end = at + 2 + 12 * len(tags) + 4
    for number, kind, values in tags:
        raw = values if kind == ASCII else struct.pack(f"{order}{len(values)}{LETTERS[kind]}", *values)
        fields += struct.pack(order + "HHI", number, kind, len(values))
        if len(raw) <= 4:
            fields += raw.ljust(4, b"\0")
            continue
        fields += struct.pack(order + "I", end + len(beyond))
        beyond += raw + b"\0" * (len(raw) % 2)
    return fields + struct.pack(order + "I", 0) + beyond
