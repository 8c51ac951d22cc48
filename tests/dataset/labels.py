"""COCO annotation files made by hand, for what reads them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def image(image_id: Any = 1, file_name: str | None = None, **changes: Any) -> dict[str, Any]:
    name = file_name or f"{image_id}.png"
    return {"id": image_id, "file_name": name, "height": 64, "width": 96, **changes}


def square(image_id: int = 1, *, left: int = 10, category_id: int = 1, **changes: Any) -> dict[str, Any]:
    """Annotate a square of 20 pixels; its outline has the evaluator's pixels."""
    right = left + 20
    facts = {
        "id": 100 * image_id + left,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [left, 10, 20, 20],
        "segmentation": [[left, 10, right, 10, right, 30, left, 30]],
        "area": 400,
        "iscrowd": 0,
    }
    return {**facts, **changes}


def category(category_id: Any = 1, name: str = "bolt") -> dict[str, Any]:
    return {"id": category_id, "name": name}


def coco(**changes: Any) -> dict[str, Any]:
    """One image with one square."""
    return {"images": [image()], "annotations": [square()], "categories": [category()], **changes}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
