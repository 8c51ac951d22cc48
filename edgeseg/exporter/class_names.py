"""Names for the classes of a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeseg.dataset.categories import UNUSED_NAME, ids_by_label, is_background, order_remark, read_categories
from edgeseg.errors import InputError
from edgeseg.files.reading import read_failure, read_regular
from edgeseg.records import parse_json, short_repr
from edgeseg.spec import BACKGROUND

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COCO_CLASSES = 91
# A larger label is a mistake in the file, and would take much memory.
MAX_LABEL = 10_000
# COCO's own annotation file, which can be given for the names, has 0.5 GB.
MOST_BYTES = 2 << 30
MAX_LABEL_DIGITS = 10
OTHER_ORDER_HINT = (
    "If training took them otherwise, pass a text file with one name a line, in the order of the labels"
)


def names_from_file(
    classes: int, path: Path, note: Callable[[str], None] = lambda line: None
) -> tuple[str, ...]:
    """Read the names of a model's classes from text, one a line, or from JSON.

    Args:
        classes: Outputs of the classifier, background included.
        path: JSON may be a list of names, an object of label to name, or a COCO annotation file, whose
            `categories` are used; labels without a name become `class_N`, labels without a category `N/A`.
        note: Called with a sentence for each assumption that the file made necessary.

    Returns:
        Names by label; the first is the background.

    Raises:
        InputError: The file is missing, empty or has other content, or the number of names does not fit.
    """
    try:
        text = read_regular(path, max_bytes=MOST_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(read_failure(f"class names from {path}", exc)) from exc
    as_json = path.suffix.lower() == ".json"
    content = _parse_json(text, path) if as_json else [line for line in text.splitlines() if line.strip()]
    if isinstance(content, list) and content and all(isinstance(item, dict) for item in content):
        content = {"categories": content}
    if isinstance(content, dict) and isinstance(content.get("categories"), list):
        return _names_from_coco(classes, content, path, note)
    names = _names_from_json(content, path)
    if not names:
        msg = f"{path} holds no class names; write one a line, in the order of the labels"
        raise InputError(msg)
    return fit_names(classes, tuple(names), source=str(path), note=note)


def fit_names(
    classes: int, given: tuple[str, ...], *, source: str, note: Callable[[str], None] = lambda line: None
) -> tuple[str, ...]:
    """Match names to the classes of a model; without names, use COCO's or `class_N`.

    Args:
        classes: Outputs of the classifier, background included.
        given: One name per class, with or without the background; may be empty.
        source: Where they came from, for the message.
        note: Called with a sentence if the first name is taken for the background but does not look like it.

    Raises:
        InputError: Their number fits neither with nor without the background.
    """
    if len(given) == classes:
        if not is_background(given[0]):
            note(
                f"{source} has one name more than the model has classes; the first, {given[0]!r}, was taken "
                "for the background"
            )
        return (BACKGROUND, *given[1:])
    if len(given) == classes - 1:
        return (BACKGROUND, *given)
    if given:
        plural = "es" * (classes > 2)
        msg = (
            f"the checkpoint has {classes - 1} class{plural} and the background, {source} has {len(given)} "
            f"names ({short_repr(given[0])[1:-1]}, ...); it must have {classes - 1}, or {classes} with the "
            "background first"
        )
        raise InputError(msg)
    if classes == COCO_CLASSES:
        return (BACKGROUND, *_coco_names()[1:])
    return (BACKGROUND, *(f"class_{label}" for label in range(1, classes)))


def _parse_json(text: str, path: Path) -> Any:
    try:
        return parse_json(text)
    except ValueError as exc:
        msg = f"{path} is not valid JSON: {exc}"
        raise InputError(msg) from exc


def _names_from_coco(
    classes: int, content: dict[str, Any], path: Path, note: Callable[[str], None]
) -> tuple[str, ...]:
    rows, annotations = (content.get(name, []) for name in ("categories", "annotations"))
    if not isinstance(annotations, list) or any(not isinstance(item, dict) for item in (*rows, *annotations)):
        msg = f"{path} must have lists of objects as `categories` and, if any, `annotations`"
        raise InputError(msg)
    if not rows:
        msg = f"{path} holds no class names: its list of categories is empty"
        raise InputError(msg)
    categories = read_categories(rows, annotations, str(path))
    ids = ids_by_label(classes - 1, categories)
    if ids is None:
        plural = "es" * (classes > 2)
        msg = (
            f"the checkpoint has {classes - 1} class{plural} and the background, and the categories in "
            f"{path} are {categories.describe(categories.names)}, {len(categories.used)} of "
            f"{len(categories.names)} with annotations; take the file that the model was trained with, or a "
            "text file with one name a line, in the order of the labels"
        )
        raise InputError(msg)
    nameless = [label for label in range(1, classes) if label not in ids]
    if nameless or len(ids) < len(categories.names) or any(label != key for label, key in ids.items()):
        unnamed_note = f"; labels without a category are called {UNUSED_NAME}: {nameless}" if nameless else ""
        note(f"{path}: {order_remark(ids, categories)}{unnamed_note}. {OTHER_ORDER_HINT}")
    names = {label: categories.names[key] for label, key in ids.items()}
    return (BACKGROUND, *(names.get(label, UNUSED_NAME) for label in range(1, classes)))


def _names_from_json(content: Any, path: Path) -> list[str]:
    if isinstance(content, dict) and all(key.isdecimal() and len(key) <= MAX_LABEL_DIGITS for key in content):
        content = _names_by_label({int(key): name for key, name in content.items()}, path)
    if isinstance(content, list) and all(isinstance(name, str) and name.strip() for name in content):
        return [name.strip() for name in content]
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
