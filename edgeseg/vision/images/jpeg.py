"""JPEG pictures: reading the header, and checking that there are data for the whole picture.

If the data of a scan end too early, libjpeg fills the rest with grey and gives a warning that neither Pillow
nor OpenCV passes on.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START, EXIF = b"\xff\xd8", b"Exif\0\0"
APP1, SOS, EOI, DHT, DRI = 0xE1, 0xDA, 0xD9, 0xC4, 0xDD
# Markers of frames with Huffman codes (baseline and extended, then progressive), and of all frames, including
# those that only libjpeg can read.
SEQUENTIAL, PROGRESSIVE = (0xC0, 0xC1), 0xC2
FRAMES = frozenset((*range(0xC0, 0xD0),)) - {DHT, 0xC8, 0xCC}
NO_LENGTH = frozenset((0x01, *range(0xD0, 0xD8)))
# The data of a scan end at a marker that is neither an escaped byte nor a restart.
SCAN_END = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
# No Huffman code consists of ones only, so at most a few bits of this are taken for the end of a block.
PADDING = 9 * b"\xff\x00"
BLOCK = 8
CODE_BITS = 16
# Least and largest value of a block that libjpeg has filled in: grey or colour, and inverted CMYK.
UNFILLED = ((127, 127), (128, 128))


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorComponent:
    """A colour component of a frame: its number, and how many of its blocks a unit has across and down."""

    number: int
    across: int
    down: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHeader:
    """The header of a JPEG, up to its first scan.

    Attributes:
        kind: Marker of the frame.
        size_hw: Height and width, in pixels.
        components: Colour components, in the order of the file.
        scan_at: Offset of the first scan's header, after its length; None if there is no scan.
        tables: Huffman tables as stored, by the byte that holds their class and number.
        restart: Number of units between two restarts; 0 for none.
    """

    kind: int
    size_hw: tuple[int, int]
    components: tuple[ColorComponent, ...]
    scan_at: int | None
    tables: dict[int, bytes]
    restart: int

    @property
    def fewest_bytes(self) -> int:
        """Smallest possible size of the data: each block of each component takes at least one bit."""
        if self.kind not in (*SEQUENTIAL, PROGRESSIVE):
            return 0
        return sum(self.blocks(component) for component in self.components) // 8

    def blocks(self, component: ColorComponent) -> int:
        """Count the blocks of a component in a scan that holds only this component."""
        height, width = self.size_hw
        most_across = max(other.across for other in self.components)
        most_down = max(other.down for other in self.components)
        columns = -(-width * component.across // (most_across * BLOCK))
        return columns * -(-height * component.down // (most_down * BLOCK))

    def units(self) -> int:
        """Count the units of a scan with several components."""
        height, width = self.size_hw
        across = BLOCK * max(component.across for component in self.components)
        down = BLOCK * max(component.down for component in self.components)
        return -(-width // across) * -(-height // down)


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Iterate over the segments up to the first scan, as libjpeg does.

    Returns:
        For each segment, its marker and the offsets at which its content begins and ends.
    """
    position = 2
    while (at := data.find(b"\xff", position)) >= 0:
        while at < len(data) and data[at] == 0xFF:
            at += 1
        if at >= len(data):
            return
        marker, position = data[at], at + 1
        if not marker or marker in NO_LENGTH:
            continue
        if marker == EOI or position + 2 > len(data):
            return
        end = position + int.from_bytes(data[position : position + 2], "big")
        yield marker, position + 2, min(end, len(data))
        if marker == SOS:
            return
        position = end


def exif_from_jpeg(data: bytes) -> bytes:
    """Join the content of all EXIF segments, as Pillow does; the result begins like a TIFF."""
    found = (data[start:end] for marker, start, end in segments(data) if marker == APP1)
    return b"".join(content[len(EXIF) :] for content in found if content.startswith(EXIF))


def header_from_jpeg(data: bytes) -> FrameHeader | None:
    """Read the header of a JPEG; None if there is none that could be decoded."""
    if not data.startswith(START):
        return None
    kind, frame, scan_at, restart = 0, b"", None, 0
    tables: dict[int, bytes] = {}
    for marker, start, end in segments(data):
        if marker in FRAMES:
            kind, frame = marker, data[start:end]
        elif marker == DHT:
            tables.update(_tables(data[start:end]))
        elif marker == DRI:
            restart = int.from_bytes(data[start : start + 2], "big")
        elif marker == SOS:
            scan_at = start
    if len(frame) < 6 or len(frame) < 6 + 3 * frame[5]:
        return None
    components = tuple(
        ColorComponent(number=frame[at], across=frame[at + 1] >> 4, down=frame[at + 1] & 15)
        for at in range(6, 6 + 3 * frame[5], 3)
    )
    size_hw = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    if not components or not all(one.across and one.down for one in components) or not min(size_hw):
        return None
    return FrameHeader(
        kind=kind, size_hw=size_hw, components=components, scan_at=scan_at, tables=tables, restart=restart
    )


def may_be_unfilled(extrema: Sequence[tuple[float, float]]) -> bool:
    """Tell by the least and largest values of a picture's last block whether libjpeg may have filled it."""
    return all(pair in UNFILLED for pair in extrema)


def ends_early(data: bytes) -> bool:
    """Tell whether there are fewer data than the header states; slow, so only for pictures that may be."""
    header = header_from_jpeg(data)
    if header is None or header.scan_at is None:
        return False
    count = data[header.scan_at]
    start = header.scan_at + 4 + 2 * count
    found = SCAN_END.search(data, start)
    end = found.start() if found else len(data)
    if header.kind in SEQUENTIAL and count == len(header.components):
        return _suspends(data[:end] + PADDING)
    if header.kind in (*SEQUENTIAL, PROGRESSIVE):
        return _is_short(header, data[header.scan_at : start], data[start:end])
    return False


def _suspends(data: bytes) -> bool:
    """Tell whether libjpeg waits for more data if no marker ends them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
                # At an eighth of the size, all data are read, but few pixels are computed.
                image.draft(image.mode, (1, 1))
                image.load()
    except OSError:
        return True
    return False


def _tables(content: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 17 <= len(content):
        end = position + 17 + sum(content[position + 1 : position + 17])
        yield content[position], content[position + 1 : end]
        position = end


def _is_short(header: FrameHeader, scan: bytes, data: bytes) -> bool:
    """Tell whether the first scan has fewer blocks than the header states."""
    by_number = {component.number: component for component in header.components}
    chosen = [(by_number.get(scan[1 + 2 * at]), scan[2 + 2 * at]) for at in range(scan[0])]
    members = [(component, tables) for component, tables in chosen if component is not None]
    if not members or any(tables >> 4 not in header.tables for _, tables in members):
        return False
    if len(members) == 1:
        order, wanted = [members[0][1]], header.blocks(members[0][0])
    else:
        order = [tables for one, tables in members for _ in range(one.across * one.down)]
        wanted = header.units() * len(order)
    coefficients = BLOCK * BLOCK if header.kind in SEQUENTIAL else 1
    codes = {
        key: _codes(header.tables[key])
        for tables in order
        for key in (tables >> 4, 0x10 | tables & 15)
        if key in header.tables
    }
    found = 0
    for piece in RESTART.split(data):
        most = header.restart * len(order) if header.restart else wanted
        found += min(most, _count_blocks(piece.replace(b"\xff\0", b"\xff"), order, codes, coefficients, most))
    return found + len(order) < wanted


def _codes(table: bytes) -> list[int]:
    """Map each value of 16 bits to the symbol that they begin with, times 32, plus its code length."""
    codes, position = [], 16
    for length, count in enumerate(table[:16], start=1):
        for symbol in table[position : position + count]:
            codes += [symbol << 5 | length] * (1 << (CODE_BITS - length))
        position += count
    return (codes + [CODE_BITS] * (1 << CODE_BITS))[: 1 << CODE_BITS]


def _count_blocks(
    data: bytes, order: Sequence[int], codes: dict[int, list[int]], coefficients: int, most: int
) -> int:
    """Count complete blocks, up to `most`."""
    position, end, count = 0, 8 * len(data), 0
    for tables in cycle(order):
        index, codes_of = 0, codes[tables >> 4]
        while index < coefficients:
            at = position >> 3
            window = int.from_bytes(data[at : at + 4].ljust(4, b"\0"), "big") >> (CODE_BITS - (position & 7))
            entry = codes_of[window & 0xFFFF]
            symbol = entry >> 5
            position += (entry & 31) + (symbol & 15)
            # The upper four bits of an AC symbol count the zeros before it; the symbol 0 ends the block.
            index += 1 + (symbol >> 4 if index else 0)
            if index > 1 and not symbol:
                break
            codes_of = codes.get(0x10 | tables & 15, codes_of)
        if position > end or count == most:
            return count
        count += 1
    return count
