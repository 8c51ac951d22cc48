from __future__ import annotations

import contextlib
import io
import json
import sys
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from edgeseg.errors import DependencyError, InputError
from edgeseg.vision.detections import Detections
from edgeseg.vision.masks import MaskCrop, crop_masks
from tests.data import shared
from tests.runtime.fake_bundle import disc

NAMES = ("__background__", "bolt", "nut", "Unterlegscheibe, groß")
SIZE_HW = (120, 160)


def some(count: int, size_hw: tuple[int, int] = SIZE_HW, **changes: Any) -> Detections:
    rng = np.random.default_rng(count)
    height, width = size_hw
    corners = np.sort(rng.uniform(0, 1, (count, 2, 2)) * (width, height), axis=1)
    boxes = corners.reshape(count, 4).astype(np.float32)
    facts: dict[str, Any] = {
        "boxes_xyxy": boxes,
        "scores": np.sort(rng.uniform(0.5, 1, count))[::-1].astype(np.float32),
        "labels": rng.integers(1, len(NAMES), count).astype(np.int32),
        "masks": crop_masks(np.tile(disc(), (count, 1, 1)) * 2, boxes, size_hw),
        "frame_size_hw": size_hw,
        "class_names": NAMES,
    }
    return Detections(**{**facts, **changes})


def scores(found: Detections) -> list[float]:
    return [float(score) for score in found.scores]


@pytest.mark.parametrize(
    ("name", "value", "shapes"),
    [
        ("boxes_xyxy", np.zeros((2, 4), np.float32), r"\(3, 4\) for 3 scores, got \(2, 4\)"),
        ("boxes_xyxy", np.zeros((3, 5), np.float32), r"\(3, 4\) for 3 scores, got \(3, 5\)"),
        ("boxes_xyxy", np.zeros(12, np.float32), r"\(3, 4\) for 3 scores, got \(12,\)"),
        ("labels", np.ones(4, np.int32), r"\(3,\) for 3 scores, got \(4,\)"),
        ("labels", np.ones((3, 1), np.int32), r"\(3,\) for 3 scores, got \(3, 1\)"),
        ("scores", np.ones((3, 1), np.float32), r"\(3,\) for 3 scores, got \(3, 1\)"),
        ("masks", (), r"\(3,\) for 3 scores, got \(0,\)"),
    ],
)
def test_shapes_that_disagree(name: str, value: Any, shapes: str) -> None:
    with pytest.raises(InputError, match=f"{name} must have shape {shapes}"):
        some(3, **{name: value})


@pytest.mark.parametrize(
    ("labels", "named"),
    [([1, 2, 0], "1 to 3, got 0 to 2"), ([4, 1, 1], "got 1 to 4"), ([1, -1, 3], "got -1")],
)
def test_labels_out_of_range(labels: list[int], named: str) -> None:
    with pytest.raises(InputError, match=f"labels must be .*{named}"):
        some(3, labels=np.array(labels, np.int32))


@pytest.mark.parametrize("count", [0, 1, 100])
def test_any_number(count: int) -> None:
    found = some(count)
    assert len(found) == len(found.names) == len(found.polygons()) == len(found.to_json()) == count
    assert len(list(found)) == count
    assert found.dense_masks().shape == (count, *SIZE_HW)
    assert len(json.loads(json.dumps(found.to_coco(1)))) == count
    drawn = found.draw(np.zeros((*SIZE_HW, 3), np.uint8))
    assert drawn.any() == (count > 0)


def test_none_are_falsy_and_some_are_true() -> None:
    assert not some(0)
    assert some(1)


def test_names_are_those_of_the_labels() -> None:
    found = some(3, labels=np.array([2, 3, 1], np.int32))
    assert found.names == ["nut", "Unterlegscheibe, groß", "bolt"]


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (np.s_[:2], [0, 1]),
        (np.s_[::-1], [4, 3, 2, 1, 0]),
        (np.s_[5:], []),
        ([3, 0], [3, 0]),
        ([], []),
        ([-1], [4]),
        (np.array([1, 1]), [1, 1]),
        (np.array([True, False, False, True, False]), [0, 3]),
        (np.zeros(5, bool), []),
        (2, [2]),
        (-1, [4]),
    ],
)
def test_picking(rows: Any, wanted: list[int]) -> None:
    found = some(5)
    picked = found[rows]
    assert scores(picked) == [scores(found)[row] for row in wanted]
    assert picked.labels.tolist() == [found.labels[row] for row in wanted]
    assert picked.boxes_xyxy.tolist() == [found.boxes_xyxy[row].tolist() for row in wanted]
    assert all(mask is found.masks[row] for mask, row in zip(picked.masks, wanted, strict=True))
    assert (picked.frame_size_hw, picked.class_names) == (SIZE_HW, NAMES)


@pytest.mark.parametrize("rows", [[5], 5, [-6], np.array([True, False])], ids=str)
def test_picking_what_is_not_there(rows: Any) -> None:
    with pytest.raises(IndexError, match=r"5|6|2"):
        some(5)[rows]


def test_picking_by_a_condition() -> None:
    found = some(50)
    bolts = found[found.labels == 1]
    assert 0 < len(bolts) < 50
    assert set(bolts.names) == {"bolt"}
    assert (found[found.scores > 0.8].scores > 0.8).all()


def test_iteration_gives_each_on_its_own() -> None:
    found = some(7)
    ones = list(found)
    assert [len(one) for one in ones] == [1] * 7
    assert [one.scores[0] for one in ones] == scores(found)
    assert list(some(0)) == []


def test_to_coco_says_the_same_in_cocos_words() -> None:
    found = some(4)
    rows = json.loads(json.dumps(found.to_coco(42)))
    for row, one in zip(rows, found, strict=True):
        assert set(row) == {"image_id", "category_id", "bbox", "score", "segmentation"}
        assert row["image_id"] == 42
        assert row["category_id"] == one.labels[0]
        assert row["score"] == pytest.approx(one.scores[0], abs=1e-6)
        x, y, width, height = row["bbox"]
        assert (x, y, x + width, y + height) == pytest.approx(one.boxes_xyxy[0].tolist(), abs=2e-3)
        assert row["segmentation"]["size"] == list(SIZE_HW)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_loads_the_results() -> None:
    found = some(20)
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 7, "height": SIZE_HW[0], "width": SIZE_HW[1]}],
        "annotations": [],
        "categories": [{"id": label, "name": name} for label, name in enumerate(NAMES) if label],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        results = truth.loadRes(json.loads(json.dumps(found.to_coco(7))))
    loaded = results.loadAnns(results.getAnnIds(imgIds=[7]))
    assert len(loaded) == 20
    for annotation, mask in zip(loaded, found.dense_masks(), strict=True):
        assert np.array_equal(results.annToMask(annotation), mask)
        assert annotation["category_id"] in truth.cats


def test_to_json() -> None:
    found = some(3)
    rows = json.loads(json.dumps(found.to_json()))
    dense = found.dense_masks()
    for index, row in enumerate(rows):
        assert list(row) == ["class", "label", "score", "box_xyxy", "area_px"]
        assert row["class"] == NAMES[row["label"]]
        assert row["box_xyxy"] == pytest.approx(found.boxes_xyxy[index].tolist(), abs=1e-3)
        assert row["area_px"] == dense[index].sum()


def test_polygons_lie_in_the_frame_and_outline_the_masks() -> None:
    cv2 = pytest.importorskip("cv2")
    found = some(100)
    for outlines, mask in zip(found.polygons(), found.dense_masks(), strict=True):
        filled = np.zeros(SIZE_HW, np.uint8)
        for outline in outlines:
            assert outline.dtype == np.int32
            assert outline.shape[1:] == (2,)
            assert (outline >= 0).all()
            assert (outline < SIZE_HW[::-1]).all()
        cv2.fillPoly(filled, outlines, 1)
        assert np.array_equal(filled, mask)


def test_polygons_have_a_part_for_each_part() -> None:
    pixels = np.zeros((10, 30), np.uint8)
    pixels[2:8, 2:10] = pixels[1:9, 15:29] = 1
    one = some(1, masks=(MaskCrop(pixels=pixels, left=100, top=50),))
    (outlines,) = one.polygons()
    assert sorted(outline[:, 0].min() for outline in outlines) == [102, 115]
    nothing = some(1, masks=(MaskCrop(pixels=np.zeros((0, 0), np.uint8), left=0, top=0),))
    assert nothing.polygons() == [[]]
    assert nothing.to_json()[0]["area_px"] == 0


def test_a_real_picture_with_its_annotations() -> None:
    truth_path = shared("data", "coco_subset", "annotations", "instances_val2017.json")
    truth = json.loads(truth_path.read_text(encoding="utf-8"))
    image = truth["images"][0]
    rows = [row for row in truth["annotations"] if row["image_id"] == image["id"] and not row["iscrowd"]]
    size_hw = (image["height"], image["width"])
    boxes = np.array([row["bbox"] for row in rows], np.float32)
    boxes[:, 2:] += boxes[:, :2]
    found = Detections(
        boxes_xyxy=boxes,
        scores=np.linspace(0.99, 0.5, len(rows), dtype=np.float32),
        labels=np.array([row["category_id"] for row in rows], np.int32),
        masks=crop_masks(np.tile(disc(), (len(rows), 1, 1)) * 2, boxes, size_hw),
        frame_size_hw=size_hw,
        class_names=tuple(str(label) for label in range(91)),
    )
    assert len(found.to_coco(image["id"])) == len(rows) > 0
    assert found.draw(np.zeros((*size_hw, 3), np.uint8)).any()


@pytest.mark.parametrize("count", [0, 4])
def test_to_supervision(count: int) -> None:
    pytest.importorskip("supervision")
    found = some(count)
    converted = found.to_supervision()
    assert len(converted) == count
    assert np.array_equal(converted.mask, found.dense_masks())
    assert np.array_equal(converted.xyxy, found.boxes_xyxy)
    assert converted.class_id.tolist() == found.labels.tolist()
    assert converted.data["class_name"].tolist() == found.names


def test_to_supervision_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(DependencyError, match=r"supervision .*pip install 'edgeseg\[supervision\]'"):
        some(1).to_supervision()


def test_to_supervision_hands_over_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stand:
        @staticmethod
        def Detections(**facts: Any) -> dict[str, Any]:
            return facts

    monkeypatch.setitem(sys.modules, "supervision", Stand)
    found = some(3)
    facts: dict[str, Any] = found.to_supervision()
    assert set(facts) == {"xyxy", "mask", "confidence", "class_id", "data", "tracker_id"}
    assert facts["mask"].shape == (3, *SIZE_HW)
    assert facts["mask"].dtype == np.bool_
    assert facts["data"]["class_name"].tolist() == found.names
