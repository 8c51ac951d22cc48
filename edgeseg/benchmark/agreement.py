"""How far two rows find the same: COCO results of one beside those of another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgeseg.vision.matching import match_by_overlap

from .row import Agreement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Result = dict[str, Any]
MIN_SCORE = 0.5


class _Pair(NamedTuple):
    box_px: float
    mask_iou: float


def compare_detections(
    reference: str, expected: Sequence[Result], found: Sequence[Result], images: int
) -> Agreement:
    """Match detections above a score of 0.5 image by image.

    A detection of the reference is matched with the one of the same class whose box overlaps it most, the
    best overlaps first; each is matched once.

    Args:
        reference: Name of the row compared with.
        expected: Its COCO results, boxes and masks as `Detections.to_coco` writes them.
        found: Those of the other row, on the same images.
        images: How many images.
    """
    expected_by_image, found_by_image = _by_image(expected), _by_image(found)
    pairs = [
        pair
        for image_id in expected_by_image.keys() & found_by_image.keys()
        for pair in _pairs(expected_by_image[image_id], found_by_image[image_id])
    ]
    counted = sum(map(len, expected_by_image.values()))
    overlaps = [pair.mask_iou for pair in pairs]
    return Agreement(
        reference=reference,
        images=images,
        expected=counted,
        matched=len(pairs),
        extra=sum(map(len, found_by_image.values())) - len(pairs),
        box_px=float(np.median([pair.box_px for pair in pairs])) if pairs else None,
        mask_iou=float(np.median(overlaps)) if pairs else None,
        mask_iou_p5=float(np.percentile(overlaps, 5)) if pairs else None,
    )


def _by_image(results: Sequence[Result]) -> dict[int, list[Result]]:
    results_by_image: dict[int, list[Result]] = {}
    for result in results:
        if result["score"] > MIN_SCORE:
            results_by_image.setdefault(result["image_id"], []).append(result)
    return results_by_image


def _pairs(expected: list[Result], found: list[Result]) -> list[_Pair]:
    from pycocotools import mask

    boxes, others = (np.array([item["bbox"] for item in items], np.float64) for items in (expected, found))
    crowd = [0] * len(expected)
    overlaps = np.array(mask.iou(others, boxes, crowd)).T
    labels, other_labels = (np.array([item["category_id"] for item in items]) for items in (expected, found))
    masks = np.array(
        mask.iou([item["segmentation"] for item in found], [item["segmentation"] for item in expected], crowd)
    ).T
    corners, other_corners = _xyxy(boxes), _xyxy(others)
    return [
        _Pair(float(np.abs(corners[row] - other_corners[column]).max()), float(masks[row, column]))
        for row, column in match_by_overlap(overlaps, labels, other_labels)
    ]


def _xyxy(boxes_xywh: NDArray[np.float64]) -> NDArray[np.float64]:
    corners = boxes_xywh.copy()
    corners[:, 2:] += corners[:, :2]
    return corners
