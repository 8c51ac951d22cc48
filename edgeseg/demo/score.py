"""Scenes that training never used, and COCO average precision of results on them."""

from __future__ import annotations

import contextlib
import io
from typing import Any

from .conveyor import ConveyorFrame, ConveyorScene

# Training draws its seeds from below.
FIRST_UNSEEN_SEED = 1_000_000


def unseen_frames(count: int) -> list[ConveyorFrame]:
    """Render a frame each of `count` scenes that training never used."""
    return [ConveyorScene(seed=FIRST_UNSEEN_SEED + i).frame(17 * i % 200) for i in range(count)]


def ap_from_results(truth: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, float]:
    """Score COCO results against COCO annotations.

    Args:
        truth: As `coco_from_frames` gives it.
        results: As `Detections.to_coco` gives them.

    Returns:
        `box_ap`, `box_ap50`, `mask_ap`, `mask_ap50` in 0 to 1, at most 100 detections an image, and the mask
        AP of each class as `mask_ap_<name>`, -1 for a class that no image shows. No result at all scores 0,
        and then there are no classes.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    scores = dict.fromkeys(("box_ap", "box_ap50", "mask_ap", "mask_ap50"), 0.0)
    if not results:
        return scores
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        detections = coco.loadRes(results)
        for key, kind in (("box", "bbox"), ("mask", "segm")):
            evaluation = COCOeval(coco, detections, kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            scores[f"{key}_ap"], scores[f"{key}_ap50"] = (float(x) for x in evaluation.stats[:2])
    # The last evaluation is of masks: precision by threshold, recall, class, all areas, 100 detections.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    for column, category in enumerate(truth["categories"]):
        scores[f"mask_ap_{category['name']}"] = float(precision[:, :, column].mean())
    return scores
