"""Annotations beside the images of the parity check."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.exporter.model.reference import ImageDetections
from edgeseg.exporter.parity.annotations import Recall, annotated_boxes
from edgeseg.vision.letterbox import Letterbox

if TYPE_CHECKING:
    from pathlib import Path


def test_boxes_are_found_by_the_name_of_the_image(tmp_path: Path) -> None:
    square = [[10, 20, 40, 20, 40, 60, 10, 60]]
    item = {"id": 1, "image_id": 7, "category_id": 1, "segmentation": square, "bbox": [10, 20, 30, 40]}
    content = {
        "images": [{"id": 7, "file_name": "val/a.jpg", "height": 100, "width": 200}],
        "annotations": [{**item, "area": 1200, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "nut"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    (tmp_path / "notes.json").write_text("[]")

    first, second = annotated_boxes(tmp_path, [tmp_path / "a.jpg", tmp_path / "b.jpg"])

    assert first.tolist() == [[10, 20, 40, 60]]
    assert second.shape == (0, 4)


def test_an_object_counts_as_found_wherever_the_letterbox_put_it() -> None:
    recall = Recall()
    letterbox = Letterbox(frame_size_hw=(100, 200), input_size_hw=(64, 64))
    truth = np.array([[10, 20, 40, 60], [100, 20, 140, 60]], np.float32)
    found = ImageDetections(
        boxes_xyxy=truth[:1] * np.float32(0.32),
        scores=np.ones(1, np.float32),
        labels=np.ones(1, np.int64),
        masks=np.ones((1, 28, 28), np.float32),
    )
    recall.add(truth, found, letterbox)
    recall.add(np.zeros((0, 4), np.float32), found, letterbox)
    assert (recall.annotated, recall.found) == (2, 1)
