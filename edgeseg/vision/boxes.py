"""How much boxes overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def pairwise_iou(first_xyxy: NDArray[np.float32], second_xyxy: NDArray[np.float32]) -> NDArray[np.float64]:
    """Intersection over union of `float32[N, 4]` with `float32[M, 4]`: `float64[N, M]`."""
    first, second = first_xyxy.astype(np.float64), second_xyxy.astype(np.float64)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low).clip(0).prod(-1)
    area_first, area_second = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1) for boxes in (first, second))
    union = area_first[:, None] + area_second[None] - shared
    return np.asarray(shared / np.maximum(union, 1e-9), np.float64)
