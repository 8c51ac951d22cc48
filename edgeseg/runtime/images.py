"""Reading image files strictly: what is read is right, and what is broken is said to be."""

from __future__ import annotations

import struct
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# What Pillow's wheels read.
SUFFIXES = "avif bmp dib gif jfif jp2 jpe jpeg jpg mpo pbm pgm png pnm ppm tif tiff webp"
IMAGE_SUFFIXES = frozenset(f".{suffix}" for suffix in SUFFIXES.split())
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


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file upright, in 8 bits and three channels.

    EXIF orientation is applied, 16 bits are scaled to 8, transparency is dropped, of an animation the first
    frame is taken.

    Returns:
        `uint8[H, W, 3]`, BGR.

    Raises:
        InputError: Missing, not an image, truncated, corrupt, or so large that it looks like a bomb.
    """
    try:
        with warnings.catch_warnings():
            # Large but legal images, odd metadata: Pillow warns and reads them.
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                image.load()
                return _bgr(_upright(image))
    except UnidentifiedImageError as exc:
        size = path.stat().st_size
        msg = f"{path} is not an image that can be read ({size} bytes)"
        raise InputError(msg) from exc
    except Image.DecompressionBombError as exc:
        msg = f"{path} is refused as a decompression bomb: {exc}"
        raise InputError(msg) from exc
    except OSError as exc:
        msg = f"cannot read {path}: {exc.strerror or exc}"
        raise InputError(msg) from exc
    except _DECODER_ERRORS as exc:
        msg = f"{path} is corrupt: {exc or type(exc).__name__}"
        raise InputError(msg) from exc


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


def _bgr(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I") or image.mode == "F":
        gray = _eight_bits(np.asarray(image), image.mode)
        return np.ascontiguousarray(np.repeat(gray[..., None], 3, axis=-1))
    rgb: NDArray[Any] = np.asarray(image.convert("RGB"))
    return np.ascontiguousarray(rgb[..., ::-1])


def _eight_bits(gray: NDArray[Any], mode: str) -> NDArray[np.uint8]:
    """Scale gray of 16 or more bits to 8; Pillow would clip at 255."""
    if mode == "F":
        top = float(gray[np.isfinite(gray)].max(initial=0.0))
        scale = 255.0 / top if top > 255 else (255.0 if top <= 1 else 1.0)
        return np.nan_to_num(gray * scale).clip(0, 255).astype(np.uint8)
    if mode == "I" and gray.max(initial=0) <= 255:
        return gray.clip(0, 255).astype(np.uint8)
    return (gray.clip(0, 65535).astype(np.uint32) >> 8).astype(np.uint8)
