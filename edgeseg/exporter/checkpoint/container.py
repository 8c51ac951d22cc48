"""Files of `torch.save`: a zip since PyTorch 1.6, and pickles with raw numbers behind them before."""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from .unpickle import PickleError, RefusedError, StorageRecord, TensorRecord, read_pickle

PICKLE = "data.pkl"
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
# A local header of a zip: 30 bytes, two of its lengths at 26, then name and extra field.
LOCAL_HEADER = 30
# How many times its own size a file may unfold to as float32: 8-bit numbers do so four times. Views of one
# number that pretend to be a matrix, and some sparse tensors, unfold without end.
MOST_UNFOLDING = 4
ALWAYS_BYTES = 2**26
DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}


@dataclass(slots=True)
class Container:
    """An open file, and where in it the storages are.

    Attributes:
        stream: Of the whole file.
        spans: First byte and number of bytes of each storage.
        kinds: Type of each storage that a pickle refers to.
    """

    stream: IO[bytes]
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    _read: dict[str, bytearray] = field(default_factory=dict)

    def numbers(self, key: str) -> bytearray:
        """Read a storage, once.

        Raises:
            PickleError: It is not in the file.
        """
        if key not in self._read:
            first, count = self.spans.get(key, (0, -1))
            self.stream.seek(first)
            data = bytearray(self.stream.read(max(count, 0)))
            if len(data) != count:
                msg = f"the numbers of tensor {key} are missing or cut off"
                raise PickleError(msg)
            self._read[key] = data
        return self._read[key]


def open_file(stream: IO[bytes]) -> Any:
    """Read what `torch.save` or `pickle.dump` wrote as data; see `unpickle`.

    Args:
        stream: Stays in use: tensors are read from it later, by `tensor_from_record`.

    Raises:
        PickleError: Cut off, or written by something else.
        RefusedError: It wants to run something.
    """
    start = stream.read(4)
    stream.seek(0)
    try:
        return _open_zip(stream) if start == b"PK\x03\x04" else _open_pickles(stream)
    except (ValueError, TypeError, AttributeError, OverflowError, MemoryError) as exc:
        msg = str(exc) or "it says that it is larger than it can be"
        raise PickleError(msg) from exc


def open_stream(data: Any) -> Any:
    """Read a checkpoint within a checkpoint: so a tensor is pickled by `pickle.dump`."""
    if not isinstance(data, bytes | bytearray):
        msg = "a tensor in it has no numbers"
        raise PickleError(msg)
    return open_file(io.BytesIO(data))


def tensor_from_record(record: TensorRecord) -> Tensor:
    """Read a tensor.

    Raises:
        PickleError: Its numbers are missing, cut off, or fewer than its shape says.
        RefusedError: It is of a type that cannot be read.
    """
    storage = record.storage
    if not isinstance(storage, StorageRecord):
        msg = "it refers to numbers that are not there"
        raise PickleError(msg)
    dtype = _dtype(record, storage)
    data = storage.source.numbers(storage.key)
    flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
    try:
        return flat.as_strided(record.size, record.stride, storage.first + record.offset).contiguous()
    except RuntimeError as exc:
        msg = f"a tensor of shape {list(record.size)} has only {flat.numel()} numbers"
        raise PickleError(msg) from exc


def check_unfolding(records: list[TensorRecord], file_size: int) -> None:
    """Refuse weights that take many times more memory than the file has bytes.

    Args:
        records: What is going to be read.
        file_size: In bytes.

    Raises:
        RefusedError: They would.
    """
    unfolded = sum(4 * math.prod(record.size) for record in records)
    if unfolded > MOST_UNFOLDING * file_size + ALWAYS_BYTES:
        msg = (
            f"its weights would take {unfolded / 2**20:,.0f} MiB and the file has {file_size / 2**20:,.1f}: "
            "they repeat a few numbers; save copies, `{k: v.clone() for k, v in model.state_dict().items()}`"
        )
        raise RefusedError(msg)


def _dtype(record: TensorRecord, storage: StorageRecord) -> torch.dtype:
    name = record.dtype.rpartition(".")[2]
    dtype = getattr(torch, name, None) if name else DTYPES.get(storage.kind)
    if not isinstance(dtype, torch.dtype):
        msg = (
            f"it has numbers of type {name or storage.kind} that cannot be read; save the weights as float32"
        )
        raise RefusedError(msg)
    return dtype


def _open_zip(stream: IO[bytes]) -> Any:
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
            pickled = next(item for item in entries if Path(item.filename).name == PICKLE)
            root = pickled.filename.removesuffix(PICKLE)
            order = next((item for item in entries if item.filename == f"{root}byteorder"), None)
            container = Container(stream)
            container.spans = {
                item.filename.removeprefix(f"{root}data/"): _span(stream, item)
                for item in entries
                if item.filename.startswith(f"{root}data/") or item in (pickled, order)
            }
    except (zipfile.BadZipFile, StopIteration, NotImplementedError, ValueError, OSError) as exc:
        msg = str(exc) or f"it has no {PICKLE}"
        raise PickleError(msg) from exc
    if order is not None and container.numbers(order.filename) == b"big":
        raise RefusedError(_BIG_ENDIAN)
    return read_pickle(io.BytesIO(container.numbers(pickled.filename)), container)


def _span(stream: IO[bytes], item: zipfile.ZipInfo) -> tuple[int, int]:
    if item.compress_type != zipfile.ZIP_STORED:
        msg = "it was compressed after torch.save wrote it; unpack it and save it again"
        raise PickleError(msg)
    stream.seek(item.header_offset)
    header = stream.read(LOCAL_HEADER)
    if len(header) != LOCAL_HEADER:
        msg = "it is cut off"
        raise PickleError(msg)
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    return item.header_offset + LOCAL_HEADER + lengths, item.file_size


def _open_pickles(stream: IO[bytes]) -> Any:
    container = Container(stream)
    content = read_pickle(stream, container)
    if content != LEGACY_MAGIC:
        return content
    read_pickle(stream, container)
    system = read_pickle(stream, container)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise RefusedError(_BIG_ENDIAN)
    content = read_pickle(stream, container)
    for key in map(str, read_pickle(stream, container)):
        count = int.from_bytes(stream.read(8), "little")
        width = DTYPES.get(container.kinds.get(key, ""), torch.uint8).itemsize
        container.spans[key] = stream.tell(), count * width
        stream.seek(count * width, io.SEEK_CUR)
    return content


_BIG_ENDIAN = "it was written on a big-endian machine, and its numbers cannot be read here"
