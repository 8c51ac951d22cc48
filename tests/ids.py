"""What a parametrised case is called where pytest would number it, as in `args0`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence, Set
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np

# Longer names would fill the terminal.
MOST_CHARACTERS = 60
# An array of more numbers is named by its type and shape.
MOST_NUMBERS = 6


def readable_id(value: object) -> str | None:
    """Name a value; None where pytest's own name is readable, or where nothing short can be said.

    Examples:
        >>> readable_id(("--images", "absent"))
        '--images absent'
        >>> readable_id({"size_hw": (32, 64), "batch": 2})
        'size_hw=32 64, batch=2'
    """
    words = _words(value)
    if words is None:
        return None
    # As pytest writes texts; a lone surrogate could not be printed or stored.
    words = words.encode("unicode_escape").decode("ascii")
    return words if len(words) <= MOST_CHARACTERS else f"{words[: MOST_CHARACTERS - 3]}..."


def _words(value: object) -> str | None:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_part(item)}" for key, item in value.items()) or "empty"
    if isinstance(value, Set):
        return " ".join(sorted(map(_part, value))) or "empty"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return " ".join(map(_part, value)) or "empty"
    if isinstance(value, np.ndarray):
        return str(value.tolist()) if value.size <= MOST_NUMBERS else f"{value.dtype}{list(value.shape)}"
    if isinstance(value, slice):
        ends = (value.start, value.stop) if value.step is None else (value.start, value.stop, value.step)
        return ":".join("" if end is None else str(end) for end in ends)
    if value is Ellipsis:
        return "..."
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, BaseException):
        return " ".join([type(value).__name__, *map(_part, value.args)])
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return f"{type(value).__name__}({_changes(value)})"
    return None


def _part(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Sequence | Mapping | Set) and not isinstance(value, str | bytes):
        return f"({_words(value)})" if len(value) else "()"
    return _words(value) or str(getattr(value, "__name__", value))


def _changes(record: Any) -> str:
    """The fields that are not at their defaults."""
    return ", ".join(
        f"{field.name}={_part(getattr(record, field.name))}"
        for field in dataclasses.fields(record)
        if field.default is dataclasses.MISSING or getattr(record, field.name) != field.default
    )
