"""Converting a decoded Pillow image to an upright array, a band of rows at a time so as to copy it once."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from .tiff import tags_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import DTypeLike, NDArray
    from PIL import Image

ORIENTATION_TAG = 274
# Number of pixels in a band of rows, which is copied at once.
BAND_PIXELS = 1 << 19
# For each EXIF orientation, a function that gives a view of the upright picture with the rows as stored.
STORED_VIEWS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright.swapaxes(0, 1)[::-1, ::-1],
    8: lambda upright: np.rot90(upright, -1),
}
SWAPPED_ORIENTATIONS = frozenset((5, 6, 7, 8))


def orientation_from_image(image: Image.Image) -> int:
    """Find the EXIF orientation that is still to be applied; 1 if there is none or metadata are broken."""
    exif = image.info.get("exif")
    try:
        if isinstance(exif, bytes) and tags_fault(io.BytesIO(exif.removeprefix(b"Exif\0\0")), len(exif)):
            return 1
        value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - the pixels are good, and only the metadata is not
        return 1
    return value if value in STORED_VIEWS else 1


def row_reader(image: Image.Image, mode: str) -> Callable[[slice], NDArray[Any]]:
    """Return a function that converts a band of an image's rows: `[n, W]`, or `[n, W, C]` for C channels.

    Args:
        image: Decoded image.
        mode: Pillow's mode to convert to, such as `RGB`.
    """

    def rows(band: slice) -> NDArray[Any]:
        strip = image.crop((0, band.start, image.width, band.stop))
        return np.asarray(strip if strip.mode == mode else strip.convert(mode))

    return rows


def array_from_image(
    image: Image.Image, dtype: DTypeLike, limits: tuple[int, int] | None = None
) -> NDArray[Any]:
    """Copy the samples of an image with one channel.

    Args:
        image: Decoded image with one channel.
        dtype: Type of the samples in the result.
        limits: Lowest and highest sample; others are clipped. None to keep all.

    Returns:
        `[H, W]` of type `dtype`.
    """
    samples: NDArray[Any] = np.empty((image.height, image.width), dtype)
    read_rows = row_reader(image, image.mode)
    for band in band_slices(image.height, image.width):
        samples[band] = read_rows(band) if limits is None else read_rows(band).clip(*limits)
    return samples


def row_bands(samples: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Iterate over bands of rows of an array `[H, W]` or `[H, W, C]`.

    Computing on the whole array at once would take as much memory again.
    """
    for band in band_slices(samples.shape[0], samples.shape[1]):
        yield samples[band]


def band_slices(height: int, width: int) -> Iterator[slice]:
    """Divide the rows of a picture into bands of about `BAND_PIXELS` pixels."""
    step = max(1, BAND_PIXELS // max(1, width))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def upright_bgr(
    read_rows: Callable[[slice], NDArray[Any]], size_hw: tuple[int, int], orientation: int
) -> NDArray[np.uint8]:
    """Assemble an upright picture from bands of its rows.

    Args:
        read_rows: Returns a band of n rows as stored: `uint8[n, W]`, grey, or `uint8[n, W, 3]`, RGB.
        size_hw: Height and width of the picture as stored, in pixels.
        orientation: EXIF orientation, from `orientation_from_image`.

    Returns:
        `uint8[H, W, 3]`, BGR, upright.
    """
    height, width = size_hw
    shape = (width, height, 3) if orientation in SWAPPED_ORIENTATIONS else (height, width, 3)
    upright: NDArray[np.uint8] = np.empty(shape, np.uint8)
    stored = STORED_VIEWS[orientation](upright) if orientation in STORED_VIEWS else upright
    for band in band_slices(height, width):
        rows = read_rows(band)
        stored[band] = rows[..., None] if rows.ndim == 2 else rows[..., ::-1]
    return upright
