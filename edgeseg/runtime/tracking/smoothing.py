"""Masks that tremble less: each is blended with the object's earlier ones, moved to where it is now."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ..masks import THRESHOLD, MaskCrop

LEAST_AGREEMENT = 0.7
"""Where the moved past and the new mask overlap by less than this (IoU), the past is of another shape or
place and is dropped, or it would trail behind the object."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SoftMask:
    """A mask's mean over time.

    Attributes:
        values: `float32[h, w]`, 0 to 1.
        left: As `MaskCrop.left`.
        top: As `MaskCrop.top`.
        box_xyxy: `float32[4]`, of the detection it was last blended with, in pixels of the frame.
    """

    values: NDArray[np.float32]
    left: int
    top: int
    box_xyxy: NDArray[np.float32]


def blend(past: SoftMask | None, mask: MaskCrop, box_xyxy: NDArray[np.float32], share: float) -> SoftMask:
    """Blend a mask with the past of its object.

    Args:
        past: None for a new object.
        mask: As found now.
        box_xyxy: `float32[4]`, the detection's box in pixels of the frame.
        share: Of the past in the result, 0 to below 1.
    """
    now = SoftMask(values=mask.pixels.astype(np.float32), left=mask.left, top=mask.top, box_xyxy=box_xyxy)
    if past is None or not past.values.size or not now.values.size:
        return now
    moved = _moved(past, now)
    before, after = moved >= THRESHOLD, mask.pixels > 0
    union = np.count_nonzero(before | after)
    if np.count_nonzero(before & after) < LEAST_AGREEMENT * union:
        return now
    return replace(now, values=share * moved + (1 - share) * now.values)


def hardened(soft: SoftMask) -> MaskCrop:
    """Make a mask of it again: set where the mean is at least 0.5."""
    return MaskCrop(pixels=(soft.values >= THRESHOLD).view(np.uint8), left=soft.left, top=soft.top)


def _moved(past: SoftMask, now: SoftMask) -> NDArray[np.float32]:
    """Move and stretch the past with its box, into the crop of the present: `float32` of that shape."""
    from_xy, from_size = past.box_xyxy[:2], past.box_xyxy[2:] - past.box_xyxy[:2]
    to_xy, to_size = now.box_xyxy[:2], now.box_xyxy[2:] - now.box_xyxy[:2]
    scale = to_size / np.maximum(from_size, 1e-3)
    # Column i of a crop has its middle at left + i + 0.5 in the frame.
    shift = (np.array([past.left, past.top]) + 0.5 - from_xy) * scale + to_xy
    shift -= np.array([now.left, now.top]) + 0.5
    matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]], np.float64)
    return np.asarray(cv2.warpAffine(past.values, matrix, now.values.shape[::-1]), np.float32)
