"""Pairing the classes of a model with the categories of an annotation file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# torchvision's name for labels that COCO does not use.
UNUSED_NAME = "N/A"
# Names that a bundle gives to classes if the user gave none.
NUMBERED = re.compile(r"class_\d+")
# Usual names of the background, without underscores around them.
BACKGROUND_NAMES = ("background", "bg")
# The `supercategory` of a category that belongs to no group.
NO_GROUP = ("", "none")
NAMES_SHOWN = 10
WHOLE_NUMBER = re.compile(r"\s*[-+]?[0-9]{1,18}\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Categories:
    """The categories of an annotation file, and which of them its annotations use.

    Attributes:
        names: Name of each category, by ascending id.
        used: Ids of categories that have annotations.
        non_classes: Ids of categories that have no annotations and are no classes: the background, or the
            name of a group of categories, which Roboflow writes as category 0.
    """

    names: dict[int, str]
    used: frozenset[int]
    non_classes: frozenset[int]

    @property
    def classes(self) -> list[int]:
        """List the ids of all categories that may be a class, ascending."""
        return [key for key in self.names if key not in self.non_classes]

    def describe(self, ids: Iterable[int]) -> str:
        """Describe some of the categories, for use in a sentence."""
        return _joined([f"{self.names[key]!r} (id {key})" for key in sorted(ids)])


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryMap:
    """Which category each label of a model is.

    Attributes:
        ids: Category id of each label; detections with other labels are not scored.
        remark: What a reader of the scores must know, as a sentence; empty if nothing.
    """

    ids: dict[int, int]
    remark: str = ""


def read_categories(
    rows: Iterable[Mapping[str, Any]], annotations: Iterable[Mapping[str, Any]], source: str
) -> Categories:
    """Read the list `categories` of an annotation file.

    Args:
        rows: Entries of the list, each with `id` and `name`, and optionally with `supercategory`.
        annotations: Annotations of the file, each with `category_id`.
        source: Name of the file, for messages.

    Raises:
        InputError: An id is not a whole number or has two names, a name is not text, or an annotation has the
            id of no category.

    Example:
        >>> rows = [{"id": 0, "name": "parts"}, {"id": 1, "name": "bolt", "supercategory": "parts"}]
        >>> categories = read_categories(rows, [{"category_id": 1}], "annotations.json")
        >>> categories.names, categories.classes
        ({0: 'parts', 1: 'bolt'}, [1])
    """
    names: dict[int, str] = {}
    groups: dict[int, str] = {}
    for row in rows:
        key = read_whole_number(row, "id", f"{source}: a category")
        name = row.get("name")
        if not isinstance(name, str) or not name.strip():
            msg = f"{source}: category {key}: name must be a text, got {name!r}"
            raise InputError(msg)
        if names.setdefault(key, name.strip()) != name.strip():
            msg = f"{source}: ids of categories must differ, {key} is both {names[key]!r} and {name!r}"
            raise InputError(msg)
        groups[key] = _normalized_name(str(row.get("supercategory") or ""))
    used = {_category_id(item, names, source) for item in annotations}
    non_classes = {key for key in names if is_background(names[key]) or _is_group(key, names, groups)}
    return Categories(
        names=dict(sorted(names.items())),
        used=frozenset(used),
        non_classes=frozenset(non_classes.difference(used)),
    )


def _category_id(item: Mapping[str, Any], names: Mapping[int, str], source: str) -> int:
    where = f"{source}: annotation {item.get('id')}"
    key = read_whole_number(item, "category_id", where)
    if key not in names:
        msg = f"{where} is of category {key}, which the file does not describe"
        raise InputError(msg)
    return key


def _is_group(key: int, names: Mapping[int, str], groups: Mapping[int, str]) -> bool:
    """Tell whether a category is the group of others, or the first one and the only one without a group."""
    others = [group for other, group in groups.items() if other != key]
    if not others or groups[key] not in NO_GROUP:
        return False
    alone = groups[key] == "none" and "none" not in others and key == min(names)
    return alone or _normalized_name(names[key]) in others


def read_whole_number(item: Mapping[str, Any], name: str, where: str) -> int:
    """Read a whole number, which some tools write as a float or as text.

    Raises:
        InputError: The number is missing or not a whole number.
    """
    value = item.get(name)
    if isinstance(value, str) and WHOLE_NUMBER.fullmatch(value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    msg = f"{where}: {name} must be a whole number, got {value!r}"
    raise InputError(msg)


def is_background(name: str) -> bool:
    """Tell whether a name is a usual name of the background.

    Example:
        >>> [is_background(name) for name in ("__background__", "Background", "bolt")]
        [True, True, False]
    """
    return _normalized_name(name).strip("_") in BACKGROUND_NAMES


def ids_by_label(classes: int, categories: Categories) -> dict[int, int] | None:
    """Find the category that each label had in training, from the number of classes.

    Training scripts either use category ids as labels, or number the categories from 1 in the order of their
    ids.

    Args:
        classes: Number of the model's classes, without the background.
        categories: Categories of the file that the model was trained with, or of a similar one.

    Returns:
        Category id of each label, without labels that no category has; None if neither way gives this number
        of classes.

    Example:
        >>> rows = [{"id": 3, "name": "bolt"}, {"id": 7, "name": "nut"}]
        >>> ids_by_label(2, read_categories(rows, [{"category_id": 3}], "annotations.json"))
        {1: 3, 2: 7}
    """
    names, used = categories.names, categories.used
    positive = [key for key in names if key > 0]
    below = used.intersection(names).difference(positive)
    if names and max(names) == classes and all(is_background(names[key]) for key in below):
        return {key: key for key in positive}
    kept = categories.classes
    if len(kept) != classes and len(used) == classes:
        kept = sorted(used)
    # A training script that counts a group as a class has one more label than classes, which is the last.
    if len(kept) == classes or (kept and len(names) == classes):
        return dict(enumerate(kept, start=1))
    return None


def order_remark(ids: Mapping[int, int], categories: Categories) -> str:
    """Say how labels were paired with categories."""
    left_out = set(categories.names).difference(ids.values())
    left = f", without {categories.describe(left_out)}" if left_out else ""
    if all(label == key for label, key in ids.items()):
        return f"category ids were taken as labels{left}"
    return f"categories were taken as labels 1 to {max(ids)} in the order of their ids{left}"


def category_map(class_names: Sequence[str], categories: Categories) -> CategoryMap:
    """Find the category of each class by its name, whatever its case.

    If the classes of a model have numbers instead of names, they are paired as `ids_by_label` describes. A
    single class and a single category are paired whatever their names are.

    Args:
        class_names: Name of each class, by label; label 0 is the background.
        categories: Categories of the annotations; each one that has instances must be a class.

    Raises:
        InputError: A category that has instances is not a class of the model, or names are not unique.

    Example:
        >>> rows = [{"id": 3, "name": "Bolt"}, {"id": 7, "name": "Nut"}]
        >>> categories = read_categories(rows, [{"category_id": 3}], "annotations.json")
        >>> category_map(("__background__", "nut", "bolt"), categories).ids
        {2: 3, 1: 7}
    """
    named = {label: name for label, name in enumerate(class_names) if label and name != UNUSED_NAME}
    names, used = categories.names, categories.used
    ids = _by_name(named, categories)
    missing = [key for key in sorted(used.difference(ids.values())) if not is_background(names[key])]
    if not missing:
        return CategoryMap(ids=ids, remark=_unscored_remark(named, ids, categories))
    if len(named) == len(categories.classes) == 1:
        (label, name), (key,) = *named.items(), categories.classes
        remark = f"the model's only class {name!r} is scored as the annotations' only category {names[key]!r}"
        return CategoryMap(ids={label: key}, remark=remark)
    if all(NUMBERED.fullmatch(name) for name in named.values()):
        known = {key: key for key in names if key in named}
        ids = ids_by_label(len(class_names) - 1, categories) or known
        if set(missing) <= set(ids.values()):
            remark = f"the model's classes have no names; {order_remark(ids, categories)}"
            return CategoryMap(ids=ids, remark=remark)
    msg = (
        f"the annotations have instances of {_quoted(names[key] for key in missing)}, which the model does "
        f"not know: its classes are {_quoted(named.values())}, the categories {_quoted(names.values())}; "
        "take annotations of the model's classes, or name its classes with `edgeseg export --classes FILE`"
    )
    raise InputError(msg)


def _by_name(named: Mapping[int, str], categories: Categories) -> dict[int, int]:
    """Pair labels and categories with the same name; of several categories, those that have instances."""
    found: dict[int, int] = {}
    theirs = _grouped(categories.names)
    for key, mine in _grouped(named).items():
        same = theirs.get(key, [])
        scored = [category for category in same if category in categories.used]
        if len(same) != len(mine):
            same = scored or same
        if scored and len(same) > len(mine):
            msg = (
                f"names of categories must differ, got {categories.describe(same)}; rename one, or make "
                "them one category"
            )
            raise InputError(msg)
        if scored and len(same) < len(mine):
            msg = f"names of the model's classes must differ, got {_quoted(named.values())}"
            raise InputError(msg)
        found.update(zip(mine, same, strict=False))
    return found


def _grouped(names: Mapping[int, str]) -> dict[str, list[int]]:
    """Group the keys whose names are equal whatever their case, sorted by the names as they are written."""
    groups: dict[str, list[int]] = {}
    for number, name in sorted(names.items(), key=lambda item: (item[1], item[0])):
        groups.setdefault(_normalized_name(name), []).append(number)
    return groups


def _unscored_remark(named: Mapping[int, str], ids: Mapping[int, int], categories: Categories) -> str:
    """Say which classes are not scored, and which of several categories with one name."""
    remarks = []
    if unscored := [name for label, name in named.items() if label not in ids]:
        remarks.append(f"not scored, for the annotations have no such category: {_quoted(unscored)}")
    if background := categories.used.difference(ids.values()):
        remarks.append(f"not scored, for it is the background: {categories.describe(background)}")
    taken = {_normalized_name(categories.names[key]) for key in ids.values()}
    left = set(categories.names).difference(ids.values(), background)
    if twice := [key for key in left if _normalized_name(categories.names[key]) in taken]:
        remarks.append(
            f"left out, for a category with instances has the same name: {categories.describe(twice)}"
        )
    return "; ".join(remarks)


def _quoted(names: Iterable[str]) -> str:
    return _joined([repr(name) for name in names])


def _joined(items: Sequence[str]) -> str:
    more = f" and {len(items) - NAMES_SHOWN} more" if len(items) > NAMES_SHOWN else ""
    return ", ".join(items[:NAMES_SHOWN]) + more


def _normalized_name(name: str) -> str:
    return " ".join(name.split()).casefold()
