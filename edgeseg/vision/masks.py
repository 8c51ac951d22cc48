"""Masks as crops: where each lies in the frame, and no more than that of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskCrop:
    """One instance's mask, cut to the part of the frame where it can be.

    Attributes:
        pixels: `uint8[h, w]`, 1 inside the instance and 0 outside.
        left: Column of the frame at which the crop starts.
        top: Row of the frame at which the crop starts.
    """

    pixels: NDArray[np.uint8]
    left: int
    top: int


def crop_masks(
    masks: NDArray[np.float32], boxes_xyxy: NDArray[np.float32], size_hw: tuple[int, int]
) -> tuple[MaskCrop, ...]:
    """Scale low-resolution mask probabilities to their boxes and threshold them.

    Args:
        masks: `float32[N, S, S]`, probabilities in `[0, 1]`.
        boxes_xyxy: `float32[N, 4]` in pixels of the frame.
        size_hw: `(height, width)` of the frame, in pixels.

    Returns:
        A crop for each mask, set where the probability is at least 0.5; parts outside the frame are cut off.

    Raises:
        InputError: `masks` and `boxes_xyxy` disagree in `N`.

    Source:
        torchvision 0.26 `roi_heads.paste_masks_in_image`, which pads the mask by one pixel, grows the box
        likewise and rounds it down to whole pixels.
    """
    if len(masks) != len(boxes_xyxy):
        msg = f"masks and boxes must be equally many, got {len(masks)} masks and {len(boxes_xyxy)} boxes"
        raise InputError(msg)
    side = masks.shape[-1]
    padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    corners = _grown(boxes_xyxy, (side + 2) / side).astype(np.int64).tolist()
    return tuple(_crop(mask, corner, size_hw) for mask, corner in zip(padded, corners, strict=True))


def dense_masks(crops: Sequence[MaskCrop], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Put crops into full frames: `bool[N, H, W]`; that is N times the frame's size in memory."""
    frames = np.zeros((len(crops), *size_hw), np.bool_)
    for frame, crop in zip(frames, crops, strict=True):
        height, width = crop.pixels.shape
        frame[crop.top : crop.top + height, crop.left : crop.left + width] = crop.pixels
    return frames


def paste_masks(
    masks: NDArray[np.float32], boxes_xyxy: NDArray[np.float32], size_hw: tuple[int, int]
) -> NDArray[np.bool_]:
    """Place low-resolution mask probabilities into the full frame: `bool[N, H, W]`; see `crop_masks`."""
    return dense_masks(crop_masks(masks, boxes_xyxy, size_hw), size_hw)


def _grown(boxes_xyxy: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    centre = (boxes_xyxy[:, 2:] + boxes_xyxy[:, :2]) * np.float32(0.5)
    half = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) * np.float32(0.5 * factor)
    return np.concatenate((centre - half, centre + half), 1)


def _crop(mask: NDArray[np.float32], corner: list[int], size_hw: tuple[int, int]) -> MaskCrop:
    x1, y1, x2, y2 = corner
    # torchvision counts the last pixel in, and gives every box at least one.
    width, height = max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1)
    left, top = max(x1, 0), max(y1, 0)
    right, bottom = min(x1 + width, size_hw[1]), min(y1 + height, size_hw[0])
    if right <= left or bottom <= top:
        return MaskCrop(pixels=np.zeros((0, 0), np.uint8), left=0, top=0)
    scaled = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    inside = scaled[top - y1 : bottom - y1, left - x1 : right - x1] >= THRESHOLD
    return MaskCrop(pixels=inside.view(np.uint8), left=left, top=top)
