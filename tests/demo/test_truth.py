"""COCO export of the scene's truth: complete, decodable, and strict as a judge."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgeseg.demo.conveyor import PART_NAMES, ConveyorFrame, ConveyorScene
from edgeseg.demo.truth import coco_from_frames

# pycocotools 2.0.11 decodes through an `__array__` without NumPy 2's `copy` keyword.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def frames() -> list[ConveyorFrame]:
    return [ConveyorScene(seed=seed).frame(50) for seed in range(20, 26)]


@pytest.fixture(scope="module")
def truth(frames: list[ConveyorFrame]) -> dict[str, Any]:
    return coco_from_frames(frames)


def average_precision(truth: dict[str, Any], annotations: list[dict[str, Any]], kind: str) -> float:
    results = [{**a, "score": 0.9} for a in copy.deepcopy(annotations)]
    if kind == "bbox":
        results = [{k: v for k, v in r.items() if k != "segmentation"} for r in results]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(truth)
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def test_is_json_and_complete(frames: list[ConveyorFrame], truth: dict[str, Any]) -> None:
    again = json.loads(json.dumps(truth))
    assert [i["id"] for i in again["images"]] == list(range(1, len(frames) + 1))
    assert again["images"][0]["file_name"] == "000001.png"
    assert [c["name"] for c in again["categories"]] == list(PART_NAMES)
    assert len(again["annotations"]) == sum(len(f.labels) for f in frames)
    assert len({a["id"] for a in again["annotations"]}) == len(again["annotations"])


def test_masks_decode_to_the_same_pixels(frames: list[ConveyorFrame], truth: dict[str, Any]) -> None:
    masks = np.concatenate([f.masks for f in frames])
    for annotation, mask in zip(truth["annotations"], masks, strict=True):
        assert np.array_equal(coco_mask.decode(annotation["segmentation"]).astype(bool), mask)
        assert annotation["area"] == mask.sum()


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_truth_scores_one_against_itself(truth: dict[str, Any], kind: str) -> None:
    assert average_precision(truth, truth["annotations"], kind) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_shifted_truth_scores_less(truth: dict[str, Any], kind: str) -> None:
    shifted = copy.deepcopy(truth["annotations"])
    for annotation in shifted:
        annotation["bbox"][0] += 4
        mask = np.roll(coco_mask.decode(annotation["segmentation"]), 4, axis=1)
        annotation["segmentation"] = coco_mask.encode(np.asfortranarray(mask))
    assert average_precision(truth, shifted, kind) < 0.9


def test_swapped_classes_score_nothing(truth: dict[str, Any]) -> None:
    wrong = copy.deepcopy(truth["annotations"])
    for annotation in wrong:
        annotation["category_id"] = annotation["category_id"] % len(PART_NAMES) + 1
    assert average_precision(truth, wrong, "segm") < 0.01


def test_no_frames_give_an_empty_file() -> None:
    empty = coco_from_frames([])
    assert empty["images"] == []
    assert empty["annotations"] == []
