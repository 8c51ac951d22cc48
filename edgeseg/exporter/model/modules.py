"""What the modules of a Mask R-CNN are and compute with, of a live model and of a pickled one alike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from edgeseg.errors import InputError
from edgeseg.exporter.checkpoint.bounds import PickleError, ReadBudget
from edgeseg.exporter.checkpoint.metadata import usable_settings
from edgeseg.exporter.checkpoint.state_dict import (
    MAX_MODULE_DEPTH,
    MAX_NAME_BYTES,
    WRAPPER_PATTERN,
    is_module,
)
from edgeseg.exporter.checkpoint.unpickle import Global, Instance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MASK_RCNN = "torchvision.models.detection.mask_rcnn.MaskRCNN"
KNOWN_PACKAGES = ("torch", "torchvision")
NORMS = ("BatchNorm2d", "FrozenBatchNorm2d", "SyncBatchNorm", "NaiveSyncBatchNorm")
# One layer after the other, by whatever name the release has for it.
SEQUENCE_KINDS = re.compile(r"^(Sequential|MaskRCNNHeads|Conv2d?(BN|Norm)(ReLU|Activation)6?)$")
# They do nothing outside training.
TRAINING_ONLY = re.compile(r"^(Identity|Dropout\w*|StochasticDepth)$")
# Parts whose layers have other places and names in releases before 0.14.
RENAMED_PARTS = re.compile(r"^(rpn\.head|roi_heads\.mask_head|backbone\.fpn)\.")
# Attributes that change nothing in evaluation, or that the settings have.
IGNORED_ATTRIBUTES = re.compile(
    r"^(_.*|training|inplace|momentum|p|sampling_ratio|output_size|min_size|max_size|image_mean|image_std|"
    r"fixed_size|sizes|aspect_ratios|cell_anchors)$"
)
FEATURE_MAPS = "featmap_names"
MAX_VALUES = 64
# At attributes of modules: a ResNet-152 has ten thousand.
MAX_ATTRIBUTES = 200_000
MODULE_ATTRIBUTES = frozenset(vars(nn.Module())) | {"training"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleDescription:
    """One module, or a helper object of one.

    Attributes:
        kind: Class with its module, such as `torch.nn.modules.conv.Conv2d`.
        values: Its plain attributes: numbers, texts, and tuples and dicts of them.
        leaf: Whether it contains no other modules.
    """

    kind: str
    values: dict[str, Any]
    leaf: bool

    @property
    def name(self) -> str:
        """Class without its module."""
        return self.kind.rpartition(".")[2]


ModuleMap = dict[str, ModuleDescription]


def describe_modules(model: nn.Module | Instance) -> ModuleMap:
    """Describe the modules of a model by their names; "" is the model itself.

    Args:
        model: Live, or as it was pickled: nothing of it is created then.

    Raises:
        InputError: A module contains itself.
    """
    try:
        return dict(_describe(model, "", ReadBudget(octets=MAX_NAME_BYTES, steps=MAX_ATTRIBUTES)))
    except (PickleError, RecursionError) as exc:
        msg = "the model that it holds is made of itself, and cannot be looked through"
        raise InputError(msg) from exc


def foreign_kinds(descriptions: ModuleMap) -> tuple[str, ...]:
    """Name the classes that are neither torch's nor torchvision's."""
    kinds = (one.kind for one in descriptions.values() if one.kind.partition(".")[0] not in KNOWN_PACKAGES)
    return tuple(dict.fromkeys(kinds))


def settings_from_modules(descriptions: ModuleMap) -> dict[str, Any]:
    """Read the settings of a model: all of `ModelSettings` that its objects hold in a usable form."""
    empty = ModuleDescription(kind="", values={}, leaf=True)
    transform, rpn, heads, anchors, box_pool, mask_pool, coder = (
        descriptions.get(name, empty).values
        for name in (
            "transform",
            "rpn",
            "roi_heads",
            "rpn.anchor_generator",
            "roi_heads.box_roi_pool",
            "roi_heads.mask_roi_pool",
            "roi_heads.box_coder",
        )
    )
    fixed = transform.get("fixed_size")
    found = {
        "min_size": transform.get("min_size"),
        "max_size": transform.get("max_size"),
        # torchvision has the width first here.
        "input_size_hw": fixed[::-1] if isinstance(fixed, tuple) else None,
        "image_mean": transform.get("image_mean"),
        "image_std": transform.get("image_std"),
        "anchor_sizes": anchors.get("sizes"),
        "anchor_aspect_ratios": anchors.get("aspect_ratios"),
        "box_sampling_ratio": box_pool.get("sampling_ratio"),
        "mask_sampling_ratio": mask_pool.get("sampling_ratio"),
        "mask_pool_size": _first(mask_pool.get("output_size")),
        "batch_norm_eps": _batch_norm_eps(descriptions),
        "bbox_reg_weights": coder.get("weights"),
        "rpn_pre_nms_top_n_test": _testing_value(rpn.get("_pre_nms_top_n")),
        "rpn_post_nms_top_n_test": _testing_value(rpn.get("_post_nms_top_n")),
        "rpn_nms_thresh": rpn.get("nms_thresh"),
        "rpn_score_thresh": rpn.get("score_thresh"),
        "box_score_thresh": heads.get("score_thresh"),
        "box_nms_thresh": heads.get("nms_thresh"),
        "box_detections_per_img": heads.get("detections_per_img"),
    }
    return usable_settings(found)


def differences(described: ModuleMap, rebuilt: ModuleMap, *, legacy_names: bool = False) -> list[str]:
    """Say where a model computes otherwise than the one that was rebuilt from its tensors and settings.

    Args:
        described: The model.
        rebuilt: What edgeseg made of it.
        legacy_names: The model is of a release whose layers have other places; those are not compared.
    """
    found = []
    for name in sorted(described.keys() | rebuilt.keys()):
        one, other = described.get(name), rebuilt.get(name)
        if legacy_names and RENAMED_PARTS.match(f"{name}."):
            continue
        if one is None or other is None:
            extra = one or other
            if extra is not None and extra.leaf and not TRAINING_ONLY.match(extra.name):
                found.append(f"{name or 'the model'} is {_kind_name(one)} and would be {_kind_name(other)}")
        elif _equivalent_kind(one) != _equivalent_kind(other):
            found.append(f"{name or 'the model'} is {_kind_name(one)} and would be {_kind_name(other)}")
        elif unequal := _unequal_value(one, other):
            found.append(f"{name} has {unequal}")
    return found


def _describe(module: Any, location: str, budget: ReadBudget) -> Iterator[tuple[str, ModuleDescription]]:
    attributes = module.attributes if isinstance(module, Instance) else vars(module)
    budget.use_steps(len(attributes))
    budget.use_bytes(len(location))
    modules = attributes.get("_modules")
    modules = modules if isinstance(modules, dict) else {}
    children = {name: child for name, child in modules.items() if _is_module(child)}
    own_attributes = {str(name): value for name, value in attributes.items() if name not in MODULE_ATTRIBUTES}
    helpers = {name: value for name, value in own_attributes.items() if _is_helper(value)}
    values = {
        name: plain for name, value in own_attributes.items() if (plain := _plain(value, budget)) is not None
    }
    yield (
        location,
        ModuleDescription(kind=_kind(module), values=values, leaf=not children and _is_module(module)),
    )
    if location.count(".") < MAX_MODULE_DEPTH:
        for name, child in (children | helpers).items():
            inner = WRAPPER_PATTERN.sub("", f"{location}.{name}." if location else f"{name}.").rstrip(".")
            if inner == location:
                # A wrapper of `torch.compile` and the like: what it wraps stands in its place.
                yield from _describe(child, location, budget)
            else:
                yield from _describe(child, inner, budget)


def _is_module(value: Any) -> bool:
    return isinstance(value, nn.Module) or is_module(value)


def _is_helper(value: Any) -> bool:
    """Tell whether an object of torchvision's holds settings, such as a `BoxCoder`."""
    if isinstance(value, Instance):
        return value.name.startswith("torchvision.") and bool(value.attributes)
    return type(value).__module__.startswith("torchvision.") and hasattr(value, "__dict__")


def _kind(module: Any) -> str:
    """Name the class of a module: of a subclass that overrides nothing, what it is a subclass of."""
    if isinstance(module, Instance):
        # Older objects are made by a function that is given their class.
        made = module.args[0] if module.args and isinstance(module.args[0], Global) else module
        return module.name if not module.name.startswith("copy") else made.name
    for kind in type(module).__mro__:
        inherits = all(name.startswith("__") or not callable(item) for name, item in vars(kind).items())
        if kind.__module__.partition(".")[0] in KNOWN_PACKAGES or not inherits or "__call__" in vars(kind):
            return f"{kind.__module__}.{kind.__qualname__}"
    return type(module).__qualname__


def _plain(value: Any, budget: ReadBudget) -> Any:
    """Copy a plain value with tuples for lists; None for anything else."""
    budget.use_steps()
    if isinstance(value, Tensor):
        return None if value.is_meta or value.numel() > MAX_VALUES else _plain(value.tolist(), budget)
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist(), budget) if value.size <= MAX_VALUES else None
    if isinstance(value, Instance) and (numbers := _array(value)) is not None:
        return _plain(numbers, budget)
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple) and len(value) <= MAX_VALUES:
        items = tuple(_plain(item, budget) for item in value)
        return None if None in items else items
    if isinstance(value, dict) and len(value) <= MAX_VALUES:
        plain = {key: _plain(item, budget) for key, item in value.items() if isinstance(key, str)}
        return {key: item for key, item in plain.items() if item is not None}
    return None


def _array(value: Instance) -> NDArray[Any] | None:
    """Read a pickled NumPy array of a few numbers, such as a mean."""
    state = value.state
    if not value.name.endswith("multiarray._reconstruct") or not isinstance(state, tuple) or len(state) != 5:
        return None
    _, shape, kind, _, data = state
    try:
        return np.frombuffer(data, np.dtype(kind.args[0])).reshape(shape)
    except (TypeError, ValueError, AttributeError, IndexError, OverflowError):
        return None


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and value else value


def _testing_value(value: Any) -> Any:
    return value.get("testing") if isinstance(value, dict) else value


def _batch_norm_eps(descriptions: ModuleMap) -> dict[str, float]:
    # FrozenBatchNorm2d had no eps at all before torchvision 0.6, which is an eps of 0.
    found = {name: one.values.get("eps", 0.0) for name, one in descriptions.items() if one.name in NORMS}
    eps = {name: value for name, value in found.items() if isinstance(value, int | float)}
    nested = any(f"{name}.".startswith(f"{other}.") for name in eps for other in eps if name != other)
    return {} if nested or not eps else _merge_eps(eps, "")


def _merge_eps(eps: dict[str, float], part: str) -> dict[str, float]:
    """Say it once for a part whose batch norms are alike, else for each of the parts within."""
    if len(set(eps.values())) == 1:
        return {part: next(iter(eps.values()))}
    depth = part.count(".") + 2 if part else 1
    merged: dict[str, float] = {}
    for inner in dict.fromkeys(".".join(name.split(".")[:depth]) for name in eps):
        merged |= _merge_eps(
            {name: value for name, value in eps.items() if f"{name}.".startswith(f"{inner}.")}, inner
        )
    return merged


def _equivalent_kind(one: ModuleDescription) -> str:
    if one.name in NORMS:
        return "batch norm"
    return "sequence" if SEQUENCE_KINDS.match(one.name) else one.name


def _kind_name(one: ModuleDescription | None) -> str:
    return "absent" if one is None else one.name


def _unequal_value(one: ModuleDescription, other: ModuleDescription) -> str:
    if not one.leaf or one.name in NORMS:
        return ""
    for name in sorted(one.values.keys() & other.values.keys()):
        value, rebuilt = one.values[name], other.values[name]
        if name == FEATURE_MAPS and isinstance(value, tuple) and all(isinstance(item, str) for item in value):
            # Beyond the levels that the pyramid has, a name stands for nothing.
            value = tuple(item for item in value if not item.isdecimal() or int(item) < len(rebuilt))
        if not IGNORED_ATTRIBUTES.match(name) and value != rebuilt:
            return f"{name} {value} and would have {rebuilt}"
    return ""
