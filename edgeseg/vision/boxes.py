"""Overlap of boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def pairwise_iou(first_xyxy: NDArray[np.float32], second_xyxy: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute the intersection over union (IoU) of each box of one array with each box of another.

    Args:
        first_xyxy: `float32[N, 4]`, in pixels.
        second_xyxy: `float32[M, 4]`, in pixels of the same image.

    Returns:
        `float64[N, M]`, from 0 to 1; 0 for a box without area.

    Example:
        >>> boxes = np.array([(0, 0, 10, 10), (0, 5, 10, 10), (20, 20, 30, 30)], np.float32)
        >>> pairwise_iou(boxes[:1], boxes).tolist()
        [[1.0, 0.5, 0.0]]
    """
    first, second = first_xyxy.astype(np.float64), second_xyxy.astype(np.float64)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low).clip(0).prod(-1)
    area_first, area_second = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1) for boxes in (first, second))
    union = area_first[:, None] + area_second[None] - shared
    return np.asarray(shared / np.maximum(union, 1e-9), np.float64)
