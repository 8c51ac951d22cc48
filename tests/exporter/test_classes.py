"""Class names from every kind of file, fitted to a classifier."""

from __future__ import annotations

import json

import pytest

from edgeseg.errors import InputError
from edgeseg.exporter.classes import class_names_from_file, names_for


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "bolt\n\n nut \n", ("bolt", "nut")),
        ("b.txt", "\ufeffbolt\r\nnut\r\n", ("bolt", "nut")),
        ("c.json", '["bolt", "nut"]', ("bolt", "nut")),
        ("d.json", '{"1": "bolt", "3": "nut"}', ("bolt", "class_2", "nut")),
        ("e.json", '{"0": "background", "1": "bolt"}', ("background", "bolt")),
        (
            "f.json",
            json.dumps({"categories": [{"id": 2, "name": "nut"}, {"id": 1, "name": "bolt"}]}),
            ("bolt", "nut"),
        ),
    ],
)
def test_files(tmp_path, name, content, expected):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert class_names_from_file(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "\n\n", "holds no class names"),
        ("b.json", "[", "not valid JSON"),
        ("c.json", "[1, 2]", "must be a JSON list of names"),
        ("d.json", '{"bolt": 1}', "must be a JSON list of names"),
        ("e.json", '{"1": 5}', "must be a JSON list of names"),
        ("f.json", "[]", "holds no class names"),
        ("g.json", '{"categories": []}', "holds no class names"),
        ("h.json", '{"1": "bolt", "9999999": "nut"}', "9999999"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        class_names_from_file(tmp_path / name)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(InputError, match="cannot read class names"):
        class_names_from_file(tmp_path / "absent.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(InputError, match="cannot read class names"):
        class_names_from_file(tmp_path / "binary.txt")


def test_names_fit_the_classifier():
    assert names_for(3, ("bolt", "nut"), source="x") == ("__background__", "bolt", "nut")
    assert names_for(3, ("bg", "bolt", "nut"), source="x") == ("__background__", "bolt", "nut")
    assert names_for(3, (), source="x") == ("__background__", "class_1", "class_2")
    assert names_for(91, (), source="x")[1] == "person"
    with pytest.raises(InputError, match=r"has 2 classes and the background, names\.txt has 4 names"):
        names_for(3, ("a", "b", "c", "d"), source="names.txt")
