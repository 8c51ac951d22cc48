"""Opening files with Pillow: only documented formats, and nothing that would take all memory."""

from __future__ import annotations

import io
import os
import warnings
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, cast

from PIL import Image, UnidentifiedImageError

from edgeseg.errors import InputError
from edgeseg.files.reading import open_input, read_failure

from . import canvas, gif, jpeg, png, tiff
from .limits import MAX_PIXELS, check_image_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

# Suffixes of the formats that Pillow's wheels read.
SUFFIXES = "avif bmp dib gif jfif jp2 jpe jpeg jpg mpo pbm pgm png pnm ppm tif tiff webp"
IMAGE_SUFFIXES = frozenset(f".{suffix}" for suffix in SUFFIXES.split())
# Pillow's names of these formats. The content of a file decides, not its name. Other formats start programs
# (EPS starts Ghostscript) or pass files to libraries that nobody expects. An MPO is opened as a JPEG.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
PLUGINS = ("Avif", "Bmp", "Gif", "Jpeg", "Jpeg2K", "Mpo", "Png", "Ppm", "Tiff", "WebP")
# Formats in which several images are pages or frames, not layers or sizes of one image.
PAGED_FORMATS = frozenset(("AVIF", "GIF", "MPO", "PNG", "TIFF", "WEBP"))
# Pages are counted up to this number, which takes a second at most.
MAX_PAGES = 1000
HEAD_BYTES = 1 << 16
# A JPEG's markers come after EXIF, profiles and thumbnails, which may take several megabytes.
HEADER_BYTES = 16 << 20


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image and check its header; its pixels are not decoded yet.

    Errors of Pillow within the block become an `InputError`, too.

    Raises:
        InputError: The file is missing, not a regular file, not an image of a documented format, too large,
            incomplete or corrupt.

    Example:
        >>> from pathlib import Path
        >>> with open_image(Path("parts.png")) as image:
        ...     image.format, image.size
        ('PNG', (96, 64))
    """
    # Pillow warns of images that are large but allowed, and of unusual metadata, and reads both.
    with open_input(path) as file, _mapped_errors(path, file), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _check_header(path, file)
        file.seek(0)
        with Image.open(file, formats=formats()) as image:
            check_image_size((image.height, image.width), path)
            yield image


@cache
def formats() -> tuple[str, ...]:
    """List the documented formats that this build of Pillow reads."""
    for name in PLUGINS:
        with suppress(ImportError):
            import_module(f"PIL.{name}ImagePlugin")
    return tuple(name for name in FORMATS if name in Image.OPEN)


def check_complete(image: Image.Image, path: Path) -> None:
    """Refuse a picture whose data end early, the rest of which Pillow leaves unset.

    Args:
        image: Decoded image.
        path: File of the image.

    Raises:
        InputError: The picture is incomplete.
    """
    if image.format in ("JPEG", "MPO") and jpeg.may_be_unfilled(_last_block(image)):
        with open_input(path) as file:
            is_short = jpeg.ends_early(file.read())
    elif image.format == "PNG" and _ends_in_black(image):
        with open_input(path) as file:
            is_short = png.ends_early(file)
    else:
        return
    if is_short:
        msg = (
            f"{path} is incomplete: its data end before the {image.width}x{image.height} pixels of its header"
        )
        raise InputError(msg)


def page_count_text(image: Image.Image, path: Path) -> str:
    """Write the number of pages, or of an animation's frames, in words; empty if there is only one."""
    if image.format not in PAGED_FORMATS:
        return ""
    try:
        if image.format in ("GIF", "TIFF"):
            # Pillow would have to decode all frames, or read the tags of all pages, before the next one.
            with open_input(path) as file:
                count = (gif.frame_count if image.format == "GIF" else tiff.page_count)(file, MAX_PAGES)
        else:
            count = int(getattr(image, "n_frames", 1))
    except Exception:  # noqa: BLE001 - only the first is used, and that one is good
        return "several"
    if count > MAX_PAGES:
        return f"more than {MAX_PAGES}"
    return str(count) if count > 1 else ""


def is_image(path: Path) -> bool:
    """Tell by a file's content whether it is an image; its pixels may still be broken, or too many."""
    try:
        with open_input(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if _header_fault(file):
                return True
            file.seek(0)
            with Image.open(file, formats=formats()):
                return True
    except Image.DecompressionBombError:
        return True
    except Exception:  # noqa: BLE001 - see `_mapped_errors`
        return False


@contextmanager
def _mapped_errors(path: Path, file: BinaryIO) -> Iterator[None]:
    """Map errors of Pillow.

    Raises:
        InputError: Pillow raised any exception in the block.
    """
    try:
        yield
    except InputError:
        raise
    except UnidentifiedImageError as exc:
        raise InputError(_unidentified(path, file)) from exc
    except Image.DecompressionBombError as exc:
        msg = (
            f"{path} is refused: its header states far more than the {MAX_PIXELS} pixels that are decoded "
            f"at most ({exc}); scale it down or cut it into parts"
        )
        raise InputError(msg) from exc
    except OSError as exc:
        raise InputError(read_failure(path, exc)) from exc
    except Exception as exc:
        # On a malicious file a decoder may raise any exception.
        msg = f"{path} is corrupt: {exc or type(exc).__name__}"
        raise InputError(msg) from exc


def _check_header(path: Path, file: BinaryIO) -> None:
    if fault := _header_fault(file):
        msg = f"{path} is refused: {fault}"
        raise InputError(msg)
    file.seek(0)
    head = file.read(HEAD_BYTES)
    for size_hw in (canvas.webp_size(head), canvas.jpeg_2000_size(head)):
        if size_hw:
            check_image_size(size_hw, path)


def _header_fault(file: BinaryIO) -> str:
    """Say what in a header would make Pillow allocate much memory before it knows the size; empty if none."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if head[:4] in tiff.MAGICS:
        return tiff.page_fault(file, size)
    if head.startswith(jpeg.START):
        return _jpeg_fault(head + file.read(HEADER_BYTES), size)
    return canvas.jpeg_2000_fault(head)


def _jpeg_fault(data: bytes, size: int) -> str:
    exif = jpeg.exif_from_jpeg(data)
    if fault := tiff.tags_fault(io.BytesIO(exif), len(exif)):
        return f"of its EXIF, {fault}"
    header = jpeg.header_from_jpeg(data)
    if header is not None and size < header.fewest_bytes:
        height, width = header.size_hw
        return f"it is incomplete: {size} bytes cannot hold the {width}x{height} pixels of its header"
    return ""


def _unidentified(path: Path, file: BinaryIO) -> str:
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    if file.read(4) in tiff.MAGICS:
        return (
            f"{path} is a TIFF whose kind of pixels cannot be read ({size} bytes); save it as gray or RGB of "
            "8 or 16 bits"
        )
    return f"{path} is not an image that can be read ({size} bytes)"


def _last_block(image: Image.Image) -> list[tuple[float, float]]:
    left, top = (side - 1 - (side - 1) % jpeg.BLOCK for side in image.size)
    bands = image.crop((left, top, *image.size)).split()
    return [cast("tuple[float, float]", band.getextrema()) for band in bands]


def _ends_in_black(image: Image.Image) -> bool:
    """Tell whether one of the last two rows is all zero; in an interlaced picture, one of them is last."""
    rows = (
        image.crop((0, row, image.width, row + 1)) for row in range(max(0, image.height - 2), image.height)
    )
    return any(not any(row.tobytes()) for row in rows)
