"""Conversion between JSON and frozen dataclass records; unknown keys and wrong types are refused."""

from __future__ import annotations

import dataclasses
import json
import math
import reprlib
import types
import typing
from enum import Enum
from typing import Any, TypeVar

from .errors import ArtifactError, ConfigError

RecordT = TypeVar("RecordT")
# Largest 64-bit signed integer; no counter or file size in a record can be larger.
MAX_INT = 2**63 - 1
MAX_REPR_CHARS = 160
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 80


def parse_json(text: str) -> Any:
    """Parse JSON more strictly than Python does.

    Raises:
        ValueError: The text is not JSON, is nested too deeply, or has NaN, Infinity or a duplicate key.
    """
    try:
        return json.loads(text, object_pairs_hook=_object_from_pairs, parse_constant=_refuse_constant)
    except RecursionError as exc:
        msg = "it is nested too deeply"
        raise ValueError(msg) from exc


def short_repr(value: object) -> str:
    """Format a value from a file for a message, shortened to `MAX_REPR_CHARS` characters."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_INT:
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, bytes | bytearray):
        value = bytes(value[:MAX_REPR_CHARS])
    text = _REPR.repr(value)
    return text if len(text) <= MAX_REPR_CHARS else f"{text[: MAX_REPR_CHARS - 3]}..."


def json_from_record(record: Any) -> dict[str, Any]:
    """Convert a record to JSON types; enums become their values and tuples become lists.

    Args:
        record: A dataclass instance whose fields are JSON types, enums, tuples, dicts or records.
    """
    return {field.name: _json_value(getattr(record, field.name)) for field in dataclasses.fields(record)}


def record_from_json(kind: type[RecordT], data: object, *, source: str) -> RecordT:
    """Build a record from parsed JSON.

    Args:
        kind: The dataclass to build.
        data: Parsed JSON; must be an object.
        source: Where the data came from, for messages, such as `model.json`.

    Raises:
        ArtifactError: The data is not an object, has an unknown or missing key, or a value has the wrong type
            or range.
    """
    if not isinstance(data, dict):
        msg = f"{source}: {kind.__name__} must be a JSON object, got {type(data).__name__}"
        raise ArtifactError(msg)
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(data) - set(fields)):
        name = short_repr(unknown[0])
        msg = f"{source}: unknown key {name} in {kind.__name__}; was it written by a newer edgeseg?"
        raise ArtifactError(msg)
    values = {name: _value_from_json(hints[name], value, f"{source}: {name}") for name, value in data.items()}
    try:
        record = kind(**values)
    except TypeError as exc:
        msg = f"{source}: {kind.__name__} is incomplete: {exc}"
        raise ArtifactError(msg) from exc
    except ConfigError as exc:
        msg = f"{source}: {exc}"
        raise ArtifactError(msg) from exc
    # After the record's own checks, because their messages are more specific.
    for name, value in values.items():
        _check_finite(value, f"{source}: {name}")
    return record


def escape_surrogates(data: Any) -> Any:
    """Escape lone surrogates in JSON data; Python puts them into file names that are not UTF-8."""
    if isinstance(data, str):
        return data.encode(errors="backslashreplace").decode()
    if isinstance(data, dict):
        return {escape_surrogates(key): escape_surrogates(item) for key, item in data.items()}
    return [escape_surrogates(item) for item in data] if isinstance(data, list) else data


def check_text(data: Any, *, source: str) -> None:
    """Refuse text with a lone surrogate, which cannot be printed or written.

    Args:
        data: Parsed JSON that is not nested deeply.
        source: Where it came from, for messages.

    Raises:
        ArtifactError: A text has a lone surrogate; the message names its place.
    """
    if isinstance(data, str) and escape_surrogates(data) != data:
        msg = (
            f"{source}: text expected, got {short_repr(data)}, which has half a character (a lone surrogate)"
        )
        raise ArtifactError(msg)
    if isinstance(data, dict):
        for key, item in data.items():
            check_text(key, source=source)
            check_text(item, source=f"{source}: {key}")
    if isinstance(data, list):
        for item in data:
            check_text(item, source=source)


def _object_from_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        msg = f"the key {short_repr(twice)} stands twice in an object"
        raise ValueError(msg)
    return found


def _refuse_constant(name: str) -> Any:
    msg = f"{name} is no number in JSON"
    raise ValueError(msg)


def _json_value(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return json_from_record(value)
    if isinstance(value, tuple | list):
        return [_json_value(item) for item in value]
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items()}
    return value


def _value_from_json(hint: Any, value: Any, source: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _value_from_json(next(arg for arg in args if arg is not type(None)), value, source)
    if origin is tuple and isinstance(value, list):
        inner = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(inner) != len(value):
            msg = f"{source}: {len(inner)} values expected, got {len(value)}"
            raise ArtifactError(msg)
        return tuple(_value_from_json(kind, item, source) for kind, item in zip(inner, value, strict=True))
    if origin is dict and isinstance(value, dict):
        return {
            _scalar(str, key, source): _value_from_json(args[1], item, f"{source}.{short_repr(key)[1:-1]}")
            for key, item in value.items()
        }
    if dataclasses.is_dataclass(hint):
        return record_from_json(typing.cast("type[Any]", hint), value, source=source)
    return _scalar(origin or hint, value, source)


def _scalar(kind: Any, value: Any, source: str) -> Any:
    if kind is typing.Any:
        return value
    if issubclass(kind, Enum):
        return _enum_from_json(kind, value, source)
    number = value
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INT:
        number = float(value)
    if not isinstance(number, kind) or (isinstance(value, bool) and kind is not bool):
        msg = f"{source}: {kind.__name__} expected, got {type(value).__name__} {short_repr(value)}"
        raise ArtifactError(msg)
    if isinstance(number, int) and abs(number) > MAX_INT:
        msg = f"{source}: a number within 64 bits expected, got {short_repr(number)}"
        raise ArtifactError(msg)
    return number


def _check_finite(value: Any, source: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        msg = f"{source}: a finite number expected, got {value}"
        raise ArtifactError(msg)
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ():
        _check_finite(item, source)


def _enum_from_json(kind: type[Enum], value: Any, source: str) -> Enum:
    try:
        return kind(value)
    except (ValueError, TypeError) as exc:
        choices = ", ".join(str(item.value) for item in kind)
        msg = f"{source}: one of {choices} expected, got {short_repr(value)}"
        raise ArtifactError(msg) from exc
