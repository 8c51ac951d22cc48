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

from edgeseg.files.reading import allocated_size

from .bounds import MAX_DIRECTORY_BYTES, MAX_EXTRA_BYTES, BoundedStream, PickleError, ReadBudget
from .unpickle import RefusedError, StorageRecord, TensorRecord, read_pickle

ZIP = b"PK\x03\x04"
PICKLE = "data.pkl"
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
# A local header of a zip: 30 bytes, two of its lengths at 26, then name and extra field.
LOCAL_HEADER = 30
# How many times its own size a file may unfold to as float32: 8-bit numbers do so four times. Views of one
# number that pretend to be a matrix, and some sparse tensors, unfold without end.
MAX_UNFOLDING = 4
ALWAYS_ALLOWED_BYTES = 2**25
# The largest backbone of torchvision has 0.65 billion weights.
MAX_WEIGHT_BYTES = 8 << 30
# Of the numbers that are read for a tensor, how many times more than it has: a part of a larger one.
MAX_VIEW_RATIO = 16
BYTE_ORDER_BYTES = 16
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
# Not every type of PyTorch: numbers taken for quantised ones end the process, and those of half a byte cannot
# be counted.
OTHER_DTYPES = (
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "uint16",
    "uint32",
    "uint64",
)
PLAIN_DTYPES = {*DTYPES.values(), *(getattr(torch, name) for name in OTHER_DTYPES if hasattr(torch, name))}


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

    def read_part(self, key: str, first: int, count: int) -> bytearray:
        """Read a part of a storage.

        Args:
            key: Of the storage.
            first: Byte in it.
            count: Bytes.

        Raises:
            PickleError: It is not in the file.
        """
        start, available = self.spans.get(key, (0, -1))
        data = bytearray()
        if first >= 0 and first + count <= available:
            self.stream.seek(start + first)
            # Not more than is there, whatever the file says of its own size.
            data = bytearray(min(count, _bytes_left(self.stream)))
            self.stream.readinto(data)  # type: ignore[attr-defined]
        if available < 0 or len(data) != count:
            msg = f"the numbers of tensor {key} are missing or cut off"
            raise PickleError(msg)
        return data

    def nested(self, data: Any, budget: ReadBudget) -> Any:
        """Read a checkpoint within this one: so a tensor is pickled by `pickle.dump`."""
        if not isinstance(data, bytes | bytearray):
            msg = "a tensor in it has no numbers"
            raise PickleError(msg)
        budget.enter()
        content = _open_checkpoint(io.BytesIO(data), len(data), budget)
        budget.leave()
        return content


def open_file(stream: IO[bytes]) -> Any:
    """Read what `torch.save` or `pickle.dump` wrote as data; see `unpickle`.

    Args:
        stream: Stays in use: tensors are read from it later, by `tensor_from_record`.

    Raises:
        PickleError: Cut off, written by something else, or made to take all memory or time.
        RefusedError: It wants to run something.
    """
    stored = allocated_size(stream)
    return _open_checkpoint(stream, stored, ReadBudget(octets=stored * 7 // 5 + MAX_EXTRA_BYTES))


def _open_checkpoint(stream: IO[bytes], stored: int, budget: ReadBudget) -> Any:
    """Read a checkpoint.

    Args:
        stream: Of the whole of it.
        stored: Bytes that are really there.
        budget: What may be done and held.

    Raises:
        PickleError: Cut off, or written by something else.
        RefusedError: It wants to run something.
    """
    start = stream.read(4)
    stream.seek(0)
    bounded = BoundedStream(stream, stored)
    try:
        return _open_zip(stream, budget) if start == ZIP else _open_pickles(stream, bounded, budget)
    except (ValueError, TypeError, AttributeError, OverflowError, MemoryError) as exc:
        msg = str(exc) or "it says that it is larger than it can be"
        raise PickleError(msg) from exc


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
    sides = list(zip(record.size, record.stride, strict=True))
    count = 1 + sum((size - 1) * stride for size, stride in sides) if all(record.size) else 0
    if count > MAX_VIEW_RATIO * math.prod(record.size) + ALWAYS_ALLOWED_BYTES // MAX_VIEW_RATIO:
        msg = (
            f"a tensor of shape {list(record.size)} is a small part of {count:,} numbers; save a copy, "
            "`{k: v.clone() for k, v in model.state_dict().items()}`"
        )
        raise RefusedError(msg)
    start = (storage.first + record.offset) * dtype.itemsize
    data = storage.source.read_part(storage.key, start, count * dtype.itemsize)
    try:
        flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return flat.as_strided(record.size, record.stride).contiguous()
    except (RuntimeError, ValueError, TypeError) as exc:
        msg = f"it has numbers of type {dtype} that cannot be read; save the weights as float32"
        raise RefusedError(msg) from exc


def check_unfolding(records: list[TensorRecord], file_size: int) -> None:
    """Refuse weights that take many times more memory than the file has bytes.

    Args:
        records: What is going to be read.
        file_size: In bytes.

    Raises:
        RefusedError: They would.
    """
    unfolded = sum(4 * math.prod(record.size) for record in records)
    if unfolded > MAX_UNFOLDING * file_size + ALWAYS_ALLOWED_BYTES:
        msg = (
            f"its weights would take {_mebibytes(unfolded)} MiB and the file has {file_size / 2**20:,.1f}: "
            "they repeat a few numbers; save copies, `{k: v.clone() for k, v in model.state_dict().items()}`"
        )
        raise RefusedError(msg)
    if unfolded > MAX_WEIGHT_BYTES:
        msg = f"its weights would take {_mebibytes(unfolded)} MiB, as those of no Mask R-CNN do"
        raise RefusedError(msg)


def _mebibytes(octets: int) -> str:
    return f"{octets / 2**20:,.0f}" if octets < 2**63 else "more than a million million"


def _bytes_left(stream: IO[bytes]) -> int:
    position = stream.tell()
    end = stream.seek(0, io.SEEK_END)
    stream.seek(position)
    return max(0, end - position)


def _dtype(record: TensorRecord, storage: StorageRecord) -> torch.dtype:
    name = record.dtype.rpartition(".")[2]
    dtype = getattr(torch, name, None) if name else DTYPES.get(storage.kind)
    if not isinstance(dtype, torch.dtype) or dtype not in PLAIN_DTYPES:
        msg = (
            f"it has numbers of type {name or storage.kind} that cannot be read; save the weights as float32"
        )
        raise RefusedError(msg)
    return dtype


def members(stream: IO[bytes]) -> list[zipfile.ZipInfo]:
    """List what is in an archive, if that is not very much.

    Raises:
        PickleError: It is, or the archive has no end.
    """
    bounded: Any = BoundedStream(stream, MAX_DIRECTORY_BYTES)
    try:
        with zipfile.ZipFile(bounded) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, OSError) as exc:
        raise PickleError(str(exc)) from exc


def _open_zip(stream: IO[bytes], budget: ReadBudget) -> Any:
    entries = members(stream)
    budget.use_steps(len(entries))
    pickled = next((item for item in entries if Path(item.filename).name == PICKLE), None)
    if pickled is None:
        msg = f"it has no {PICKLE}"
        raise PickleError(msg)
    root = pickled.filename.removesuffix(PICKLE)
    order = next((item for item in entries if item.filename == f"{root}byteorder"), None)
    container = Container(stream)
    container.spans = {
        item.filename.removeprefix(f"{root}data/"): _member_span(stream, item)
        for item in entries
        if item.filename.startswith(f"{root}data/") or item in (pickled, order)
    }
    if order is not None:
        count = min(order.file_size, BYTE_ORDER_BYTES)
        if container.read_part(order.filename, 0, count) == b"big":
            raise RefusedError(_BIG_ENDIAN)
    # From where it lies: a pickle can be as large as the file, and what stands behind it is not read.
    stream.seek(container.spans[pickled.filename][0])
    return read_pickle(BoundedStream(stream, pickled.file_size), container, budget)


def _member_span(stream: IO[bytes], item: zipfile.ZipInfo) -> tuple[int, int]:
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


def _open_pickles(stream: IO[bytes], bounded: BoundedStream, budget: ReadBudget) -> Any:
    container = Container(stream)
    content = read_pickle(bounded, container, budget)
    if not isinstance(content, int) or content != LEGACY_MAGIC:
        return content
    read_pickle(bounded, container, budget)
    system = read_pickle(bounded, container, budget)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise RefusedError(_BIG_ENDIAN)
    content = read_pickle(bounded, container, budget)
    for key in _storage_keys(read_pickle(bounded, container, budget)):
        count = int.from_bytes(stream.read(8), "little")
        width = DTYPES.get(container.kinds.get(key, ""), torch.uint8).itemsize
        container.spans[key] = stream.tell(), count * width
        stream.seek(count * width, io.SEEK_CUR)
    return content


def _storage_keys(found: Any) -> list[str]:
    if not isinstance(found, list) or not all(isinstance(key, str | int) for key in found):
        msg = "its list of numbers is none"
        raise PickleError(msg)
    return list(map(str, found))


_BIG_ENDIAN = "it was written on a big-endian machine, and its numbers cannot be read here"
