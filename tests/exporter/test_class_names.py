"""Class names from every kind of file, fitted to a classifier."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edgeseg.errors import InputError
from edgeseg.exporter.class_names import fit_names, names_from_file
from tests.data import shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

PARTS = ("washer", "bolt", "nut", "gear", "bracket")
BASE = [{"id": key, "name": name} for key, name in enumerate(PARTS, start=1)]
GROUP = {"id": 0, "name": "parts", "supercategory": "none"}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "bolt\n\n nut \n", ("bolt", "nut")),
        ("b.txt", "\ufeffbolt\r\nnut\r\n", ("bolt", "nut")),
        ("c.json", '["bolt", "nut"]', ("bolt", "nut")),
        ("d.json", '{"1": "bolt", "3": "nut"}', ("bolt", "class_2", "nut")),
        ("e.json", '{"0": "background", "1": "bolt"}', ("bolt",)),
        (
            "f.json",
            json.dumps({"categories": [{"id": 2, "name": " nut\n"}, {"id": 1, "name": "bolt"}]}),
            ("bolt", "nut"),
        ),
        ("g.json", json.dumps([{"id": "2", "name": "nut"}, {"id": "1", "name": "bolt"}]), ("bolt", "nut")),
    ],
)
def test_files(tmp_path: Path, name: str, content: str, expected: tuple[str, ...]) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    notes: list[str] = []

    assert names_from_file(len(expected) + 1, tmp_path / name, notes.append) == ("__background__", *expected)
    assert not notes


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "\n\n", "holds no class names"),
        ("b.json", "[", "not valid JSON"),
        ("c.json", "[1, 2]", "must be a JSON list of names"),
        ("d.json", '{"bolt": 1}', "must be a JSON list of names"),
        ("e.json", '{"1": 5}', "must be a JSON list of names"),
        # Left out, it would shift the names behind it.
        ("e2.json", '{"1": "bolt", "2": " ", "3": "nut"}', "must be a JSON list of names"),
        ("f.json", "[]", "holds no class names"),
        ("g.json", '{"categories": []}', "holds no class names: its list of categories is empty"),
        ("h.json", '{"1": "bolt", "9999999": "nut"}', "9999999"),
        pytest.param("i.json", "[" * 100_000, "not valid JSON", id="i.json-endless list"),
        ("j.json", '{"categories": ["bolt"]}', "must have lists of objects as `categories`"),
        ("k.json", '{"categories": [{"id": 1}]}', "category 1: name must be a text, got None"),
        ("l.json", '{"categories": [{"id": "x", "name": "bolt"}]}', "id must be a whole number, got 'x'"),
        (
            "p.json",
            '{"categories": [], "annotations": [{"category_id": 1}]}',
            "its list of categories is empty",
        ),
        ("q.json", '{"categories": [{"id": 0, "name": "background"}]}', r"categories in .* are 'background'"),
        (
            "m.json",
            '{"categories": [{"id": 1, "name": "bolt"}], "annotations": [{"id": 4, "category_id": 2}]}',
            "annotation 4 is of category 2, which the file does not describe",
        ),
        ("n.json", '{"categories": [{"id": 1, "name": "bolt"}], "annotations": {}}', "lists of objects"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        names_from_file(3, tmp_path / name)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read class names"):
        names_from_file(3, tmp_path / "absent.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(InputError, match="cannot read class names"):
        names_from_file(3, tmp_path / "binary.txt")


@pytest.fixture
def from_coco(tmp_path: Path) -> Callable[..., tuple[tuple[str, ...], str]]:
    """Give the names that a table makes for a number of outputs, and what was noted."""

    def names(
        rows: list[dict[str, Any]], used: Iterable[int] = (), classes: int = 6
    ) -> tuple[tuple[str, ...], str]:
        annotations = [{"id": number, "category_id": key} for number, key in enumerate(used)]
        path = tmp_path / "labels.json"
        path.write_text(json.dumps({"categories": rows, "annotations": annotations}))
        notes: list[str] = []
        found = names_from_file(classes, path, notes.append)
        return found, "\n".join(notes).replace(f"{path}: ", "")

    return names


def test_a_plain_table_needs_no_remark(from_coco: Callable[..., tuple[tuple[str, ...], str]]) -> None:
    assert from_coco(BASE, range(1, 6)) == (("__background__", *PARTS), "")


@pytest.mark.parametrize(
    ("rows", "used", "remark"),
    [
        pytest.param(
            [{**row, "id": 7 * int(str(row["id"]))} for row in BASE],
            range(7, 36, 7),
            "categories were taken as labels 1 to 5 in the order of their ids",
            id="gaps",
        ),
        pytest.param(
            [{**row, "id": int(str(row["id"])) - 1} for row in BASE],
            range(5),
            "categories were taken as labels 1 to 5 in the order of their ids",
            id="a class at 0",
        ),
        pytest.param(
            [GROUP, *BASE],
            range(1, 6),
            "category ids were taken as labels, without 'parts' (id 0)",
            id="group",
        ),
        pytest.param(
            [{**GROUP, "name": "washer"}, *BASE],
            range(1, 6),
            "category ids were taken as labels, without 'washer' (id 0)",
            id="group named like a class",
        ),
        pytest.param(
            [*BASE, {"id": 6, "name": "spring"}],
            range(1, 6),
            "category ids were taken as labels, without 'spring' (id 6)",
            id="one that nothing has",
        ),
    ],
)
def test_the_same_names_as_a_plain_table_and_a_remark(
    from_coco: Callable[..., tuple[tuple[str, ...], str]],
    rows: list[dict[str, object]],
    used: range,
    remark: str,
) -> None:
    names, noted = from_coco(rows, used)

    assert names == ("__background__", *PARTS)
    assert noted.startswith(f"{remark}. If training took them otherwise, pass a text file")


def test_a_group_that_was_counted_as_a_class_shifts_no_name(
    from_coco: Callable[..., tuple[tuple[str, ...], str]],
) -> None:
    names, noted = from_coco([GROUP, *BASE], range(1, 6), classes=7)

    assert names == ("__background__", *PARTS, "N/A")
    assert "without 'parts' (id 0); labels without a category are called N/A: [6]" in noted


@pytest.mark.parametrize("classes", [2, 5, 7, 91])
def test_a_table_of_another_model(
    from_coco: Callable[..., tuple[tuple[str, ...], str]], classes: int
) -> None:
    words = rf"has {classes - 1} class.* are 'washer' .*, 'bracket' \(id 5\), 5 of 5 with annotations; take"
    with pytest.raises(InputError, match=words):
        from_coco(BASE, range(1, 6), classes=classes)


def test_the_tables_of_coco() -> None:
    path = shared("data", "coco_subset", "annotations", "instances_val2017.json")
    in_order = [item["name"] for item in json.loads(path.read_text("utf-8"))["categories"]]

    assert names_from_file(91, path) == fit_names(91, (), source="")
    assert names_from_file(81, path) == ("__background__", *in_order)


def test_bottles_as_roboflow_exports_them() -> None:
    path = shared("data", "bottles", "train", "_annotations.coco.json")

    assert names_from_file(5, path)[1:3] == ("GlassBottle_Close", "GlassBottle_Loose")
    assert names_from_file(6, path)[1:] == (*names_from_file(5, path)[1:], "N/A")


def test_names_fit_the_classifier() -> None:
    assert fit_names(3, ("bolt", "nut"), source="x") == ("__background__", "bolt", "nut")
    assert fit_names(3, (), source="x") == ("__background__", "class_1", "class_2")
    assert fit_names(91, (), source="x")[1] == "person"
    with pytest.raises(InputError, match=r"has 2 classes and the background, names\.txt has 4 names"):
        fit_names(3, ("a", "b", "c", "d"), source="names.txt")


@pytest.mark.parametrize(
    ("first", "remark"),
    [
        ("bg", ""),
        ("__Background__", ""),
        (
            "bolt",
            "x has one name more than the model has classes; the first, 'bolt', was taken for the backgr",
        ),
    ],
)
def test_a_first_name_that_is_dropped_is_said_unless_it_is_the_background(first: str, remark: str) -> None:
    notes: list[str] = []

    assert fit_names(2, (first, "nut"), source="x", note=notes.append) == ("__background__", "nut")
    assert "".join(notes).startswith(remark)
    assert bool(notes) == bool(remark)
