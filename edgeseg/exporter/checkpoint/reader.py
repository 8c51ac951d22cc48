"""Reading a checkpoint without running any code in it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from torch import Tensor

from edgeseg.bundle.manifest import MANIFEST
from edgeseg.errors import InputError
from edgeseg.files.reading import allocated_size, open_regular, read_failure, sha256_from_file
from edgeseg.optional import require
from edgeseg.records import short_repr

from .archive import check_unfolding, open_file, tensor_from_record
from .bounds import PickleError
from .defects import float_weights
from .file_kinds import SAVE_HINT, CheckpointFormat, detect_format
from .metadata import find_class_names, find_settings
from .state_dict import WeightSet, other_weights, weight_sets
from .unpickle import Instance, RefusedError, TensorRecord

STATE_DICT_KEYS = ("model_state_dict", "state_dict", "model")
MAX_NAMED = 5
# A model with its optimiser and a copy has a tenth of it.
MAX_FILE_BYTES = 16 << 30
MAX_HOLE_BYTES = 1 << 30
# Of safetensors, as JSON: a ResNet-152 has 0.1 MB.
MAX_HEADER_BYTES = 2 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        weights: Tensors by torchvision's current names; `float32` where they were of another float type.
        class_names: Names found beside the weights; empty if none.
        settings: What the file says beside its weights, by the names of `ModelSettings`.
        module: The whole model, where the file holds one, as it was pickled; none of it was created.
        legacy_names: Names of its layers are of a torchvision before 0.14.
        remarks: What its owner should know.
        sha256: Hash of the file.
    """

    path: Path
    weights: dict[str, Tensor]
    class_names: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    module: Instance | None = None
    legacy_names: bool = False
    remarks: tuple[str, ...] = ()
    sha256: str


def read_checkpoint(path: Path) -> Checkpoint:
    """Read weights, and what is said beside them, from a file of `torch.save` or safetensors.

    The weights may be bare, nested, under any prefix, in any precision, or those of a whole pickled model.

    Raises:
        InputError: No such file, empty, truncated, no checkpoint, no weights in it, or a tensor is broken.
    """
    try:
        _check_file(path)
    except OSError as exc:
        raise InputError(read_failure(path, exc)) from exc
    with open_regular(path) as stream:
        try:
            _check_stored_size(path, stream)
            if detect_format(path) is CheckpointFormat.SAFETENSORS:
                content, metadata = _read_safetensors(path, stream)
            else:
                content = metadata = open_file(stream)
            chosen, remarks = _choose_weights(content, path)
            weights = _read_weights(chosen.tensors, path, allocated_size(stream))
            sha256 = sha256_from_file(path)
        except (PickleError, MemoryError) as exc:
            msg = f"{path} is truncated or not a PyTorch checkpoint: {_first_sentence(exc)}"
            raise InputError(msg) from exc
        except RefusedError as exc:
            msg = f"{path} cannot be exported: {exc}"
            raise InputError(msg) from exc
        except OSError as exc:
            raise InputError(read_failure(path, exc)) from exc
        except RecursionError as exc:
            msg = f"{path} is nested more deeply than any checkpoint of a model"
            raise InputError(msg) from exc
    return Checkpoint(
        path=path,
        weights=float_weights(weights, str(path)),
        class_names=find_class_names(metadata),
        settings=find_settings(metadata, sha256, str(path)),
        module=chosen.module,
        legacy_names=chosen.legacy_names,
        remarks=remarks,
        sha256=sha256,
    )


def _check_file(path: Path) -> None:
    if not path.exists():
        msg = f"no checkpoint at {path}"
        raise InputError(msg)
    if path.is_dir():
        bundle = (path / MANIFEST).is_file()
        what = "a folder: a bundle, which has been exported already" if bundle else "a folder"
        msg = f"a checkpoint is a file, {path} is {what}"
        raise InputError(msg)
    if not path.is_file():
        msg = f"a checkpoint is a file, {path} is something else"
        raise InputError(msg)
    if path.stat().st_size == 0:
        msg = f"checkpoint {path} is empty (0 bytes); copy it again"
        raise InputError(msg)


def _check_stored_size(path: Path, stream: IO[bytes]) -> None:
    """Refuse a file that is too large for a checkpoint, or that is a hole for the most part."""
    size, stored_bytes = os.fstat(stream.fileno()).st_size, allocated_size(stream)
    if size > MAX_FILE_BYTES:
        msg = f"{path} has {size / 2**30:,.0f} GiB, and a checkpoint may have {MAX_FILE_BYTES >> 30}"
        raise InputError(msg)
    if size - stored_bytes > MAX_HOLE_BYTES and stored_bytes < size // 4:
        msg = f"{path} is a hole for the most part: the copy is broken; copy it again"
        raise InputError(msg)


def _read_safetensors(path: Path, stream: IO[bytes]) -> tuple[Any, Any]:
    stream.seek(0)
    header = int.from_bytes(stream.read(8), "little")
    if header > MAX_HEADER_BYTES:
        msg = f"{path} is truncated or not a safetensors file: its header says that it has {header:,} bytes"
        raise InputError(msg)
    stored_bytes = allocated_size(stream)
    safetensors = require("safetensors", purpose="read a .safetensors checkpoint")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            names = list(file.keys())
            sizes = [tuple(file.get_slice(name).get_shape()) for name in names]
            check_unfolding([TensorRecord(size=size) for size in sizes], stored_bytes)
            weights = {name: file.get_tensor(name) for name in names}
            metadata = file.metadata() or {}
    except (safetensors.SafetensorError, OSError, AttributeError, ValueError) as exc:
        msg = f"{path} is truncated or not a safetensors file: {_first_sentence(exc)}"
        raise InputError(msg) from exc
    return weights, {key: _json_or_none(value) for key, value in metadata.items()}


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _choose_weights(content: Any, path: Path) -> tuple[WeightSet, tuple[str, ...]]:
    sets = weight_sets(content)
    if not sets:
        return _other_tensors(content, path), ()
    first, *others = sets
    others = [one for one in others if one.location != first.location]
    if not others:
        return first, ()
    names = ", ".join(repr(one.location) for one in others[:MAX_NAMED])
    return first, (
        f"{path.name} holds the model {len(others) + 1} times: {first.location or 'its top level'!r} is "
        f"exported, and not {names}; to export another, save it alone",
    )


def _other_tensors(content: Any, path: Path) -> WeightSet:
    """Take all tensors in the file; their names show which other model it is.

    Raises:
        InputError: There are none.
    """
    other = other_weights(content)
    if other is not None and other.module is not None:
        msg = f"{path} must hold a torchvision MaskRCNN and holds a whole {other.module.name}; {SAVE_HINT}"
        raise InputError(msg)
    if other is not None:
        return other
    found = "a tensor" if isinstance(content, TensorRecord) else f"a {type(content).__name__}"
    if isinstance(content, Instance):
        found = f"a {content.name}"
    elif isinstance(content, dict):
        kinds = [f"{short_repr(key)}{_kind(value)}" for key, value in list(content.items())[:MAX_NAMED]]
        found = f"keys {', '.join(kinds)}" if kinds else "nothing"
    msg = (
        f"{path} must hold a state_dict, bare or under {', '.join(STATE_DICT_KEYS)}, or a whole model; found "
        f"{found}; {SAVE_HINT}"
    )
    raise InputError(msg)


def _kind(value: Any) -> str:
    return f" (a {value.name})" if isinstance(value, Instance) else ""


def _read_weights(tensors: dict[str, Any], path: Path, stored_bytes: int) -> dict[str, Tensor]:
    """Read the tensors that were chosen, and no others."""
    records = {name: value for name, value in tensors.items() if isinstance(value, TensorRecord)}
    for name, record in records.items():
        if record.fault:
            msg = f"{path}: {name} is {record.fault}; save the weights of the float model"
            raise InputError(msg)
    check_unfolding(list(records.values()), stored_bytes)
    return {
        name: tensor_from_record(value) if isinstance(value, TensorRecord) else value
        for name, value in tensors.items()
    }


def _first_sentence(text: object) -> str:
    lines = str(text).strip().splitlines()
    return lines[0].partition(". ")[0][:200] if lines else type(text).__name__
