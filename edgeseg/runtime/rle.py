"""COCO's run-length encoding straight from mask crops, without a full frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .masks import MaskCrop


def rle_from_crops(crops: Sequence[MaskCrop], size_hw: tuple[int, int]) -> list[dict[str, Any]]:
    """Encode crops as COCO's compressed RLE of the whole frame.

    Returns:
        `{"size": [H, W], "counts": str}` for each crop, ready for JSON.
    """
    # From a wheel with C code; only needed once results are written.
    from pycocotools import mask as coco_mask

    height, width = size_hw
    runs = [{"size": [height, width], "counts": _counts(crop, size_hw)} for crop in crops]
    encoded = coco_mask.frPyObjects(runs, height, width) if runs else []
    return [{"size": [height, width], "counts": item["counts"].decode("ascii")} for item in encoded]


def _counts(crop: MaskCrop, size_hw: tuple[int, int]) -> list[int]:
    """Lengths of alternating runs of 0 and 1, down the columns of the frame."""
    rows, columns = crop.pixels.shape
    framed = np.zeros((columns, rows + 2), np.int8)
    framed[:, 1:-1] = crop.pixels.T
    change = np.diff(framed, axis=1)
    starts, ends = (_positions(change == sign, crop, size_hw[0]) for sign in (1, -1))
    # A crop as high as the frame has runs that go on in the next column.
    apart = starts[1:] != ends[:-1]
    starts, ends = starts[np.r_[True, apart][: len(starts)]], ends[np.r_[apart, True][: len(ends)]]
    edges = np.stack((starts, ends), 1).ravel()
    counts: list[int] = np.diff(edges, prepend=0, append=size_hw[0] * size_hw[1]).tolist()
    # A mask that reaches the last pixel ends the frame; COCO's encoder has no empty run after it.
    return counts if counts[-1] else counts[:-1]


def _positions(where: NDArray[np.bool_], crop: MaskCrop, height: int) -> NDArray[np.int64]:
    column, row = np.nonzero(where)
    return (crop.left + column) * height + crop.top + row
