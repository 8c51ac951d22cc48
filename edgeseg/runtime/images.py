"""Reading image files strictly: what is read is right, and what is broken is said to be."""

from __future__ import annotations

import struct
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import InputError
from .bitdepth import (
    check_bit_depth,
    deep_samples,
    eight_bits,
    is_negative,
    is_normalized,
    largest_sample,
    used_bits,
)
from .headers import WHOLE_BITS, stated_bits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

# What Pillow's wheels read.
SUFFIXES = "avif bmp dib gif jfif jp2 jpe jpeg jpg mpo pbm pgm png pnm ppm tif tiff webp"
IMAGE_SUFFIXES = frozenset(f".{suffix}" for suffix in SUFFIXES.split())
# Formats whose further images are pages or frames, and not layers or sizes of the same.
PAGED_FORMATS = frozenset(("AVIF", "GIF", "MPO", "PNG", "TIFF", "WEBP"))
WALKED_FORMATS = frozenset(("GIF", "TIFF"))
# Counting goes no further, which takes a second at most.
MOST_PAGES, MOST_PIXELS = 1000, 100_000_000
TIFF_BEGINS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# What Pillow's decoders raise on corrupt files, beside OSError.
_DECODER_ERRORS = (
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    MemoryError,
    OverflowError,
    RuntimeError,
    struct.error,
)


def image_paths(folder: Path) -> list[Path]:
    """List the images below a folder: files with an image's suffix, or with none and image content, sorted.

    Raises:
        InputError: No such folder.
    """
    if not folder.is_dir():
        msg = f"no folder at {folder}"
        raise InputError(msg)
    return sorted(path for path in folder.rglob("*") if _may_be_image(path, folder))


class ImageReader:
    """Reads the image files of one set: each upright, in 8 bits and three channels.

    EXIF orientation is applied, transparency is dropped, of several pages or frames the first is taken. Where
    samples have more than 8 bits, as many are used as the file says, or else the fewest of a camera's (8, 10,
    12, 14 or 16) that hold them all. What a user may not expect is said once.

    Args:
        bit_depth: How many bits of a larger sample are used, in all images; None to find it for each.
        note: Called with a sentence.

    Raises:
        ConfigError: `bit_depth` is not from 8 to 16.
    """

    def __init__(
        self, *, bit_depth: int | None = None, note: Callable[[str], None] = lambda sentence: None
    ) -> None:
        check_bit_depth(bit_depth)
        self._bit_depth = bit_depth
        self._note = note
        self._guessed: list[int] = []
        self._has_paged = False

    def read(self, path: Path) -> NDArray[np.uint8]:
        """Read one.

        Returns:
            `uint8[H, W, 3]`, BGR.

        Raises:
            InputError: Missing, not an image, truncated, corrupt, so large that it looks like a bomb, or with
                samples that the bit depth does not hold.
        """
        # Large but legal images, odd metadata: Pillow warns and reads them.
        with _sentences(path), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                image.load()
                frame = self._bgr(image, path)
                self._remark_on_pages(image, path)
                return frame

    def _bgr(self, image: Image.Image, path: Path) -> NDArray[np.uint8]:
        picture = image
        if (samples := deep_samples(image, path)) is not None:
            picture = Image.fromarray(self._eight_bits(samples, image, path))
            # Has the orientation.
            picture.info = image.info
        rgb: NDArray[Any] = np.asarray(_upright(picture).convert("RGB"))
        return np.ascontiguousarray(rgb[..., ::-1])

    def _eight_bits(self, samples: NDArray[Any], image: Image.Image, path: Path) -> NDArray[np.uint8]:
        largest = largest_sample(samples)
        bits = self._bit_depth or stated_bits(image, path, largest)
        if bits is None:
            bits = used_bits(samples)
            if not is_normalized(samples):
                self._remark_on_bits(path, bits, largest)
        elif largest >= 1 << bits:
            msg = (
                f"{path} has samples of up to {largest:g}, and a bit depth of {bits} ends at "
                f"{(1 << bits) - 1}; give a larger one, or none"
            )
            raise InputError(msg)
        gray = eight_bits(samples, bits)
        return 255 - gray if is_negative(image) else gray

    def _remark_on_bits(self, path: Path, bits: int, largest: float) -> None:
        if bits in self._guessed:
            return
        others, most = " and ".join(map(str, self._guessed)), max([bits, *self._guessed])
        self._guessed.append(bits)
        if bits == WHOLE_BITS:
            return
        read = f"{path} is read as an image of {bits} bits, because its largest sample is {largest:g}"
        if others and most <= WHOLE_BITS:
            self._note(
                f"{read}, and others as of {others}; if all are of one camera, pass --bit-depth {most}"
            )
        else:
            self._note(
                f"{read}, and so are others like it; if the camera has another bit depth, pass --bit-depth"
            )

    def _remark_on_pages(self, image: Image.Image, path: Path) -> None:
        if not self._has_paged and (pages := _pages(image)):
            self._has_paged = True
            self._note(f"page 1 of {pages} of {path} is used, and of every other image with several pages")


def read_image(path: Path, *, bit_depth: int | None = None) -> NDArray[np.uint8]:
    """Read an image file as `ImageReader` does, without a remark.

    Returns:
        `uint8[H, W, 3]`, BGR.

    Raises:
        InputError: As `ImageReader.read`.
        ConfigError: `bit_depth` is not from 8 to 16.
    """
    return ImageReader(bit_depth=bit_depth).read(path)


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """Say in words what Pillow raises.

    Raises:
        InputError: For whatever it was.
    """
    try:
        yield
    except UnidentifiedImageError as exc:
        raise InputError(_unidentified(path)) from exc
    except Image.DecompressionBombError as exc:
        msg = f"{path} is refused as a decompression bomb: {exc}"
        raise InputError(msg) from exc
    except OSError as exc:
        msg = f"cannot read {path}: {exc.strerror or exc}"
        raise InputError(msg) from exc
    except _DECODER_ERRORS as exc:
        msg = f"{path} is corrupt: {exc or type(exc).__name__}"
        raise InputError(msg) from exc


def _unidentified(path: Path) -> str:
    with path.open("rb") as file:
        begins, size = file.read(4), path.stat().st_size
    if begins in TIFF_BEGINS:
        return (
            f"{path} is a TIFF whose kind of pixels cannot be read ({size} bytes); save it as gray or RGB of "
            "8 or 16 bits"
        )
    return f"{path} is not an image that can be read ({size} bytes)"


def _pages(image: Image.Image) -> str:
    """Count pages, or the frames of an animation, in words; empty where there is one."""
    if image.format not in PAGED_FORMATS:
        return ""
    try:
        if image.format in WALKED_FORMATS:
            return _walked(image)
        count: int = getattr(image, "n_frames", 1)
    except (OSError, Image.DecompressionBombError, *_DECODER_ERRORS):
        # Only the first is used, and that one is good.
        return "several"
    return str(count) if count > 1 else ""


def _walked(image: Image.Image) -> str:
    """Count one by one, as these formats do not say how many there are; one made to harm has millions."""
    most = MOST_PAGES
    if image.format == "GIF":
        # Each is decoded on the way.
        most = min(most, max(1, MOST_PIXELS // (image.width * image.height)))
    for page in range(1, most + 1):
        try:
            image.seek(page)
        except EOFError:
            return str(page) if page > 1 else ""
    return f"more than {most}"


def _may_be_image(path: Path, folder: Path) -> bool:
    # Hidden: thumbnails, checkpoints of notebooks, what macOS adds.
    if any(part.startswith(".") for part in path.relative_to(folder).parts) or not path.is_file():
        return False
    return path.suffix.lower() in IMAGE_SUFFIXES or (not path.suffix and is_image(path))


def is_image(path: Path) -> bool:
    """Tell by its content whether a file is an image; its pixels may still be broken."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path):
                return True
    except Image.DecompressionBombError:
        return True
    except (OSError, *_DECODER_ERRORS):
        return False


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, ZeroDivisionError):
        # The pixels are good and only the metadata is not.
        return image
