"""Facts about samples in the headers of image files that Pillow does not pass on."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

# Bit depths of cameras, any of which a file of 16 bits may hold.
BIT_DEPTHS = (8, 10, 12, 14, 16)
FULL_BIT_DEPTH = 16
BITS_PER_SAMPLE, PHOTOMETRIC, DESCRIPTION, PLANAR, SAMPLE_FORMAT = 258, 262, 270, 284, 339
LARGEST_SAMPLE_TAGS = (281, 341)
WHITE_IS_ZERO, SEPARATE, SIGNED = 0, 2, 2
OME_BITS = re.compile(r'\bSignificantBits="(\d{1,2})"')
PNG_FIRST_CHUNK, PNG_BITS_AT = 8, 24
# The markers at the start of a JPEG 2000 codestream, and the offset from there of the first component's bits.
JPEG_2000_START, JPEG_2000_BITS_AT = b"\xff\x4f\xff\x51", 42
NETPBM = re.compile(rb"P[2356]" + 3 * rb"(?:\s|#[^\n]*\n)+(\d+)" + rb"\s")
HEAD_BYTES = 65536


def bits_per_sample(image: Image.Image, path: Path) -> int:
    """Find the number of bits per sample of a PNG, TIFF, PGM, PPM or JPEG 2000; 8 for other formats.

    For PGM and PPM it is 16 or 8, as Pillow stretches samples of other depths.
    """
    if image.format == "PNG":
        return _read_head(path)[PNG_BITS_AT]
    if image.format == "TIFF":
        bits = tiff_tag(image, BITS_PER_SAMPLE)
        return bits if isinstance(bits, int) else 8
    if image.format == "PPM":
        header = NETPBM.match(_read_head(path))
        return FULL_BIT_DEPTH if header and int(header[3]) == 65535 else 8
    if image.format == "JPEG2000":
        head = _read_head(path)
        at = head.find(JPEG_2000_START) + JPEG_2000_BITS_AT
        return (head[at] & 0x7F) + 1 if JPEG_2000_BITS_AT <= at < len(head) else 8
    return 8


def stated_bits(image: Image.Image, path: Path, largest: float) -> int | None:
    """Find how many bits of its samples a file says are used.

    Args:
        image: Image as Pillow has opened it.
        path: File of the image.
        largest: The largest of its samples.

    Returns:
        The number from `sBIT` of PNG, `SignificantBits` of OME-TIFF or the largest sample that a TIFF's tags
        name. 16 if samples are stretched to all 16 bits, as PNG's standard demands and as Pillow does for PGM
        and JPEG 2000 with fewer. None if the file says nothing, or says that all 16 are used, which many
        programs write whatever they store.
    """
    if image.format == "TIFF":
        bits = _stated_by_tiff(image)
        return bits if 8 <= bits < FULL_BIT_DEPTH and largest < 1 << bits else None
    if image.format == "PNG":
        bits = _stated_by_png(path)
        if not 8 <= bits < FULL_BIT_DEPTH:
            return None
        return bits if largest < 1 << bits else FULL_BIT_DEPTH
    if image.format in ("PPM", "JPEG2000") and bits_per_sample(image, path) < FULL_BIT_DEPTH:
        return FULL_BIT_DEPTH
    return None


def tiff_tag(image: Image.Image, tag: int) -> Any:
    """Read a tag, or the first of its values; None if it is missing or broken."""
    try:
        value = getattr(image, "tag_v2", {}).get(tag)
        return value[0] if isinstance(value, tuple) else value
    except (SyntaxError, ValueError, TypeError, IndexError, KeyError, OverflowError, OSError, struct.error):
        return None


def _stated_by_tiff(image: Image.Image) -> int:
    description = tiff_tag(image, DESCRIPTION)
    if isinstance(description, str) and (found := OME_BITS.search(description)):
        return int(found[1])
    values = [tiff_tag(image, tag) for tag in LARGEST_SAMPLE_TAGS]
    largest = max((value for value in values if isinstance(value, int | float)), default=0)
    # The tag may name the largest sample of this image only, so use the bit depth that holds it.
    return next((depth for depth in BIT_DEPTHS if 1 < largest < 1 << depth), 0)


def _stated_by_png(path: Path) -> int:
    with path.open("rb") as file:
        file.seek(PNG_FIRST_CHUNK)
        while len(head := file.read(8)) == 8:
            size, kind = struct.unpack(">I4s", head)
            if kind == b"sBIT":
                return max(file.read(min(size, 4)), default=0)
            if kind == b"IDAT":
                break
            file.seek(size + 4, 1)
    return 0


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)
