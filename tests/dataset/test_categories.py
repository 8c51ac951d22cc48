from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edgeseg.dataset.categories import Categories, category_map, ids_by_label, read_categories
from edgeseg.errors import InputError
from tests.data import shared

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = ("__background__", "bolt", "nut")
NUMBERS = ("__background__", "class_1", "class_2")
# As Roboflow writes a data set of two classes.
PARTS = {"id": 0, "name": "parts", "supercategory": "none"}
BOLT, NUT = ({"id": key, "name": name, "supercategory": "parts"} for key, name in ((1, "bolt"), (2, "nut")))


def table(rows: dict[int, str] | list[dict[str, Any]], used: Iterable[int]) -> Categories:
    if isinstance(rows, dict):
        rows = [{"id": key, "name": name} for key, name in rows.items()]
    return read_categories(rows, [{"id": 9, "category_id": key} for key in used], "a.json")


def test_by_name_whatever_the_order_the_ids_and_the_case() -> None:
    found = category_map(NAMES, table({9: "Nut ", 4: "bolt"}, {4, 9}))

    assert (found.ids, found.remark) == ({1: 4, 2: 9}, "")


def test_by_name_whatever_the_blanks() -> None:
    assert category_map(("", "hex  bolt"), table({3: " Hex bolt"}, {3})).ids == {1: 3}


def test_a_class_without_a_category_is_not_scored_and_said_so() -> None:
    found = category_map(NAMES, table({4: "bolt"}, {4}))

    assert found.ids == {1: 4}
    assert found.remark == "not scored, for the annotations have no such category: 'nut'"


def test_a_category_without_instances_is_no_matter() -> None:
    assert category_map(NAMES, table({0: "parts", 1: "bolt", 2: "nut"}, {1, 2})).ids == {1: 1, 2: 2}


@pytest.mark.parametrize("twin", [0, 7], ids=["before", "after"])
def test_of_two_categories_of_one_name_the_one_with_instances_is_taken(twin: int) -> None:
    found = category_map(NAMES, table({1: "bolt", 2: "nut", twin: "Bolt"}, {1, 2}))

    assert found.ids == {1: 1, 2: 2}
    assert found.remark == f"left out, for a category with instances has the same name: 'Bolt' (id {twin})"


def test_names_that_repeat_in_both_are_taken_in_order() -> None:
    found = category_map(("", "nut", "bolt", "nut"), table({5: "nut", 6: "bolt", 8: "nut"}, {5, 6, 8}))

    assert found.ids == {1: 5, 2: 6, 3: 8}


def test_names_that_differ_in_case_alone_are_told_apart() -> None:
    assert category_map(("", "bolt", "Bolt"), table({1: "Bolt", 2: "bolt"}, {1, 2})).ids == {1: 2, 2: 1}


def test_one_class_and_one_category_are_each_others() -> None:
    found = category_map(("__background__", "nucleus"), table({5: "cell"}, {5}))

    assert found.ids == {1: 5}
    assert "only class 'nucleus' is scored as the annotations' only category 'cell'" in found.remark


def test_the_group_of_the_only_category_is_no_second_one() -> None:
    rows = [
        {"id": 0, "name": "cells", "supercategory": "none"},
        {"id": 1, "name": "cell", "supercategory": "cells"},
    ]

    assert category_map(("__background__", "nucleus"), table(rows, {1})).ids == {1: 1}


def test_numbered_classes_take_the_ids() -> None:
    found = category_map(NUMBERS, table({2: "nut", 1: "bolt"}, {1, 2}))

    assert found.ids == {1: 1, 2: 2}
    assert found.remark == "the model's classes have no names; category ids were taken as labels"


@pytest.mark.parametrize("ids", [(0, 1), (7, 14), (-3, 40)], ids=str)
def test_numbered_classes_take_other_ids_in_their_order(ids: tuple[int, int]) -> None:
    found = category_map(NUMBERS, table({ids[1]: "nut", ids[0]: "bolt"}, ids))

    assert found.ids == {1: ids[0], 2: ids[1]}
    assert "categories were taken as labels 1 to 2 in the order of their ids" in found.remark


def test_a_group_is_no_numbered_class() -> None:
    found = category_map(NUMBERS, table([NUT, BOLT, PARTS], {1, 2}))

    assert found.ids == {1: 1, 2: 2}
    assert found.remark.endswith("category ids were taken as labels, without 'parts' (id 0)")


def test_instances_of_the_background_are_no_numbered_class() -> None:
    found = category_map(NUMBERS, table({0: "background", 1: "bolt", 2: "nut"}, {0, 1, 2}))

    assert found.ids == {1: 1, 2: 2}
    assert found.remark.endswith("without 'background' (id 0)")


def test_a_numbered_class_that_no_category_has() -> None:
    assert category_map((*NUMBERS, "class_3"), table({1: "bolt", 2: "nut"}, {1, 2})).ids == {1: 1, 2: 2}


def test_instances_of_the_background_are_not_scored() -> None:
    found = category_map(NAMES, table({0: "_background_", 1: "bolt", 2: "nut"}, {0, 1, 2}))

    assert found.ids == {1: 1, 2: 2}
    assert found.remark == "not scored, for it is the background: '_background_' (id 0)"


def test_the_label_layout_of_coco() -> None:
    torchvision = pytest.importorskip("torchvision.models.detection")
    names = torchvision.MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    path = shared("data", "coco_subset", "annotations", "instances_val2017.json")
    categories = {item["id"]: item["name"] for item in json.loads(path.read_text("utf-8"))["categories"]}
    found = category_map(names, table(categories, categories))

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
        (NUMBERS, {0: "a", 1: "b", 2: "c"}, "instances of 'a', 'b', 'c'"),
        (NAMES, {1: "bolt", 2: "Bolt"}, r"must differ, got 'bolt' \(id 1\), 'Bolt' \(id 2\); rename"),
        (("__background__", "nut", "nut"), {1: "nut"}, "names of the model's classes must differ"),
        pytest.param(
            NAMES, {key: f"kind{key}" for key in range(30)}, "'kind9' and 20 more, which", id="30 categories"
        ),
    ],
)
def test_what_does_not_fit_lists_both_sides(
    names: tuple[str, ...], categories: dict[int, str], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        category_map(names, table(categories, categories))


@pytest.mark.parametrize(
    ("rows", "used", "words"),
    [
        ([{"name": "bolt"}], (), "a.json: a category: id must be a whole number, got None"),
        ([{"id": "one", "name": "bolt"}], (), "id must be a whole number, got 'one'"),
        ([{"id": 1, "name": 5}], (), "category 1: name must be a text, got 5"),
        ([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], (), "must differ, 1 is both 'a' and 'b'"),
        ([{"id": 1, "name": "a"}], (1, 3), "annotation 9 is of category 3, which the file does not describe"),
    ],
)
def test_a_table_that_is_wrong(rows: list[dict[str, Any]], used: tuple[int, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        table(rows, used)


def non_classes(*rows: dict[str, Any], used: Iterable[int] = ()) -> set[int]:
    return set(table(list(rows), used).non_classes)


def test_which_categories_are_no_class() -> None:
    assert non_classes(PARTS, BOLT, NUT) == {0}
    assert non_classes(PARTS, BOLT, NUT, used=(0, 1)) == set()
    # The only one with a group that is none, as the others say nothing.
    assert non_classes(PARTS, {"id": 1, "name": "bolt"}) == {0}
    # A group that is called as one of its members.
    assert non_classes(PARTS, {"id": 1, "name": "parts", "supercategory": "parts"}) == {0}
    # Converters of Pascal VOC give none to all, labelme2coco each its own name, COCO a class its group's.
    assert (
        non_classes(*({"id": key, "name": f"n{key}", "supercategory": "none"} for key in range(3))) == set()
    )
    assert (
        non_classes(*({"id": key, "name": f"n{key}", "supercategory": f"n{key}"} for key in range(3)))
        == set()
    )
    assert non_classes({"id": 0, "name": "cell", "supercategory": "none"}) == set()
    for name in ("background", "__background__", "_Background_", "BG"):
        assert non_classes({"id": 1, "name": name}, {"id": 2, "name": "bolt"}) == {1}


@pytest.mark.parametrize(
    ("classes", "rows", "used", "expected"),
    [
        pytest.param(3, {1: "a", 3: "c"}, (1, 3), {1: 1, 3: 3}, id="ids with a gap as labels"),
        pytest.param(2, {1: "a", 3: "c"}, (1, 3), {1: 1, 2: 3}, id="ids with a gap in order"),
        pytest.param(2, {0: "a", 1: "b"}, (0, 1), {1: 0, 2: 1}, id="a class at 0"),
        pytest.param(2, {0: "a", 1: "b"}, (1,), {1: 0, 2: 1}, id="a class at 0 without instances here"),
        pytest.param(2, {0: "x", 1: "a", 2: "b"}, (1, 2), {1: 1, 2: 2}, id="0 stands for the background"),
        pytest.param(2, {0: "x", 1: "a", 2: "b"}, (0, 1, 2), None, id="0 does not"),
        pytest.param(2, {0: "background", 1: "a", 2: "b"}, (0, 1), {1: 1, 2: 2}, id="labelled background"),
        pytest.param(2, {1: "background", 2: "a", 3: "b"}, (2, 3), {1: 2, 2: 3}, id="background at 1"),
        pytest.param(
            3, {1: "background", 2: "a", 3: "b"}, (2, 3), {1: 1, 2: 2, 3: 3}, id="background as a label"
        ),
        pytest.param(
            2, {-1: "__ignore__", 0: "_background_", 1: "a", 2: "b"}, (1, 2), {1: 1, 2: 2}, id="labelme"
        ),
        pytest.param(2, {1: "a", 2: "b", 3: "c", 4: "d"}, (1, 4), {1: 1, 2: 4}, id="the used ones alone"),
        pytest.param(4, {1: "a", 2: "b", 3: "c", 4: "d"}, (1, 4), {k: k for k in (1, 2, 3, 4)}, id="all"),
        pytest.param(2, [PARTS, BOLT, NUT], (1, 2), {1: 1, 2: 2}, id="without the group"),
        pytest.param(3, [PARTS, BOLT, NUT], (1, 2), {1: 1, 2: 2}, id="the group was counted"),
        pytest.param(3, [PARTS, BOLT, NUT], (0, 1, 2), {1: 0, 2: 1, 3: 2}, id="the group has instances"),
        pytest.param(5, {1: "a", 2: "b"}, (1, 2), None, id="too few"),
        pytest.param(1, {1: "a", 2: "b"}, (1, 2), None, id="too many"),
        pytest.param(1, {0: "background"}, (), None, id="the background alone"),
    ],
)
def test_labels_of_categories(classes: int, rows: Any, used: Iterable[int], expected: Any) -> None:
    assert ids_by_label(classes, table(rows, used)) == expected


def test_bottles_as_roboflow_exports_them() -> None:
    path = shared("data", "bottles", "test", "_annotations.coco.json")
    content = json.loads(path.read_text("utf-8"))
    categories = read_categories(content["categories"], content["annotations"], str(path))

    assert categories.non_classes == {0}
    for classes in (4, 5):
        assert ids_by_label(classes, categories) == {1: 1, 2: 2, 3: 3, 4: 4}
