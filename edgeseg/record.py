"""JSON to and from frozen dataclass records, refusing what a record does not know."""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import Enum
from typing import Any, TypeVar

from .errors import ArtifactError, ConfigError

RecordT = TypeVar("RecordT")


def json_from_record(record: Any) -> dict[str, Any]:
    """Turn a record into JSON's types: enums become their values, tuples lists.

    Args:
        record: A dataclass instance whose fields are JSON types, enums, tuples, dicts or records.
    """
    return {field.name: _plain(getattr(record, field.name)) for field in dataclasses.fields(record)}


def record_from_json(kind: type[RecordT], data: object, *, source: str) -> RecordT:
    """Build a record from parsed JSON.

    Args:
        kind: The dataclass to build.
        data: Parsed JSON; must be an object.
        source: Where it came from, for messages: `model.json`.

    Raises:
        ArtifactError: Not an object, an unknown or missing key, or a value of the wrong type or range.
    """
    if not isinstance(data, dict):
        msg = f"{source}: {kind.__name__} must be a JSON object, got {type(data).__name__}"
        raise ArtifactError(msg)
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(data) - set(fields)):
        msg = f"{source}: unknown key {unknown[0]!r} in {kind.__name__}; was it written by a newer edgeseg?"
        raise ArtifactError(msg)
    values = {name: _typed(hints[name], value, f"{source}: {name}") for name, value in data.items()}
    try:
        return kind(**values)
    except TypeError as exc:
        msg = f"{source}: {kind.__name__} is incomplete: {exc}"
        raise ArtifactError(msg) from exc
    except ConfigError as exc:
        msg = f"{source}: {exc}"
        raise ArtifactError(msg) from exc


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return json_from_record(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _typed(hint: Any, value: Any, source: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _typed(next(arg for arg in args if arg is not type(None)), value, source)
    if origin is tuple and isinstance(value, list):
        inner = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(inner) != len(value):
            msg = f"{source}: {len(inner)} values expected, got {len(value)}"
            raise ArtifactError(msg)
        return tuple(_typed(kind, item, source) for kind, item in zip(inner, value, strict=True))
    if origin is dict and isinstance(value, dict):
        return {key: _typed(args[1], item, f"{source}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return record_from_json(typing.cast("type[Any]", hint), value, source=source)
    return _scalar(origin or hint, value, source)


def _scalar(kind: Any, value: Any, source: str) -> Any:
    if kind is typing.Any:
        return value
    if issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError as exc:
            msg = f"{source}: one of {', '.join(str(item.value) for item in kind)} expected, got {value!r}"
            raise ArtifactError(msg) from exc
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        msg = f"{source}: {kind.__name__} expected, got {type(value).__name__} {value!r}"
        raise ArtifactError(msg)
    return value
