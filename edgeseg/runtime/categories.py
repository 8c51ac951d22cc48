"""Which class of a model is which category of an annotation file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

# torchvision's name for labels of COCO that no object has.
UNUSED = "N/A"
# What a bundle calls classes whose names nobody gave.
NUMBERED = re.compile(r"class_\d+")
NAMES_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryMap:
    """How labels become categories.

    Attributes:
        ids: Label to category id; detections of other labels are not scored.
        remark: What a reader of the figures must know; empty if nothing.
    """

    ids: dict[int, int]
    remark: str = ""


def category_map(
    class_names: Sequence[str], categories: Mapping[int, str], annotated: Collection[int]
) -> CategoryMap:
    """Find the category of each class: by name, whatever its case.

    Where a model's classes have no names but numbers, ids of categories are taken as labels. One class and
    one category are each other's.

    Args:
        class_names: By label; label 0 is the background.
        categories: Id to name.
        annotated: Ids of the categories that have instances; each must be some class.

    Raises:
        InputError: A category that has instances is no class of the model, or names are not unique.
    """
    named = {label: name for label, name in enumerate(class_names) if label and name != UNUSED}
    ids = _by_name(named, categories)
    if set(annotated) <= set(ids.values()):
        return CategoryMap(ids=ids, remark=_unscored({k: v for k, v in named.items() if k not in ids}))
    if len(named) == len(categories) == 1:
        (label, name), (key, category) = *named.items(), *categories.items()
        remark = f"the model's only class {name!r} is scored as the annotations' only category {category!r}"
        return CategoryMap(ids={label: key}, remark=remark)
    if all(NUMBERED.fullmatch(name) for name in named.values()) and set(annotated) <= set(named):
        remark = "the model's classes have no names; category ids were taken as its labels"
        return CategoryMap(ids={key: key for key in categories if key in named}, remark=remark)
    lacking = [categories[key] for key in sorted(set(annotated) - set(ids.values()))]
    msg = (
        f"the annotations have instances of {_listed(lacking)}, which the model does not know: its classes "
        f"are {_listed(list(named.values()))}, the categories {_listed(list(categories.values()))}; "
        "take annotations of the model's classes, or name its classes with `edgeseg export --classes FILE`"
    )
    raise InputError(msg)


def _by_name(named: Mapping[int, str], categories: Mapping[int, str]) -> dict[int, int]:
    by_name = {_key(name): key for key, name in categories.items()}
    if len(by_name) < len(categories):
        msg = f"names of categories must differ, got {_listed(list(categories.values()))}"
        raise InputError(msg)
    found = {label: by_name[_key(name)] for label, name in named.items() if _key(name) in by_name}
    if len(set(found.values())) < len(found):
        msg = f"names of the model's classes must differ, got {_listed(list(named.values()))}"
        raise InputError(msg)
    return found


def _unscored(left: Mapping[int, str]) -> str:
    if not left:
        return ""
    return f"not scored, for the annotations have no such category: {_listed(list(left.values()))}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(repr(name) for name in names[:NAMES_SHOWN]) + more


def _key(name: str) -> str:
    return name.strip().casefold()
