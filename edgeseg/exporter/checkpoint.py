"""Reading a checkpoint without running any code in it."""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgeseg.bundle import sha256_of
from edgeseg.errors import InputError
from edgeseg.optional import require

NESTED_UNDER = ("model_state_dict", "state_dict", "model")
WRAPPER_PREFIXES = ("module.", "_orig_mod.")
CLASS_NAMES_UNDER = ("class_names", "classes")
# torchvision before 0.14 named the layers of three modules differently.
LEGACY_NAMES = (
    (re.compile(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$"), r"\1.0.\2"),
    (re.compile(r"^rpn\.head\.conv\.(weight|bias)$"), r"rpn.head.conv.0.0.\1"),
    (re.compile(r"^roi_heads\.mask_head\.mask_fcn1\.(weight|bias)$"), r"roi_heads.mask_head.0.0.\1"),
    (re.compile(r"^roi_heads\.mask_head\.mask_fcn2\.(weight|bias)$"), r"roi_heads.mask_head.1.0.\1"),
    (re.compile(r"^roi_heads\.mask_head\.mask_fcn3\.(weight|bias)$"), r"roi_heads.mask_head.2.0.\1"),
    (re.compile(r"^roi_heads\.mask_head\.mask_fcn4\.(weight|bias)$"), r"roi_heads.mask_head.3.0.\1"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        weights: Tensors by torchvision's current names; `float32` where they were of another float type.
        class_names: Names found beside the weights; empty if none.
        sha256: Hash of the file.
    """

    path: Path
    weights: dict[str, Tensor]
    class_names: tuple[str, ...]
    sha256: str


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a state_dict from a `.pth` or safetensors file, bare or nested, in any precision.

    Raises:
        InputError: No such file, empty, truncated, more than tensors inside, or no state_dict in it.
    """
    _check_file(path)
    content, names = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    weights = _state_dict(content, path)
    return Checkpoint(path=path, weights=_canonical(weights), class_names=names, sha256=sha256_of(path))


def _check_file(path: Path) -> None:
    if not path.exists():
        msg = f"no checkpoint at {path}"
        raise InputError(msg)
    if not path.is_file():
        msg = f"a checkpoint is a file, {path} is a folder"
        raise InputError(msg)
    if path.stat().st_size == 0:
        msg = f"checkpoint {path} is empty (0 bytes); copy it again"
        raise InputError(msg)


def _read_pickle(path: Path) -> tuple[Any, tuple[str, ...]]:
    try:
        with warnings.catch_warnings():
            # About pickle protocols; what cannot be read raises.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as exc:
        raise InputError(_refusal(path, str(exc))) from exc
    except (
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
        UnicodeDecodeError,
    ) as exc:
        msg = f"{path} is truncated or not a PyTorch checkpoint: {_first_sentence(exc)}"
        raise InputError(msg) from exc
    except OSError as exc:
        msg = f"cannot read {path}: {exc.strerror or exc}"
        raise InputError(msg) from exc
    return content, _names_in(content)


def _refusal(path: Path, reason: str) -> str:
    named = re.search(r"GLOBAL ([\w.]+)", reason)
    if not named:
        return f"{path} is not a PyTorch checkpoint: {_first_sentence(reason)}"
    return (
        f"{path} holds more than tensors: it wants to run {named.group(1)}, which is refused; "
        "save the weights alone with `torch.save(model.state_dict(), path)`"
    )


def _read_safetensors(path: Path) -> tuple[Any, tuple[str, ...]]:
    safetensors = require("safetensors", purpose="read a .safetensors checkpoint")
    try:
        with safetensors.safe_open(path, framework="pt") as stream:
            weights = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a mapping
            metadata = stream.metadata() or {}
    except (safetensors.SafetensorError, OSError) as exc:
        msg = f"{path} is truncated or not a safetensors file: {_first_sentence(exc)}"
        raise InputError(msg) from exc
    return weights, _names_in({key: _json_or_none(value) for key, value in metadata.items()})


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _names_in(content: Any) -> tuple[str, ...]:
    if not isinstance(content, Mapping):
        return ()
    for key in CLASS_NAMES_UNDER:
        names = content.get(key)
        if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
            return tuple(names)
    return ()


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        nested = next(
            (content[key] for key in NESTED_UNDER if isinstance(content.get(key), Mapping)), content
        )
        weights = {key: value for key, value in nested.items() if isinstance(value, torch.Tensor)}
        if weights and all(isinstance(key, str) for key in weights):
            return weights
        found = f"keys {', '.join(map(repr, list(content)[:5]))}" if content else "nothing"
    else:
        found = f"a {type(content).__name__}"
    msg = f"{path} must hold a state_dict, bare or under {', '.join(NESTED_UNDER)}; found {found}"
    raise InputError(msg)


def _canonical(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    while prefix := next((p for p in WRAPPER_PREFIXES if all(key.startswith(p) for key in weights)), None):
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return {
        _current_name(key): value.float() if value.is_floating_point() else value
        for key, value in weights.items()
    }


def _current_name(name: str) -> str:
    for pattern, replacement in LEGACY_NAMES:
        name = pattern.sub(replacement, name)
    return name


def _first_sentence(text: object) -> str:
    lines = str(text).strip().splitlines()
    return lines[0].partition(". ")[0][:200] if lines else type(text).__name__
