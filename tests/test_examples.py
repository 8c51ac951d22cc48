"""The examples in the package's docstrings give the output that they show."""

from __future__ import annotations

import ast
import doctest
import importlib
import json
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

import edgeseg

from .imports import modules

if TYPE_CHECKING:
    from collections.abc import Iterator

PARSER = doctest.DocTestParser()
# Packages beyond those of every installation that examples need, by the start of their names.
NEEDED = {"edgeseg.exporter": "torchvision", "edgeseg.vision.detections.Detections.to_sup": "supervision"}
MODEL, PHOTO, VIDEO, ANNOTATIONS = "edgeseg-model", "parts.png", "belt.avi", "annotations.json"
SIZE_HW = (64, 96)


@dataclass(frozen=True, slots=True, kw_only=True)
class Docstring:
    """A docstring with examples.

    Attributes:
        module: Dotted name of the module that holds it.
        name: Dotted name of what it describes.
        text: Its content.
        line: Number of its first line in the file, from 0.
    """

    module: str
    name: str
    text: str
    line: int = 0


def docstrings() -> Iterator[Docstring]:
    """Find all docstrings with examples, without importing anything."""
    for module in modules():
        yield from _docstrings_below(ast.parse(module.source), module.name, module.name)


def _docstrings_below(node: ast.AST, module: str, name: str) -> Iterator[Docstring]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
        text = ast.get_docstring(node) or ""
        if PARSER.get_examples(text):
            yield Docstring(module=module, name=name, text=text, line=node.body[0].lineno - 1)
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                yield from _docstrings_below(child, module, f"{name}.{child.name}")


def failures(docstring: Docstring) -> str:
    """Run the examples of a docstring, and return what went wrong; empty if nothing did.

    They see the names of their module, so that a function's example may call it without importing it.
    """
    names = {**vars(importlib.import_module(docstring.module))}
    test = PARSER.get_doctest(docstring.text, names, docstring.name, docstring.module, docstring.line)
    report = StringIO()
    # The runner prints beside what it reports.
    with redirect_stdout(StringIO()):
        doctest.DocTestRunner(verbose=False).run(test, out=report.write, clear_globs=False)
    return report.getvalue()


def shown_names() -> set[str]:
    """List names that have an example; `__version__` has no docstring, so it must be in the package's."""
    shown = {docstring.name.rpartition(".")[2] for docstring in EXAMPLES}
    package = next(docstring.text for docstring in EXAMPLES if docstring.name == "edgeseg")
    return shown | {"__version__"} if "edgeseg.__version__" in package else shown


EXAMPLES = tuple(docstrings())


@pytest.fixture
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an image, a video that becomes brighter, and annotations of the image."""
    monkeypatch.chdir(tmp_path)
    cv2.imwrite(PHOTO, np.zeros((*SIZE_HW, 3), np.uint8))
    video = cv2.VideoWriter(VIDEO, cv2.VideoWriter.fourcc(*"MJPG"), 10, SIZE_HW[::-1])
    for brightness in range(0, 250, 25):
        video.write(np.full((*SIZE_HW, 3), brightness, np.uint8))
    video.release()
    names = ("bolt", "nut", "washer")
    content = {
        "images": [{"id": 1, "file_name": PHOTO, "height": SIZE_HW[0], "width": SIZE_HW[1]}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [4, 6, 16, 24],
                "segmentation": [[4, 6, 20, 6, 20, 30, 4, 30]],
                "area": 384,
                "iscrowd": 0,
            }
        ],
        "categories": [{"id": label, "name": name} for label, name in enumerate(names, 1)],
    }
    Path(ANNOTATIONS).write_text(json.dumps(content), "utf-8")
    return tmp_path


@pytest.mark.parametrize("docstring", EXAMPLES, ids=lambda docstring: docstring.name)
def test_an_example_gives_its_output(docstring: Docstring, user_folder: Path) -> None:
    for start, package in NEEDED.items():
        if docstring.name.startswith(start):
            pytest.importorskip(package)
    if MODEL in docstring.text:
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
        from .runtime.fake_bundle import make_bundle

        make_bundle(user_folder / MODEL)

    assert failures(docstring) == ""


def test_every_public_name_has_an_example() -> None:
    assert sorted(set(edgeseg.__all__) - shown_names()) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param(">>> 1 + 1\n3\n", "Expected:\n    3\nGot:\n    2", id="wrong output"),
        pytest.param(">>> 1 / 0\n0\n", "ZeroDivisionError", id="error"),
    ],
)
def test_a_wrong_example_is_reported(text: str, complaint: str) -> None:
    assert complaint in failures(Docstring(module="edgeseg", name="planted", text=text))
