"""Masks that tremble less: each is blended with the object's earlier ones, moved to where it is now.

What makes masks tremble is that they are found on a grid of 28x28 within a box that is never quite the same.
So the past is not moved with the box, which would tremble with it, but along the object's path, smoothed too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeseg.vision.masks import THRESHOLD, MaskCrop

MIN_IOU = 0.7
"""Where the moved past and the new mask overlap by less than this (IoU), the past is of another shape or
place and is dropped, or it would trail behind the object."""

POSITION_GAIN = 0.2
VELOCITY_GAIN = 0.02
"""Share of a surprise that goes into the place and the pace of an object (an alpha-beta filter). On the
conveyor 0.3 and 0.05 leave a tenth more trembling, and masks no better."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SoftMask:
    """A mask's mean over time, and how its object moves.

    Attributes:
        values: `float32[h, w]`, 0 to 1.
        left: As `MaskCrop.left`.
        top: As `MaskCrop.top`.
        position: `float64[4]`, smoothed: x and y of the centre in pixels of the frame, and the logarithms of
            width and height.
        velocity: `float64[4]`, the change of `position` in a second.
        time_s: When the object was last seen.
        seen_frames: Number of frames that it has been seen in.
    """

    values: NDArray[np.float32]
    left: int
    top: int
    position: NDArray[np.float64]
    velocity: NDArray[np.float64]
    time_s: float
    seen_frames: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaskObservation:
    """A mask as found in a frame.

    Attributes:
        mask: The mask.
        size_px: Width and height of its box.
        centre_xy: Its centre, in pixels of the frame.
        time_s: When.
    """

    mask: MaskCrop
    size_px: tuple[float, float]
    centre_xy: tuple[float, float]
    time_s: float


def blend(past: SoftMask | None, now: MaskObservation, share: float) -> SoftMask:
    """Blend a mask with the past of its object.

    Args:
        past: None for a new object.
        now: What was found, later than `past`.
        share: Of the past in the result, 0 to below 1.
    """
    size = np.maximum(now.size_px, 1.0)
    fresh = SoftMask(
        values=now.mask.pixels.astype(np.float32),
        left=now.mask.left,
        top=now.mask.top,
        position=np.array([*now.centre_xy, *np.log(size)]),
        velocity=np.zeros(4),
        time_s=now.time_s,
    )
    if past is None or not past.values.size or not fresh.values.size:
        return fresh
    updated = _updated(past, fresh)
    warped = _warped(past, updated)
    before, after = warped >= THRESHOLD, now.mask.pixels > 0
    if np.count_nonzero(before & after) < MIN_IOU * np.count_nonzero(before | after):
        return fresh
    return replace(updated, values=share * warped + (1 - share) * fresh.values)


def mask_from_soft_mask(soft: SoftMask) -> MaskCrop:
    """Make a mask of it again: set where the mean is at least 0.5."""
    return MaskCrop(pixels=(soft.values >= THRESHOLD).view(np.uint8), left=soft.left, top=soft.top)


def _updated(past: SoftMask, fresh: SoftMask) -> SoftMask:
    """Smooth where the object is now."""
    count, step_s = past.seen_frames, fresh.time_s - past.time_s
    expected = past.position + past.velocity * step_s
    residual = fresh.position - expected
    # The first sightings count more, as in a straight line fitted through all so far.
    both = (count + 1) * (count + 2)
    position = expected + max(POSITION_GAIN, (4 * count + 2) / both) * residual
    velocity = past.velocity + max(VELOCITY_GAIN, 6 / both) * residual / step_s
    return replace(fresh, position=position, velocity=velocity, seen_frames=count + 1)


def _warped(past: SoftMask, now: SoftMask) -> NDArray[np.float32]:
    """Move and stretch the past to its object's new place, in the crop of the present."""
    scale = np.exp(now.position[2:] - past.position[2:])
    # Column i of a crop has its middle at left + i + 0.5 in the frame.
    shift = (np.array([past.left, past.top]) + 0.5 - past.position[:2]) * scale + now.position[:2]
    shift -= np.array([now.left, now.top]) + 0.5
    matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    return np.asarray(cv2.warpAffine(past.values, matrix, now.values.shape[::-1]), np.float32)
