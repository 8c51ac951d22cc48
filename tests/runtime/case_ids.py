"""Names of parametrised cases whose values pytest would only number."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import numpy as np

LONGEST = 60
FEW = 6


def readable(value: object) -> str | None:
    """Name a value for `ids=`; None leaves it to pytest.

    A size becomes `480x640`, a mapping `threads=0`, an error its class, an array its type and shape.
    """
    if value is None or isinstance(value, (str, bytes, bool, int, float, Enum)):
        return None
    text = _text(value)
    return text if text is not None and len(text) <= LONGEST else None


def _text(value: object) -> str | None:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_part(item)}" for key, item in value.items()) or "nothing"
    if isinstance(value, tuple):
        if len(value) in (2, 3) and all(type(item) is int and item >= 0 for item in value):
            return "x".join(map(str, value))
        return ", ".join(map(_part, value)) or "none"
    if isinstance(value, list):
        return _part(value)
    if isinstance(value, BaseException):
        return type(value).__name__
    if isinstance(value, np.ndarray) and value.size <= FEW:
        return str(value.tolist())
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of {'x'.join(map(str, value.shape))}"
    return _part(value) if isinstance(value, slice) else None


def _part(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return f"({', '.join(map(_part, value))})"
    if isinstance(value, list):
        return f"[{', '.join(map(_part, value))}]"
    if isinstance(value, Mapping):
        return f"({_text(value)})"
    if isinstance(value, slice):
        parts = (value.start, value.stop) if value.step is None else (value.start, value.stop, value.step)
        return ":".join("" if part is None else str(part) for part in parts)
    return "..." if value is Ellipsis else str(value)
