"""Agreement of COCO results, on squares whose overlaps are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask

from edgeseg.benchmark.agreement import compare_detections


def square(
    left: int, *, image_id: int = 1, label: int = 1, score: float = 0.9, cut: int = 0
) -> dict[str, Any]:
    """Ten by ten pixels; `cut` rows are missing in its mask."""
    dense = np.zeros((20, 60), np.uint8, order="F")
    dense[5 : 15 - cut, left : left + 10] = 1
    rle = mask.encode(dense)
    return {
        "image_id": image_id,
        "category_id": label,
        "bbox": [float(left), 5.0, 10.0, 10.0],
        "score": score,
        "segmentation": {"size": [20, 60], "counts": rle["counts"].decode()},
    }


def test_the_same_agrees() -> None:
    results = [square(0), square(20, label=2), square(0, image_id=2)]
    found = compare_detections("a", results, results[::-1], 2)

    assert (found.reference, found.images, found.expected, found.matched, found.extra) == ("a", 2, 3, 3, 0)
    assert (found.box_px, found.mask_iou, found.mask_iou_p5) == (0, 1, 1)


def test_moved_and_cut() -> None:
    found = compare_detections("a", [square(0), square(30)], [square(1), square(33, cut=5)], 1)

    assert (found.matched, found.extra) == (2, 0)
    assert found.box_px == 2
    # Nine of eleven columns; seven columns of five rows in what both cover.
    assert found.mask_iou == pytest.approx((90 / 110 + 35 / (100 + 50 - 35)) / 2)


@pytest.mark.parametrize(
    "other",
    [square(0, label=2), square(6), square(0, image_id=2), square(40)],
    ids=["class", "overlap", "image", "place"],
)
def test_another_thing_is_missing_and_extra(other: dict[str, Any]) -> None:
    found = compare_detections("a", [square(0)], [other], 2)

    assert (found.expected, found.matched, found.extra) == (1, 0, 1)
    assert found.box_px is None


def test_each_is_matched_once_and_the_best_first() -> None:
    found = compare_detections("a", [square(0)], [square(2), square(0)], 1)

    assert (found.matched, found.extra, found.mask_iou) == (1, 1, 1)


def test_low_scores_do_not_count() -> None:
    found = compare_detections("a", [square(0, score=0.4), square(20)], [square(20), square(0, score=0.5)], 1)

    assert (found.expected, found.matched, found.extra) == (1, 1, 0)


def test_nothing_found() -> None:
    found = compare_detections("a", [], [], 3)

    assert (found.expected, found.matched, found.extra, found.mask_iou) == (0, 0, 0, None)
