"""Directories of TIFF files and of EXIF, which has the same format, read without trusting their content."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BIG_MAGICS = (b"II+\0", b"MM\0+")
# Size of a value of each type, by the type's number; 0 for a number that is not in use.
TYPE_BYTES = dict(enumerate((0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8)))
WIDTH, HEIGHT, ROWS_PER_STRIP = 256, 257, 278
COMPRESSION, STRIPS, TILE_WIDTH, TILE_HEIGHT, TILES = 259, 273, 322, 323, 324
SHORT, LONG, LONG_8 = 3, 4, 16
UNCOMPRESSED = 1
# Pillow keeps about a hundred bytes for each strip or tile. The largest allowed picture in tiles of 64x64 has
# a quarter of this number.
MAX_PARTS = 1 << 17
# If many tags point to the same long part of the file, Pillow keeps a copy for each of them.
MAX_VALUE_BYTES = 32 << 20
MAX_TAGS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """An entry of a directory; `number` is its value if that is a single whole number, else None."""

    kind: int
    count: int
    number: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """The tags of one page, their stated count, and the offset of the next directory; 0 if there is none."""

    tags: dict[int, Tag]
    count: int
    next_offset: int


def directories(file: BinaryIO) -> Iterator[Directory]:
    """Iterate over the directories of a file, up to the first one that is broken or comes twice."""
    file.seek(0)
    head = file.read(16)
    if head[:4] not in MAGICS or len(head) < 8:
        return
    order, big = "<" if head[:2] == b"II" else ">", head[:4] in BIG_MAGICS
    if big and len(head) < 16:
        return
    (offset,) = struct.unpack_from(order + "Q" if big else order + "I", head, 8 if big else 4)
    seen: set[int] = set()
    while offset and offset not in seen:
        seen.add(offset)
        directory = _directory(file, offset, order, big)
        if directory is None:
            return
        yield directory
        offset = directory.next_offset


def page_count(file: BinaryIO, limit: int) -> int:
    """Count the pages; counting stops at `limit + 1`.

    Raises:
        ValueError: A directory after the first is broken.
    """
    pages = list(islice(directories(file), limit + 1))
    if len(pages) <= limit and pages and pages[-1].next_offset:
        msg = f"the directory of page {len(pages) + 1} is broken"
        raise ValueError(msg)
    return len(pages)


def page_fault(file: BinaryIO, size: int) -> str:
    """Say why the first page of a TIFF of `size` bytes must not be decoded; empty if it may be."""
    if fault := tags_fault(file, size):
        return fault
    directory = next(directories(file), None)
    tags = directory.tags if directory else {}
    parts = tags.get(TILES) or tags.get(STRIPS)
    if parts is None:
        return ""
    if parts.count > MAX_PARTS:
        return f"it states {parts.count} strips or tiles, and at most {MAX_PARTS} are read"
    wanted = _wanted_parts(tags)
    if parts.count < wanted:
        return f"it is incomplete: {wanted} strips or tiles make its size, and it has {parts.count}"
    return ""


def tags_fault(file: BinaryIO, size: int) -> str:
    """Say why the tags of a TIFF or of EXIF must not be read; empty if they may be."""
    directory = next(directories(file), None)
    if directory is None:
        return ""
    if directory.count > MAX_TAGS:
        return f"it states {directory.count} tags, and at most {MAX_TAGS} are read"
    tags = directory.tags.values()
    stated = sum(TYPE_BYTES.get(tag.kind, 0) * tag.count for tag in tags if _lies_inside(tag, size))
    if stated > max(size, MAX_VALUE_BYTES):
        return f"its tags state {stated} bytes of values, and it has {size}"
    return ""


def _lies_inside(tag: Tag, size: int) -> bool:
    """Tell whether a value lies inside a file of `size` bytes, so that Pillow would read it."""
    return TYPE_BYTES.get(tag.kind, 0) * tag.count <= size


def _wanted_parts(tags: dict[int, Tag]) -> int:
    height, width = _number(tags, HEIGHT), _number(tags, WIDTH)
    # If the tag with the rows of a strip is missing, one strip has all rows.
    rows = _number(tags, TILE_HEIGHT if TILES in tags else ROWS_PER_STRIP) or height
    columns = (TILES in tags and _number(tags, TILE_WIDTH)) or width
    if not height or not width or _number(tags, COMPRESSION, UNCOMPRESSED) != UNCOMPRESSED:
        # libtiff reports missing parts of compressed pictures itself.
        return 0
    return -(-height // rows) * -(-width // columns)


def _number(tags: dict[int, Tag], key: int, default: int = 0) -> int:
    tag = tags.get(key)
    return default if tag is None or tag.number is None else tag.number


def _directory(file: BinaryIO, offset: int, order: str, big: bool) -> Directory | None:
    entry, value_at, value_bytes = (20, 12, 8) if big else (12, 8, 4)
    try:
        file.seek(offset)
        (count,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
        data = file.read(entry * min(count, MAX_TAGS))
        (next_offset,) = struct.unpack(order + ("Q" if big else "I"), file.read(value_bytes))
    except (struct.error, OSError, OverflowError, ValueError):
        return None
    tags: dict[int, Tag] = {}
    for at in range(0, len(data) - entry + 1, entry):
        tag, kind, values = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, at)
        letter = {SHORT: "H", LONG: "I", LONG_8: "Q"}.get(kind)
        number = None
        if letter and values == 1 and TYPE_BYTES[kind] <= value_bytes:
            (number,) = struct.unpack_from(order + letter, data, at + value_at)
        tags.setdefault(tag, Tag(kind=kind, count=values, number=number))
    return Directory(tags=tags, count=count, next_offset=next_offset)
