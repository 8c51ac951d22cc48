"""Names for the classes of a checkpoint."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edgeseg.errors import InputError
from edgeseg.spec import BACKGROUND

if TYPE_CHECKING:
    from pathlib import Path

COCO_CLASSES = 91
# A larger one is a mistake in the file, and would cost memory.
MAX_LABEL = 10_000


def class_names_from_file(path: Path) -> tuple[str, ...]:
    """Read class names from text, one a line, or from JSON.

    Args:
        path: JSON may be a list of names, an object of label to name, or a COCO annotation file, whose
            `categories` give the labels; labels without a name become `class_N`.

    Returns:
        Names by label, with or without the background as the file has it.

    Raises:
        InputError: The file is missing, empty or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        msg = f"cannot read class names from {path}: {getattr(exc, 'strerror', None) or exc}"
        raise InputError(msg) from exc
    if path.suffix.lower() == ".json":
        names = _names_from_json(text, path)
    else:
        names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        msg = f"{path} holds no class names; write one a line, in the order of the labels"
        raise InputError(msg)
    return tuple(names)


def names_for(classes: int, given: tuple[str, ...], *, source: str) -> tuple[str, ...]:
    """Fit names to a model of `classes` classes, background included; COCO's or numbers if none are given.

    Args:
        classes: Outputs of the classifier.
        given: One name a class, with or without the background; may be empty.
        source: Where they came from, for the message.

    Raises:
        InputError: Their number fits neither with nor without the background.
    """
    if len(given) == classes:
        return (BACKGROUND, *given[1:])
    if len(given) == classes - 1:
        return (BACKGROUND, *given)
    if given:
        plural = "es" * (classes > 2)
        msg = (
            f"the checkpoint has {classes - 1} class{plural} and the background, {source} has {len(given)} "
            f"names ({given[0]}, ...); it must have {classes - 1}, or {classes} with the background first"
        )
        raise InputError(msg)
    if classes == COCO_CLASSES:
        return (BACKGROUND, *_coco_names()[1:])
    return (BACKGROUND, *(f"class_{label}" for label in range(1, classes)))


def _names_from_json(text: str, path: Path) -> list[str]:
    try:
        content: Any = json.loads(text)
    except ValueError as exc:
        msg = f"{path} is not valid JSON: {exc}"
        raise InputError(msg) from exc
    if isinstance(content, dict) and isinstance(content.get("categories"), list):
        content = {
            str(item.get("id")): item.get("name") for item in content["categories"] if isinstance(item, dict)
        }
    if isinstance(content, dict) and all(key.isdigit() for key in content):
        content = _names_by_label({int(key): name for key, name in content.items()}, path)
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return content
    msg = f"{path} must be a JSON list of names, an object of label to name, or COCO annotations"
    raise InputError(msg)


def _names_by_label(by_label: dict[int, Any], path: Path) -> list[Any]:
    first, last = min(by_label, default=1), max(by_label, default=0)
    if last > MAX_LABEL:
        msg = f"labels in {path} must be at most {MAX_LABEL}, got {last}"
        raise InputError(msg)
    return [by_label.get(label, f"class_{label}") for label in range(min(first, 1), last + 1)]


def _coco_names() -> list[str]:
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

    names: list[str] = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    return names
