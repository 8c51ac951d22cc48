"""Detect references to other files in an ONNX file before any library opens it.

An ONNX graph can refer to files with its weights, and its nodes to compiled engines. A library would open
those wherever they are, and the bundle's checksums do not cover them. The message layout is that of
`onnx.proto`, in the wire format of protocol buffers; it is parsed here because devices do not have `onnx`.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, NamedTuple

from edgeseg.errors import ArtifactError
from edgeseg.files.reading import open_regular, read_failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GRAPH_SUFFIX = ".onnx"
# Which fields of a message hold which message, by their numbers in onnx.proto.
NESTED_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse tensor",
        23: "sparse tensor",
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
NAME_FIELD = {"node": 3, "tensor": 8}
OPERATOR_FIELD = 4
EXTERNAL_DATA, DATA_LOCATION = 13, 14
# A node of this type can have the path of an engine as an attribute, which ONNX Runtime opens.
ENGINE_CONTEXT_OPERATOR = b"EPContext"
VARINT, FIXED_64, BYTES, START_GROUP, END_GROUP, FIXED_32 = range(6)
# Protocol buffers refuse messages nested deeper than this.
MAX_DEPTH = 100
# A graph of edgeseg has about ten thousand messages; reading this many takes half a second.
MAX_MESSAGES = 300_000
MAX_VARINT_BYTES = 10


class _Field(NamedTuple):
    number: int
    kind: int
    start: int
    end: int


def check_self_contained(graph: Path) -> None:
    """Refuse an ONNX graph that takes weights or engines from other files.

    A file that is missing or not a protocol buffer is accepted here; the library that loads it reports the
    error. Everything that protocol buffers accept is read.

    Raises:
        ArtifactError: The graph refers to another file, cannot be read, or has too many parts.
    """
    try:
        with open_regular(graph) as stream:
            fault = _fault_in(stream.fileno())
    except (FileNotFoundError, ValueError):
        return
    except OSError as exc:
        raise ArtifactError(read_failure(graph, exc)) from exc
    if fault:
        msg = f"{graph} {fault}; a graph of a bundle must hold everything itself: export it again"
        raise ArtifactError(msg)


def _fault_in(file: int) -> str:
    size = os.fstat(file).st_size
    if not size:
        return ""
    with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as data:
        pending = [("model", 0, size, 0)]
        count = 0
        while pending:
            kind, start, end, depth = pending.pop()
            count += 1
            if count > MAX_MESSAGES or depth > MAX_DEPTH:
                return "has more parts, or deeper ones, than a graph of edgeseg can have"
            inner = NESTED_MESSAGES[kind]
            for field in _fields(data, start, end):
                if fault := _fault(data, kind, field, (start, end)):
                    return fault
                if field.kind == BYTES and field.number in inner:
                    pending.append((inner[field.number], field.start, field.end, depth + 1))
    return ""


def _fault(data: mmap.mmap, kind: str, field: _Field, span: tuple[int, int]) -> str:
    if kind == "tensor" and (
        field.number == EXTERNAL_DATA
        or (field.number == DATA_LOCATION and _varint(data, field.start, field.end)[0] != 0)
    ):
        return f"takes the numbers of {_name(data, kind, span)} from another file (external data)"
    if (
        kind == "node"
        and field.number == OPERATOR_FIELD
        and data[field.start : field.end] == ENGINE_CONTEXT_OPERATOR
    ):
        return f"has a node {_name(data, kind, span)} that loads an engine (EPContext), maybe of another file"
    return ""


def _name(data: mmap.mmap, kind: str, span: tuple[int, int]) -> str:
    for field in _fields(data, *span):
        if field.number == NAME_FIELD[kind] and field.kind == BYTES:
            return ascii(data[field.start : min(field.end, field.start + 80)].decode(errors="replace"))
    return "without a name"


def _fields(data: mmap.mmap, position: int, end: int) -> Iterator[_Field]:
    """List the fields of a message.

    Raises:
        ValueError: The data is not a valid message.
    """
    groups = 0
    while position < end:
        key, start = _varint(data, position, end)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            _, position = _varint(data, start, end)
        elif kind in (FIXED_32, FIXED_64):
            position = start + (4 if kind == FIXED_32 else 8)
        elif kind == BYTES:
            length, start = _varint(data, start, end)
            position = start + length
        elif kind in (START_GROUP, END_GROUP):
            # Groups are deprecated and no known field uses them, so their content is skipped.
            groups += 1 if kind == START_GROUP else -1
            position = start
            continue
        else:
            number = 0
        if not number or position > end or groups < 0:
            msg = "it is truncated, or no protocol buffer"
            raise ValueError(msg)
        if not groups:
            yield _Field(number, kind, start, position)


def _varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(MAX_VARINT_BYTES):
        if position >= end:
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, position
    msg = "it is truncated, or no protocol buffer"
    raise ValueError(msg)
