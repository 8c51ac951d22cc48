"""Saving a trained model together with the settings that its tensors do not show."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torchvision.models.detection import MaskRCNN

from edgeseg.errors import ConfigError, InputError
from edgeseg.files.records import write_atomically
from edgeseg.optional import require
from edgeseg.records import json_from_record
from edgeseg.settings import ModelSettings

from .checkpoint.defects import float_weights
from .checkpoint.metadata import SETTINGS_KEY
from .checkpoint.state_dict import ANCHOR_TENSOR, WRAPPER_PATTERN
from .class_names import fit_names
from .model.architecture import empty_model
from .model.modules import describe_modules, differences, settings_from_modules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

SAFETENSORS = ".safetensors"
SUFFIXES = (".pth", ".pt", ".ckpt", SAFETENSORS)


def save_checkpoint(
    model: torch.nn.Module, path: str | Path, *, class_names: Sequence[str] | None = None
) -> None:
    """Save a model's weights and every setting that tensors do not show, for `edgeseg export` to read.

    Call it in the training script: sizes, normalisation, anchors, thresholds and the other settings are read
    from the live model, so none of them needs to be given again at export.

    Args:
        model: torchvision `MaskRCNN`, optionally wrapped by `DataParallel` or `torch.compile`; not changed.
        path: A `.pth`, `.pt`, `.ckpt` or `.safetensors` file; an existing one is replaced once the new one is
            complete.
        class_names: One name for each label, with or without the background; None to name them at export.

    Raises:
        ConfigError: The model is not a Mask R-CNN or cannot be rebuilt from its weights and settings, or the
            file name has another ending.
        InputError: The number of class names is not that of the classes, or a weight is NaN or infinite.
        EdgeSegError: The file cannot be written.

    Example:
        >>> import edgeseg
        >>> from torchvision.models.detection import maskrcnn_resnet50_fpn
        >>> model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3, min_size=512)
        >>> edgeseg.save_checkpoint(model, "parts.pth", class_names=["bolt", "nut"])
        >>> torch.load("parts.pth", weights_only=True)["class_names"]
        ['__background__', 'bolt', 'nut']
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        msg = f"a checkpoint must end in one of {', '.join(SUFFIXES)}, got {path.name}"
        raise ConfigError(msg)
    network = _unwrapped_model(model)
    weights = {
        WRAPPER_PATTERN.sub("", name): value.detach().cpu() for name, value in network.state_dict().items()
    }
    checked = float_weights(weights, type(network).__name__)
    settings = _settings(network, checked)
    names = _names(int(checked[ANCHOR_TENSOR].shape[0]), class_names)
    data = _safetensors_bytes if path.suffix.lower() == SAFETENSORS else _torch_bytes
    write_atomically(path, data(weights, json_from_record(settings), names))


def settings_of_model(model: torch.nn.Module) -> ModelSettings:
    """Read from a live model the settings that its tensors do not show."""
    return ModelSettings(**settings_from_modules(describe_modules(model)))


def _unwrapped_model(model: torch.nn.Module) -> MaskRCNN:
    inner: Any = model
    while not isinstance(inner, MaskRCNN):
        wrapped = getattr(inner, "module", None) or getattr(inner, "_orig_mod", None)
        if not isinstance(wrapped, torch.nn.Module):
            msg = f"save_checkpoint takes a torchvision MaskRCNN, got {type(model).__name__}"
            raise ConfigError(msg)
        inner = wrapped
    return inner


def _settings(model: MaskRCNN, weights: dict[str, Tensor]) -> ModelSettings:
    """Read the settings, and check that they and the shapes of the weights suffice to rebuild the model."""
    descriptions = describe_modules(model)
    settings = settings_of_model(model)
    try:
        rebuilt = empty_model(weights, settings)
        faults = differences(descriptions, describe_modules(rebuilt))
    except InputError as exc:
        faults = [str(exc)]
    if faults:
        msg = (
            f"weights and settings are not enough to build this model again: {faults[0]}; save it with "
            "`torch.save(model.state_dict(), path)` and export it with --factory package.module:function"
        )
        raise ConfigError(msg)
    return settings


def _names(classes: int, given: Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    if isinstance(given, str) or not all(isinstance(name, str) for name in given):
        msg = f"class_names must be a list of names, got {given!r}"
        raise InputError(msg)
    return fit_names(classes, tuple(given), source="class_names")


def _safetensors_bytes(weights: dict[str, Tensor], settings: dict[str, Any], names: tuple[str, ...]) -> bytes:
    safetensors = require("safetensors.torch", purpose="write a .safetensors checkpoint")
    metadata = {"format": "pt", SETTINGS_KEY: json.dumps(settings)}
    if names:
        metadata["class_names"] = json.dumps(names)
    # safetensors refuses tensors that share memory.
    data: bytes = safetensors.save({name: value.clone() for name, value in weights.items()}, metadata)
    return data


def _torch_bytes(weights: dict[str, Tensor], settings: dict[str, Any], names: tuple[str, ...]) -> bytes:
    buffer = io.BytesIO()
    content = {
        "model_state_dict": weights,
        SETTINGS_KEY: settings,
        **({"class_names": list(names)} if names else {}),
    }
    torch.save(content, buffer)
    return buffer.getvalue()
