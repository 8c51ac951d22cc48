"""Masks stored as crops: the part of the frame that a mask can cover, and its place in the frame."""

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
    """The mask of one instance, cropped to the part of the frame that it can cover.

    Attributes:
        pixels: `uint8[H, W]` with the height and width of the crop; 1 inside the instance and 0 outside.
        left: Column of the frame at which the crop starts.
        top: Row of the frame at which the crop starts.

    Example:
        >>> crop = MaskCrop(pixels=np.ones((2, 3), np.uint8), left=1, top=0)
        >>> dense_masks([crop], (3, 5))[0].astype(int).tolist()
        [[0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
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
        One crop for each mask: 1 where the probability is at least 0.5. Parts outside the frame are cut off.

    Raises:
        InputError: `masks` and `boxes_xyxy` disagree in `N`.

    Source:
        torchvision 0.26 `roi_heads.paste_masks_in_image`, which pads the mask by one pixel, grows the box
        likewise and rounds it down to whole pixels.

    Example:
        >>> masks = np.ones((1, 28, 28), np.float32)
        >>> boxes = np.array([(10, 20, 38, 48)], np.float32)
        >>> (crop,) = crop_masks(masks, boxes, (64, 96))
        >>> crop.left, crop.top, crop.pixels.shape, int(crop.pixels.sum())
        (9, 19, (31, 31), 841)
    """
    if len(masks) != len(boxes_xyxy):
        msg = f"masks and boxes must be equally many, got {len(masks)} masks and {len(boxes_xyxy)} boxes"
        raise InputError(msg)
    side = masks.shape[-1]
    padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    corners = _grown(boxes_xyxy, (side + 2) / side).astype(np.int64).tolist()
    return tuple(_crop(mask, corner, size_hw) for mask, corner in zip(padded, corners, strict=True))


def dense_masks(crops: Sequence[MaskCrop], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Place crops into full frames.

    Args:
        crops: N crops, each inside the frame.
        size_hw: Height and width of the frame, in pixels.

    Returns:
        `bool[N, H, W]`, which takes N times the memory of a frame.

    Example:
        >>> crop = MaskCrop(pixels=np.ones((2, 3), np.uint8), left=1, top=0)
        >>> dense_masks([crop, crop], (480, 640)).shape
        (2, 480, 640)
    """
    frames = np.zeros((len(crops), *size_hw), np.bool_)
    for frame, crop in zip(frames, crops, strict=True):
        height, width = crop.pixels.shape
        frame[crop.top : crop.top + height, crop.left : crop.left + width] = crop.pixels
    return frames


def paste_masks(
    masks: NDArray[np.float32], boxes_xyxy: NDArray[np.float32], size_hw: tuple[int, int]
) -> NDArray[np.bool_]:
    """Place low-resolution mask probabilities into the full frame and threshold them.

    Args:
        masks: `float32[N, S, S]`, probabilities in `[0, 1]`.
        boxes_xyxy: `float32[N, 4]`, in pixels of the frame.
        size_hw: Height and width of the frame, in pixels.

    Returns:
        `bool[N, H, W]`, True where the probability is at least 0.5.

    Raises:
        InputError: `masks` and `boxes_xyxy` disagree in `N`.

    Source:
        As `crop_masks`.

    Example:
        >>> boxes = np.array([(10, 20, 38, 48)], np.float32)
        >>> paste_masks(np.ones((1, 28, 28), np.float32), boxes, (64, 96)).sum(axis=(1, 2)).tolist()
        [841]
    """
    return dense_masks(crop_masks(masks, boxes_xyxy, size_hw), size_hw)


def _grown(boxes_xyxy: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    centre = (boxes_xyxy[:, 2:] + boxes_xyxy[:, :2]) * np.float32(0.5)
    half = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) * np.float32(0.5 * factor)
    return np.concatenate((centre - half, centre + half), 1)


def _crop(mask: NDArray[np.float32], corner: list[int], size_hw: tuple[int, int]) -> MaskCrop:
    x1, y1, x2, y2 = corner
    # As in torchvision, the last pixel belongs to the box, and every box has at least one pixel.
    width, height = max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1)
    left, top = max(x1, 0), max(y1, 0)
    right, bottom = min(x1 + width, size_hw[1]), min(y1 + height, size_hw[0])
    if right <= left or bottom <= top:
        return MaskCrop(pixels=np.zeros((0, 0), np.uint8), left=0, top=0)
    scaled = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    inside = scaled[top - y1 : bottom - y1, left - x1 : right - x1] >= THRESHOLD
    return MaskCrop(pixels=inside.view(np.uint8), left=left, top=top)
