"""Images with more than 8 bits per sample: reading all bits, and choosing the 8 that make the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edgeseg.errors import ConfigError, InputError
from edgeseg.vision.opencv import quiet_opencv

from .headers import (
    BIT_DEPTHS,
    BITS_PER_SAMPLE,
    FULL_BIT_DEPTH,
    PHOTOMETRIC,
    PLANAR,
    SAMPLE_FORMAT,
    SEPARATE,
    SIGNED,
    WHITE_IS_ZERO,
    bits_per_sample,
    tiff_tag,
)
from .upright import array_from_image, row_bands, row_reader

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

# An 8-bit sample times this fills 16 bits: 255 becomes 65535.
STRETCH_FACTOR = 257
# Number of rows that are compared to find out whether two libraries read the same picture.
CHECKED_ROWS = 100


def check_bit_depth(bit_depth: int | None) -> None:
    """Refuse a bit depth that no camera has.

    Raises:
        ConfigError: `bit_depth` is not from 8 to 16.
    """
    if bit_depth is not None and not BIT_DEPTHS[0] <= bit_depth <= BIT_DEPTHS[-1]:
        msg = f"bit_depth must be within {BIT_DEPTHS[0]} and {BIT_DEPTHS[-1]}, got {bit_depth}"
        raise ConfigError(msg)


def read_deep_samples(image: Image.Image, path: Path) -> NDArray[Any] | None:
    """Read the samples of an image that has more than 8 bits per sample.

    Args:
        image: Image that Pillow has read to its end without an error.
        path: File of the image.

    Returns:
        `[H, W]`, grey, as integers or floats, or `uint16[H, W, 3]`, RGB; None if the image has 8 bits per
        sample, which Pillow reads.

    Raises:
        InputError: The file is a TIFF with one plane of 16 bits for each colour, which Pillow and OpenCV read
            as noise.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return _gray(image)
    if image.mode in ("RGB", "RGBA", "LA") and bits_per_sample(image, path) == FULL_BIT_DEPTH:
        return _color(image, path)
    return None


def largest_sample(samples: NDArray[Any]) -> float:
    """Find the largest finite sample of an array `[H, W]` or `[H, W, 3]`; at least 0."""
    largest = 0.0
    for band in row_bands(samples):
        finite = band[np.isfinite(band)] if band.dtype.kind == "f" else band
        largest = max(largest, float(finite.max(initial=0)))
    return largest


def used_bits(samples: NDArray[Any]) -> int:
    """Find the bit depth of a picture: the smallest one of cameras that holds all samples.

    An 8-bit picture that was stretched to 16 bits has 16, however dark it is: its samples are multiples of
    257.

    Args:
        samples: `[H, W]` or `[H, W, 3]`, integers or floats.
    """
    largest = largest_sample(samples)
    bits = next((depth for depth in BIT_DEPTHS if largest < 1 << depth), int(largest).bit_length())
    if samples.dtype == np.int16:
        return min(bits, FULL_BIT_DEPTH - 1)
    if samples.dtype == np.uint16 and 8 < bits < FULL_BIT_DEPTH and _is_stretched(samples):
        return FULL_BIT_DEPTH
    return bits


def reduce_to_8_bits(samples: NDArray[Any], bits: int, *, normalised: bool) -> NDArray[np.uint8]:
    """Reduce samples to the upper 8 of their bits; negative samples become 0.

    Args:
        samples: Some or all rows of a picture: `[H, W]` or `[H, W, 3]`, integers or floats.
        bits: Bit depth of the whole picture, at least 8.
        normalised: The samples are floats from 0 (black) to 1 (white); `bits` is not used.

    Returns:
        `uint8` of the shape of `samples`.

    Example:
        >>> reduce_to_8_bits(np.array([[0, 2048, 4095]], np.uint16), 12, normalised=False).tolist()
        [[0, 128, 255]]
    """
    if samples.dtype.kind != "f":
        positive = samples.clip(0) if samples.dtype.kind == "i" else samples
        return (positive >> (bits - 8)).astype(np.uint8)
    scale = 255 if normalised else 1 / (1 << (bits - 8))
    return np.nan_to_num(samples * scale).clip(0, 255).astype(np.uint8)


def is_normalised(samples: NDArray[Any], largest: float) -> bool:
    """Tell whether samples, of any shape, are floats from 0 to 1; resizing may leave them slightly above."""
    return samples.dtype.kind == "f" and largest < 2


def is_negative(image: Image.Image) -> bool:
    """Tell whether 0 is white in a TIFF; Pillow inverts such images only if samples have up to 8 bits."""
    return bool(tiff_tag(image, PHOTOMETRIC) == WHITE_IS_ZERO)


def _gray(image: Image.Image) -> NDArray[Any]:
    if image.mode != "I":
        # Pillow has different modes for the two byte orders; NumPy converts both.
        return array_from_image(image, np.float32 if image.mode == "F" else np.uint16)
    if image.format != "TIFF":
        return array_from_image(image, np.uint16, (0, 65535))
    kind = tiff_tag(image, SAMPLE_FORMAT)
    if kind == SIGNED:
        return array_from_image(image, np.int16 if tiff_tag(image, BITS_PER_SAMPLE) == 16 else np.int32)
    # Pillow keeps all 32 bits, and reads the first one as a sign.
    return array_from_image(image, np.int32).view(np.uint32)


def _is_stretched(samples: NDArray[Any]) -> bool:
    return not any((band % STRETCH_FACTOR).any() for band in row_bands(samples))


def _color(image: Image.Image, path: Path) -> NDArray[np.uint16] | None:
    """Read with OpenCV an image that Pillow cuts to 8 bits.

    Pillow has already checked that the file is complete, which OpenCV would not report.
    """
    if tiff_tag(image, PLANAR) == SEPARATE:
        msg = (
            f"{path} is a TIFF that holds red, green and blue of 16 bits one after the other, which cannot "
            "be read; save it with the samples of a pixel together (planar configuration 1)"
        )
        raise InputError(msg)
    samples: NDArray[Any] | None
    try:
        with quiet_opencv():
            samples = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if samples is None or samples.dtype != np.uint16 or samples.shape[1::-1] != image.size:
        return None
    samples = np.atleast_3d(samples)
    rgb: NDArray[np.uint16] = samples[..., 2::-1] if samples.shape[2] > 2 else samples[..., [0, 0, 0]]
    # OpenCV may read another frame of an animation, and may leave a TIFF's alpha multiplied in or not rotate
    # it. A JPEG 2000 is not compared, as Pillow's rounding turns its white samples black.
    return rgb if image.format == "JPEG2000" or _upper_bits_match(rgb, image) else None


def _upper_bits_match(rgb: NDArray[np.uint16], image: Image.Image) -> bool:
    read_rows = row_reader(image, "RGB")
    for row in range(0, len(rgb), max(1, len(rgb) // CHECKED_ROWS)):
        band = slice(row, row + 1)
        # OpenCV's samples are cut here, and Pillow may have rounded its own.
        if cv2.absdiff((rgb[band] >> 8).astype(np.uint8), np.ascontiguousarray(read_rows(band))).max() > 1:
            return False
    return True
