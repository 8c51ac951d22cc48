"""Checkpoints that were made to take all memory or all time, by the name of what they do.

Each is a small file, or one with holes. Reading it must end in a sentence, within a second or two and in
little memory; `tests/exporter/checkpoint/test_bombs.py` measures it.
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
import warnings
import zipfile
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "roi_heads.box_predictor.cls_score.weight"
GIB = 1 << 30


def _saved(content: object, *, legacy: bool = False) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


def _model(**tensors: Tensor) -> dict[str, Tensor]:
    return {NAME: torch.ones(2, 4), **tensors}


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    if 0 <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<I", len(data)) + data


def storage(key: str, kind: str = "FloatStorage", count: int = 8) -> bytes:
    return (
        b"("
        + text("storage")
        + f"ctorch\n{kind}\n".encode()
        + text(key)
        + text("cpu")
        + number(count)
        + b"tQ"
    )


def sizes(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(key: str, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """Pickle a tensor of any shape upon any storage."""
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage(key)
        + number(offset)
        + sizes(size)
        + sizes(stride)
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def pickled(*body: bytes) -> bytes:
    return b"\x80\x02" + b"".join(body) + b"."


def mapping(entries: dict[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(name) + value for name, value in entries.items()) + b"u"


def archive(pickle: bytes, storages: dict[str, bytes] | None = None, *, packed: bool = False) -> bytes:
    """Make a zip like torch.save's."""
    stream = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", method) as file:
        file.writestr("archive/data.pkl", pickle)
        for key, data in (storages if storages is not None else {"0": bytes(32)}).items():
            file.writestr(f"archive/data/{key}", data)
    return stream.getvalue()


def _one(size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    return archive(pickled(mapping({NAME: tensor("0", size, stride, offset)})))


def _many_small_of_large(count: int = 2000) -> bytes:
    """Many storages that are the same two megabytes of the file, each with a tensor of one number."""
    numbers = bytes(2 << 20)
    entries = {f"w{index}": tensor(str(index), (1,), (1,)) for index in range(count)}
    data = bytearray(
        archive(pickled(mapping({NAME: tensor("0", (2, 4), (4, 1)), **entries})), {"0": numbers})
    )
    end = data.rfind(b"PK\x05\x06")
    start = struct.unpack("<I", data[end + 16 : end + 20])[0]
    directory = bytes(data[start:end])
    row = directory[directory.rfind(b"PK\x01\x02") :]
    name = b"archive/data/0"
    rows = b"".join(
        row[:28]
        + struct.pack("<H", len(name) - 1 + len(str(index)))
        + row[30:46]
        + name[:-1]
        + str(index).encode()
        + row[46 + len(name) :]
        for index in range(1, count)
    )
    directory += rows
    tail = bytearray(data[end:])
    tail[8:16] = struct.pack("<HHI", count + 1, count + 1, len(directory))
    return bytes(data[:start]) + directory + bytes(tail)


def _entries(count: int = 60_000) -> bytes:
    """An archive of very many empty members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("archive/data.pkl", pickled(b"}"))
        for index in range(count):
            file.writestr(zipfile.ZipInfo(f"archive/data/{index}"), b"")
    return stream.getvalue()


def _nested_loads(levels: int = 8, times: int = 40) -> bytes:
    """Checkpoints within checkpoints, each read many times by the one around it."""
    inner = pickled(b"}")
    for _ in range(levels):
        load = b"ctorch.storage\n_load_from_bytes\n"
        data = b"B" + struct.pack("<I", len(inner)) + inner
        inner = pickled(load, b"q\x00", data, b"q\x01", b"](", b"h\x00h\x01\x85R" * times, b"e")
    return inner


def _copies(function: str, times: int = 50_000, length: int = 50_000) -> bytes:
    """One long list, copied again and again."""
    one = b"](" + b"K\x01" * length + b"e"
    made = f"c{function.replace(' ', chr(10))}\n".encode()
    return pickled(one, b"q\x00", made, b"q\x01", b"](", b"h\x01h\x00\x85R" * times, b"e")


def _doubling(levels: int = 60) -> bytes:
    """Lists that hold the one before twice: 2 to the power of `levels` in all."""
    return pickled(b"]q\x00", *(b"](h\x00h\x00eq\x00" for _ in range(levels)))


def _module(body: bytes) -> bytes:
    return b"ctorch.nn\nModule\n)\x81" + body + b"b"


def _modules_of_modules(children: int = 8) -> bytes:
    """A module that is its own child several times: the tree of its names has no end."""
    own = b"".join(text(f"m{index}") + b"h\x00" for index in range(children))
    state = b"}(" + text("_parameters") + b"}" + text("_buffers") + b"}" + text("_modules")
    return pickled(b"ctorch.nn\nModule\n)\x81q\x00", state + b"}(" + own + b"u" + b"u", b"b")


def _objects_with_one_state(count: int = 20_000) -> bytes:
    """Many objects that share one large dict of attributes."""
    shared = b"}(" + b"".join(text(f"k{index}") + b"K\x01" for index in range(count)) + b"u"
    return pickled(shared, b"q\x00", b"](", b"cthem\nThing\n)\x81h\x00b" * count, b"e")


def _deep_key(depth: int = 900_000) -> bytes:
    return pickled(b"}", b")" + b"\x85" * depth, b"Ns")


def _long_keys(times: int = 100_000) -> bytes:
    large = b"\x8b" + struct.pack("<I", 2 << 20) + b"\x01" * (2 << 20)
    return pickled(large, b"q\x000", b"}", b"h\x00Ns" * times)


def _safetensors(header: dict[str, object] | bytes, data: bytes = b"") -> bytes:
    encode_image = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encode_image)) + encode_image + data


def _tensors(**facts: object) -> dict[str, object]:
    return {NAME: {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **facts}}


def with_holes(path: Path, head: bytes, size: int, tail: bytes = b"") -> None:
    """Write a file that says it is `size` bytes long and takes hardly any place."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
        file.seek(0, os.SEEK_END)
        file.write(tail)


def _stored_hole(path: Path) -> None:
    """An archive with a storage of 3 GiB that is a hole, and a tensor of all of it."""
    count = 3 * GIB
    tensors = mapping({NAME: tensor("0", (count // 4 // 1024, 1024), (1024, 1))})
    data = archive(pickled(tensors), {"0": b""})
    end = data.rfind(b"PK\x05\x06")
    start = struct.unpack("<I", data[end + 16 : end + 20])[0]
    directory = bytearray(data[start:end])
    row = directory.rfind(b"PK\x01\x02")
    directory[row + 20 : row + 28] = struct.pack("<II", count, count)
    tail = bytearray(data[end:])
    tail[16:20] = struct.pack("<I", start + count)
    with_holes(path, data[:start], start + count, bytes(directory) + bytes(tail))


def _legacy(size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    return _saved(_model(w=torch.zeros(1).as_strided(size, stride)), legacy=True)


def _legacy_lie() -> bytes:
    """The old format, with a storage that says it has 2 to the power of 60 numbers."""
    data = _saved(_model(), legacy=True)
    place = data.rfind(struct.pack("<q", 8))
    return data[:place] + struct.pack("<q", 2**60) + data[place + 8 :]


ALL: dict[str, Callable[[], bytes]] = {
    "stride 0": lambda: _saved(_model(w=torch.zeros(1).expand(44_000, 44_000))),
    "stride 0, legacy": lambda: _legacy((44_000, 44_000), (0, 0)),
    "stride 0, pickled": lambda: _one((44_000, 44_000), (0, 0)),
    "overlapping strides": lambda: _saved(_model(w=torch.zeros(60_000).as_strided((30_000, 30_000), (1, 1)))),
    "many views": lambda: _saved(_model(**{f"w{i}": torch.zeros(1).expand(4_000_000) for i in range(300)})),
    "offset beyond": lambda: _one((2, 2), (2, 1), 2**40),
    "negative offset": lambda: _one((2, 2), (2, 1), -8),
    "negative stride": lambda: _one((2, 2), (-2, 1), 4),
    "negative size": lambda: _one((-2, 2), (2, 1)),
    "negative size that pays for a large one": lambda: archive(
        pickled(
            mapping(
                {
                    NAME: tensor("0", (2, 4), (4, 1)),
                    "a": tensor("0", (44_000, 44_000), (0, 0)),
                    "b": tensor("0", (-(2**40), 1), (0, 0)),
                }
            )
        )
    ),
    "sizes whose product overflows": lambda: _one((2**62, 2**62), (0, 0)),
    "no elements of huge sizes": lambda: _one((0, 2**62), (0, 0)),
    "a thousand dimensions": lambda: _one((2**62,) * 20_000, (0,) * 20_000),
    "meta": lambda: _saved({NAME: torch.empty(2**20, 2**20, device="meta")}),
    "sparse": lambda: _saved({NAME: torch.sparse_coo_tensor(torch.zeros(2, 1), [1.0], (2**20, 2**20))}),
    "compressed": lambda: archive(pickled(b"}"), {"0": bytes(256 << 20)}, packed=True),
    "compressed pickle": lambda: archive(pickled(b"N0" * (32 << 20)), {}, packed=True),
    "one storage under many names": _many_small_of_large,
    "very many members": _entries,
    "a nested archive": lambda: archive(
        pickled(b"}"), {"0": archive(pickled(b"}"), {"0": bytes(64 << 20)}, packed=True)}
    ),
    "a legacy storage that lies": _legacy_lie,
    "a pickle of empty dicts": lambda: pickled(b"}" * 40_000_000),
    "a pickle of marks": lambda: pickled(b"(" * 10_000_000),
    "a zip of empty dicts": lambda: archive(pickled(b"}" * 40_000_000)),
    "objects of nothing": lambda: pickled(b"cthem\nThing\nq\x00", b"h\x00)\x81" * 3_000_000),
    "wide text": lambda: pickled(*(text("a" * 4_000_000 + "\U0001f600") for _ in range(15))),
    "long names": lambda: pickled(text("a" * 2_000_000), b"q\x000](", b"h\x00h\x00\x93" * 5000, b"e"),
    "a list copied": lambda: _copies("builtins list"),
    "a tuple copied": lambda: _copies("torch Size"),
    "a text encoded": lambda: pickled(
        b"c_codecs\nencode\nq\x00", text("a" * 2_000_000), b"q\x01](", b"h\x00h\x01\x85R" * 5000, b"e"
    ),
    "lists that double": _doubling,
    "checkpoints in checkpoints": _nested_loads,
    "modules of modules": _modules_of_modules,
    "objects with one state": _objects_with_one_state,
    "a key that is nested deeply": _deep_key,
    "a key that is a long number": _long_keys,
    "a long number": lambda: pickled(b"\x8b" + struct.pack("<I", 2**31 - 1) + b"\x01" * 100),
    "a long text": lambda: b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"abc.",
    "long bytes": lambda: b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc.",
    "a long frame": lambda: b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"}.",
    "nested deeply": lambda: pickled(b"]" * 500_000 + b"a" * 499_999),
    "safetensors: a header of 2^63": lambda: struct.pack("<Q", 2**63) + b"{" + bytes(100),
    "safetensors: a header of 64 MB": lambda: _safetensors(b'{"a":[' + b"[]," * (20 << 20) + b"1]}"),
    "safetensors: nested deeply": lambda: _safetensors(b'{"__metadata__":' + b"[" * 100_000),
    "safetensors: overlapping": lambda: _safetensors(
        {**_tensors(), "w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, bytes(16)
    ),
    "safetensors: another type": lambda: _safetensors(_tensors(dtype="F64"), bytes(16)),
    "safetensors: sizes that overflow": lambda: _safetensors(_tensors(shape=[2**62, 8]), bytes(16)),
    "safetensors: negative sizes": lambda: _safetensors(_tensors(shape=[-2, -2]), bytes(16)),
    "safetensors: no elements": lambda: _safetensors(_tensors(shape=[0, 2**40], data_offsets=[0, 0])),
}
HOLES: dict[str, Callable[[Path], None]] = {
    "a hole of 1 TiB": lambda path: with_holes(path, b"", 1 << 40),
    "a hole in an archive": _stored_hole,
    "a hole behind a pickle": lambda path: with_holes(path, pickled(b"}"), 1 << 40),
    "a hole within bytes": lambda path: with_holes(
        path, b"\x80\x04\x8e" + struct.pack("<Q", 3 * GIB), 3 * GIB
    ),
    "a hole in safetensors": lambda path: with_holes(
        path, _safetensors(_tensors(shape=[768, 1 << 20], data_offsets=[0, 3 * GIB])), 3 * GIB + 8 + 112
    ),
    "a hole behind a legacy checkpoint": lambda path: with_holes(
        path, _saved(_model(), legacy=True), 1 << 40
    ),
}


def write(name: str, path: Path) -> None:
    """Write one of them."""
    if name in HOLES:
        HOLES[name](path)
        return
    with warnings.catch_warnings():
        # PyTorch warns of sparse tensors.
        warnings.simplefilter("ignore")
        path.write_bytes(ALL[name]())


if __name__ == "__main__":
    from pathlib import Path as _Path

    write(sys.argv[1], _Path(sys.argv[2]))
