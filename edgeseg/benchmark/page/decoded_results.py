"""COCO results back into detections, at the size of a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.dataset.segmentations import rle_from_segmentation, runs_from_text
from edgeseg.errors import ArtifactError, InputError
from edgeseg.vision.detections import Detections
from edgeseg.vision.masks import MaskCrop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgeseg.benchmark.report import ShownImage
    from edgeseg.benchmark.row import Row


def detections_from_row(
    row: Row, image: ShownImage, class_names: Sequence[str], size_hw: tuple[int, int]
) -> Detections:
    """Give what a row found in an image, scaled to another size of it.

    Args:
        row: Holds COCO results.
        image: Which of them.
        class_names: Index is the label.
        size_hw: Height and width that the detections are wanted in, in pixels.

    Raises:
        ArtifactError: A result is of another model or broken.
    """
    results = [item for item in row.detections if item.get("image_id") == image.image_id]
    try:
        boxes = np.array([item["bbox"] for item in results], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        factors = np.array([size_hw[1] / image.size_hw[1], size_hw[0] / image.size_hw[0]] * 2)
        return Detections(
            boxes_xyxy=(boxes * factors).astype(np.float32),
            scores=np.array([item["score"] for item in results], np.float32),
            labels=np.array([item["category_id"] for item in results], np.int32),
            masks=tuple(_crop(item["segmentation"], image, size_hw) for item in results),
            frame_size_hw=size_hw,
            class_names=tuple(class_names),
        )
    except (InputError, KeyError, TypeError, ValueError) as exc:
        msg = f"the detections of {row.name} in {image.name} cannot be drawn: {exc}; run the benchmark again"
        raise ArtifactError(msg) from exc


def _crop(segmentation: Any, image: ShownImage, size_hw: tuple[int, int]) -> MaskCrop:
    """Look a mask up at the middle of each wanted pixel, in its runs; the whole of it is never in memory."""
    from pycocotools import mask as coco_mask

    rle = rle_from_segmentation(segmentation, (image.size_hw[0], image.size_hw[1]))
    left, top, width, height = map(int, coco_mask.toBbox(rle))
    rows, seen_rows = _sample_positions(image.size_hw[0], size_hw[0], range(top, top + height))
    columns, seen_columns = _sample_positions(image.size_hw[1], size_hw[1], range(left, left + width))
    if not rows.size or not columns.size:
        return MaskCrop(pixels=np.zeros((0, 0), np.uint8), left=0, top=0)
    # The n-th place where runs change is the first pixel of the n-th run after the first, which is of zeros.
    changes = np.cumsum(runs_from_text(rle["counts"]))
    runs = np.searchsorted(changes, seen_columns * image.size_hw[0] + seen_rows[:, None], side="right")
    return MaskCrop(pixels=(runs % 2).astype(np.uint8), left=int(columns[0]), top=int(rows[0]))


def _sample_positions(side: int, wanted: int, within: range) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Say which of `wanted` pixels have their middle within a part of a side, and on what pixel it lies."""
    pixels = np.arange(wanted, dtype=np.int64)
    seen = (2 * pixels + 1) * side // (2 * wanted)
    inside = (within.start <= seen) & (seen < within.stop)
    return pixels[inside], seen[inside]
