"""Class names and settings that a checkpoint has in addition to its weights."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgeseg.errors import ArtifactError, InputError
from edgeseg.settings import SETTING_NAMES, settings_from_json

from .unpickle import Instance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Where `edgeseg.save_checkpoint` writes settings; a key that is not one of them is an error there.
SETTINGS_KEY = "edgeseg"
CLASS_NAME_KEYS = ("class_names", "classes")
# Where trainers keep what they were called with: torchvision's own under `args`, Lightning under the third.
CONFIG_KEYS = ("args", "config", "hyper_parameters", "hparams", "cfg", "meta", "metadata", "model_config")
# The first eight digits of a file's SHA-256 stand in its name on download.pytorch.org.
COCO_WEIGHTS = "bf2d0c1e"
# What torchvision sets when it builds `maskrcnn_resnet50_fpn` with those weights, to train further or not.
COCO_WEIGHTS_SETTINGS: Mapping[str, Any] = MappingProxyType({"batch_norm_eps": {"": 0.0}})
MAX_LABEL = 10_000


def find_class_names(content: Any) -> tuple[str, ...]:
    """Find class names, by label where they are given so; empty if there are none."""
    for mapping in _mappings(content):
        for key in CLASS_NAME_KEYS:
            if names := _names(mapping.get(key)):
                return names
    return ()


def find_settings(content: Any, sha256: str, source: str) -> dict[str, Any]:
    """Find settings: edgeseg's own record, or arguments of torchvision's constructors by their names.

    Args:
        content: The checkpoint, or the metadata of a safetensors file.
        sha256: Of the file, by which torchvision's own weights are known.
        source: For messages.

    Raises:
        InputError: What edgeseg wrote is not what it must be.
    """
    found: dict[str, Any] = {}
    for mapping in _mappings(content):
        found = {**usable_settings(mapping), **found}
        if _uses_coco_weights(mapping):
            found = {**COCO_WEIGHTS_SETTINGS, **found}
    if sha256.startswith(COCO_WEIGHTS):
        found = {**COCO_WEIGHTS_SETTINGS, **found}
    if isinstance(content, dict) and SETTINGS_KEY in content:
        try:
            found |= settings_from_json(content[SETTINGS_KEY], source=f"{source}: {SETTINGS_KEY}")
        except ArtifactError as exc:
            msg = f"{exc}; was the file written by a newer edgeseg?"
            raise InputError(msg) from exc
    return _with_resize_range(found)


def usable_settings(found: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the settings that have a usable value; what is not one of them or cannot work is left out."""
    kept: dict[str, Any] = {}
    for name in SETTING_NAMES:
        if found.get(name) is None:
            continue
        related = {key: found[key] for key in ("anchor_sizes",) if key in found}
        try:
            kept[name] = settings_from_json({**related, name: found[name]}, source="")[name]
        except ArtifactError:
            continue
    return kept


def _with_resize_range(found: dict[str, Any]) -> dict[str, Any]:
    """Derive torchvision's resizing from the input size, where only that is said."""
    size = found.get("input_size_hw")
    if size is None or "min_size" in found or "max_size" in found:
        return found
    return {**found, "min_size": min(size), "max_size": max(size)}


def _mappings(content: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(content, dict):
        return
    yield content
    for key in CONFIG_KEYS:
        value = content.get(key)
        if isinstance(value, Instance):
            yield {**value.items, **value.attributes}
        elif isinstance(value, dict):
            yield value


def _uses_coco_weights(args: Mapping[str, Any]) -> bool:
    """Tell whether torchvision's references/detection/train.py was called with its COCO weights."""
    weights = args.get("weights")
    named = isinstance(weights, str) and weights.endswith(("COCO_V1", "DEFAULT"))
    coco = named or args.get("pretrained") is True
    return args.get("model") == "maskrcnn_resnet50_fpn" and coco


def _is_label(value: Any) -> bool:
    if isinstance(value, str):
        return value.isdecimal() and len(value) <= len(str(MAX_LABEL))
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_LABEL


def _names(value: Any) -> tuple[str, ...]:
    """Read names from a list, or from an object of label to name or of name to label."""
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return tuple(value)
    if not isinstance(value, dict):
        return ()
    pairs = [(label, name) if isinstance(name, str) else (name, label) for label, name in value.items()]
    by_label = {int(label): name for label, name in pairs if _is_label(label) and isinstance(name, str)}
    if not by_label or len(by_label) != len(pairs) or max(by_label) > MAX_LABEL:
        return ()
    return tuple(
        by_label.get(label, f"class_{label}") for label in range(min(*by_label, 1), max(by_label) + 1)
    )
