"""Conversion of a torchvision model's output, whose masks are probabilities in full frames, to detections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .detections import Detections
from .masks import THRESHOLD, MaskCrop

if TYPE_CHECKING:
    from numpy.typing import NDArray


def detections_from_dense(
    boxes_xyxy: NDArray[np.float32],
    labels: NDArray[np.int64],
    scores: NDArray[np.float32],
    masks: NDArray[np.float32],
    class_names: tuple[str, ...],
) -> Detections:
    """Build detections from full-frame masks, and crop each mask to the pixels that are set.

    Args:
        boxes_xyxy: `float32[N, 4]`, in pixels of the frame.
        labels: `int64[N]`, indices into `class_names`.
        scores: `float32[N]`, descending.
        masks: `float32[N, 1, H, W]`, probabilities in the frame.
        class_names: Name of each class, by label.

    Raises:
        InputError: The arrays disagree in `N`, or a label is not a class.

    Example:
        >>> masks = np.zeros((1, 1, 6, 8), np.float32)
        >>> masks[0, 0, 2:4, 3:6] = 0.9
        >>> boxes, labels, scores = np.array([(3, 2, 6, 4)]), np.array([1]), np.array([0.8])
        >>> found = detections_from_dense(boxes, labels, scores, masks, ("__background__", "bolt"))
        >>> found.names, found.masks[0].pixels.shape
        (['bolt'], (2, 3))
    """
    height, width = masks.shape[-2:]
    return Detections(
        boxes_xyxy=boxes_xyxy.astype(np.float32),
        scores=scores.astype(np.float32),
        labels=labels.astype(np.int32),
        masks=tuple(_crop(mask[0] >= THRESHOLD) for mask in masks),
        frame_size_hw=(height, width),
        class_names=class_names,
    )


def _crop(inside: NDArray[np.bool_]) -> MaskCrop:
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    if not len(rows):
        return MaskCrop(pixels=np.zeros((0, 0), np.uint8), left=0, top=0)
    top, left = int(rows[0]), int(columns[0])
    pixels = inside[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
    return MaskCrop(pixels=np.ascontiguousarray(pixels).view(np.uint8), left=left, top=top)
