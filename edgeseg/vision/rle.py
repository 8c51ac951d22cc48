"""COCO's run-length encoding (RLE) of mask crops, computed without full frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .masks import MaskCrop


def rle_from_crops(crops: Sequence[MaskCrop], size_hw: tuple[int, int]) -> list[dict[str, Any]]:
    """Encode crops as COCO's compressed RLE of the whole frame.

    Args:
        crops: N masks, each inside the frame.
        size_hw: Height and width of the frame, in pixels.

    Returns:
        `{"size": [H, W], "counts": str}` for each crop, ready for JSON.

    Example:
        >>> from edgeseg.vision.masks import MaskCrop
        >>> crop = MaskCrop(pixels=np.ones((2, 3), np.uint8), left=1, top=0)
        >>> rle_from_crops([crop], (3, 5))
        [{'size': [3, 5], 'counts': '3210003'}]
    """
    # pycocotools loads C code, which is needed only when results are written.
    from pycocotools import mask as coco_mask

    height, width = size_hw
    runs = [{"size": [height, width], "counts": _counts(crop, size_hw)} for crop in crops]
    encoded = coco_mask.frPyObjects(runs, height, width) if runs else []
    return [{"size": [height, width], "counts": item["counts"].decode("ascii")} for item in encoded]


def _counts(crop: MaskCrop, size_hw: tuple[int, int]) -> list[int]:
    """Count the lengths of alternating runs of 0 and 1, down the columns of the frame."""
    rows, columns = crop.pixels.shape
    # A zero before the first column and after each one makes every run begin and end inside its column.
    framed = np.zeros(1 + columns * (rows + 1), np.uint8)
    if crop.pixels.size:
        framed[1:].reshape(columns, rows + 1)[:, :-1] = cv2.transpose(crop.pixels)
    column, row = np.divmod(np.flatnonzero(framed[1:] != framed[:-1]), rows + 1)
    edges = (crop.left + column) * size_hw[0] + crop.top + row
    if rows == size_hw[0]:
        # The crop is as high as the frame, so a run that reaches the end of a column continues in the next.
        inner = edges[1:-1].reshape(-1, 2)
        apart = inner[inner[:, 0] != inner[:, 1]].ravel()
        edges = np.concatenate((edges[:1], apart, edges[-1:]))
    # This takes half the time of `np.diff` with `prepend` and `append`.
    bounds = np.zeros(len(edges) + 2, np.int64)
    bounds[1:-1], bounds[-1] = edges, size_hw[0] * size_hw[1]
    counts: list[int] = (bounds[1:] - bounds[:-1]).tolist()
    # After a mask that reaches the last pixel of the frame, COCO's encoder writes no empty run.
    return counts if counts[-1] else counts[:-1]
