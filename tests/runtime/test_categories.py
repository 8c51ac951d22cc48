from __future__ import annotations

import json

import pytest

from edgeseg.errors import InputError
from edgeseg.runtime.categories import category_map
from tests.data import shared

NAMES = ("__background__", "bolt", "nut")


def test_by_name_whatever_the_order_the_ids_and_the_case():
    found = category_map(NAMES, {9: "Nut ", 4: "bolt"}, {4, 9})

    assert (found.ids, found.remark) == ({1: 4, 2: 9}, "")


def test_a_class_without_a_category_is_not_scored_and_said_so():
    found = category_map(NAMES, {4: "bolt"}, {4})

    assert found.ids == {1: 4}
    assert found.remark == "not scored, for the annotations have no such category: 'nut'"


def test_a_category_without_instances_is_no_matter():
    assert category_map(NAMES, {0: "parts", 1: "bolt", 2: "nut"}, {1, 2}).ids == {1: 1, 2: 2}


def test_one_class_and_one_category_are_each_others():
    found = category_map(("__background__", "nucleus"), {5: "cell"}, {5})

    assert found.ids == {1: 5}
    assert "only class 'nucleus' is scored as the annotations' only category 'cell'" in found.remark


def test_numbered_classes_take_the_ids():
    found = category_map(("__background__", "class_1", "class_2"), {2: "nut", 1: "bolt"}, {1, 2})

    assert found.ids == {1: 1, 2: 2}
    assert "category ids were taken as its labels" in found.remark


def test_the_label_layout_of_coco():
    torchvision = pytest.importorskip("torchvision.models.detection")
    names = torchvision.MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    path = shared("data", "coco_subset", "annotations", "instances_val2017.json")
    categories = {item["id"]: item["name"] for item in json.loads(path.read_text("utf-8"))["categories"]}
    found = category_map(names, categories, categories)

    assert found.ids == {key: key for key in categories}
    assert found.remark == ""


@pytest.mark.parametrize(
    ("names", "categories", "words"),
    [
        (
            NAMES,
            {1: "cat", 2: "dog"},
            "instances of 'cat', 'dog', which .* classes are 'bolt', 'nut', the cat",
        ),
        (NAMES, {1: "bolt", 2: "dog"}, "instances of 'dog', which the model does not know"),
        (NAMES, {1: "cell"}, "instances of 'cell'"),
        (("__background__", "class_1"), {1: "a", 2: "b"}, "instances of 'a', 'b'"),
        (NAMES, {1: "bolt", 2: "Bolt"}, "names of categories must differ, got 'bolt', 'Bolt'"),
        (("__background__", "nut", "nut"), {1: "nut"}, "names of the model's classes must differ"),
        (NAMES, {key: f"kind{key}" for key in range(30)}, "'kind9' and 20 more, which"),
    ],
)
def test_what_does_not_fit_lists_both_sides(names, categories, words):
    with pytest.raises(InputError, match=words):
        category_map(names, categories, set(categories))
