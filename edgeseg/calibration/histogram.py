"""How often a value is how large, in constant memory whatever the number of images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeseg.errors import CalibrationError

BINS = 8192
# Bins end at a power of two: they nest exactly when that doubles, so the order of the images does not matter.
# What stays below 2^-20 counts as zero.
MIN_EXPONENT = -20
# Fits a core's cache. Larger chunks are slower by a tenth, 2^16 by a quarter.
_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram:
    """Magnitudes of a value, counted; two are added with `+`, in any order with the same result.

    Attributes:
        low: Smallest value seen; positive infinity if none was.
        high: Largest value seen; negative infinity if none was.
        exponent: The bins share `[0, 2 ** exponent)` evenly; the smallest that holds all, or `MIN_EXPONENT`.
        counts: `int64[BINS]`, how many magnitudes fell into each bin; not to be changed.
    """

    low: float
    high: float
    exponent: int
    counts: NDArray[np.int64]

    @property
    def total(self) -> int:
        """How many numbers were counted."""
        return int(self.counts.sum())

    @property
    def bin_width(self) -> float:
        """Width of a bin, in the value's unit."""
        return math.ldexp(1 / BINS, self.exponent)

    def __add__(self, other: Histogram) -> Histogram:
        exponent = max(self.exponent, other.exponent)
        return Histogram(
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            exponent=exponent,
            counts=_rebinned(self, exponent) + _rebinned(other, exponent),
        )


def empty_histogram() -> Histogram:
    """Begin with nothing counted."""
    return Histogram(low=math.inf, high=-math.inf, exponent=MIN_EXPONENT, counts=np.zeros(BINS, np.int64))


def histogram_of(values: NDArray[np.float32], name: str) -> Histogram:
    """Count the magnitudes of an array.

    Args:
        values: `float32` of any shape, also with no element.
        name: What it is and of which image, for the message.

    Raises:
        CalibrationError: A number is NaN or infinite.
    """
    flat = values.reshape(-1)
    if not flat.size:
        return empty_histogram()
    # NaN wins both, so these two find whatever is not finite.
    low, high = float(flat.min()), float(flat.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        what = "NaN" if math.isnan(low) else "infinity"
        msg = f"{name} holds {what}, and ranges need finite numbers; the checkpoint or the image is broken"
        raise CalibrationError(msg)
    largest = max(-low, high)
    exponent = max(MIN_EXPONENT, math.frexp(largest)[1]) if largest else MIN_EXPONENT
    return Histogram(low=low, high=high, exponent=exponent, counts=_bin_counts(flat, exponent))


def _bin_counts(flat: NDArray[np.float32], exponent: int) -> NDArray[np.int64]:
    """Count into bins over `[0, 2 ** exponent)`.

    OpenCV counts 16-bit integers through a table. Millions of numbers a second on one core of a Xeon: this
    1040 (390 where all are equal), `numpy.bincount` of int64 in chunks 630, `cv2.calcHist` of floats 330.
    """
    counts = np.zeros(BINS, np.int64)
    scaled = np.empty(min(_CHUNK, flat.size), np.float32)
    bin_indices = np.empty(scaled.shape, np.uint16)
    scale = np.float32(math.ldexp(BINS, -exponent))
    for start in range(0, flat.size, _CHUNK):
        chunk = flat[start : start + _CHUNK]
        size = chunk.size
        np.abs(chunk, out=scaled[:size])
        np.multiply(scaled[:size], scale, out=scaled[:size])
        bin_indices[:size] = scaled[:size]
        # Counts come as float32, exact as long as a chunk is below 2^24; OpenCV 4 gives a column, 5 a row.
        chunk_counts = cv2.calcHist([bin_indices[:size].reshape(1, -1)], [0], None, [BINS], [0, BINS])
        counts += chunk_counts.ravel().astype(np.int64)
    return counts


def _rebinned(histogram: Histogram, exponent: int) -> NDArray[np.int64]:
    """Merge neighbouring bins until they reach `2 ** exponent`."""
    factor = min(BINS, 1 << (exponent - histogram.exponent))
    counts = np.zeros(BINS, np.int64)
    counts[: BINS // factor] = histogram.counts.reshape(-1, factor).sum(1)
    return counts
