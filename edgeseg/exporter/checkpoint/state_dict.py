"""Finding the weights of the model in what a checkpoint holds, and torchvision's current names for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from .bounds import MAX_STEPS, ReadBudget
from .unpickle import Instance, TensorRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

# Every Mask R-CNN of torchvision has this one, in old releases too; what stands before it is a prefix.
ANCHOR_TENSOR = "roi_heads.box_predictor.cls_score.weight"
# Wrappers around parts of a model: torch.compile, FSDP, activation checkpointing.
WRAPPER_PATTERN = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# Copies that a trainer keeps beside the model.
COPY_PATTERN = re.compile(r"ema|teacher|shadow|average|swa|momentum", re.IGNORECASE)
# Deeper than any trainer nests; a file may refer to itself.
MAX_NESTING = 8
MAX_MODULE_DEPTH = 16
# Bytes of all names of tensors; of those of a ResNet-152 there are 0.1 million.
MAX_NAME_BYTES = 32 << 20
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
class WeightSet:
    """Tensors that belong together.

    Attributes:
        location: Where they are: keys of the checkpoint, then the prefix of their names.
        tensors: By their names without that prefix.
        module: The pickled module that they are of, if it is one.
        legacy_names: Their names were those of a torchvision before 0.14.
    """

    location: str
    tensors: dict[str, Any]
    module: Instance | None = None
    legacy_names: bool = False


def weight_sets(content: Any) -> list[WeightSet]:
    """List every set of tensors that is a torchvision R-CNN's, the model's own before copies of it."""
    found = [one for group in _all_groups(content) for one in _mask_rcnns(group)]
    return sorted(found, key=lambda one: (bool(COPY_PATTERN.search(one.location)), one.module is None))


def other_weights(content: Any) -> WeightSet | None:
    """Give the largest group of tensors in a checkpoint that has no such model."""
    return max(_all_groups(content), key=lambda group: len(group.tensors), default=None)


def current_name(name: str) -> str:
    """Translate a tensor's name from any release of torchvision."""
    for pattern, replacement in LEGACY_NAMES:
        name = pattern.sub(replacement, name)
    return name


def is_module(value: Any) -> bool:
    """Tell whether a pickled object was a `torch.nn.Module`."""
    return isinstance(value, Instance) and isinstance(value.attributes.get("_modules"), dict)


def _all_groups(content: Any) -> Iterator[WeightSet]:
    # A file can hold one thing in a million places, and a module that is its own child.
    return _groups(content, (), set(), ReadBudget(octets=MAX_NAME_BYTES, steps=MAX_STEPS))


def _groups(value: Any, location: tuple[str, ...], seen: set[int], budget: ReadBudget) -> Iterator[WeightSet]:
    """Walk through dicts, lists and objects, each of them once."""
    if id(value) in seen or len(location) > MAX_NESTING:
        return
    seen.add(id(value))
    budget.use_bytes(sum(map(len, location)))
    if is_module(value):
        yield WeightSet(
            location=".".join(location), tensors=dict(_state_dict_items(value, "", budget)), module=value
        )
        return
    if isinstance(value, Instance):
        budget.use_steps(len(value.items) + len(value.attributes) + len(value.elements))
        value = {**value.items, **value.attributes, **dict(enumerate(value.elements))}
    elif isinstance(value, list | tuple):
        value = dict(enumerate(value[:100]))
    if isinstance(value, dict):
        budget.use_steps(len(value))
        tensors = {key: item for key, item in value.items() if isinstance(item, TensorRecord | Tensor)}
        if tensors and all(isinstance(key, str) for key in tensors):
            yield WeightSet(location=".".join(location), tensors=tensors)
        for key, item in value.items():
            if isinstance(item, dict | list | tuple | Instance):
                yield from _groups(item, (*location, str(key)), seen, budget)


def _mask_rcnns(group: WeightSet) -> Iterator[WeightSet]:
    names = {WRAPPER_PATTERN.sub("", name): name for name in group.tensors}
    for prefix in [name.removesuffix(ANCHOR_TENSOR) for name in names if name.endswith(ANCHOR_TENSOR)]:
        location = ".".join(filter(None, (group.location, prefix.rstrip("."))))
        own = {
            name.removeprefix(prefix): group.tensors[original]
            for name, original in names.items()
            if name.startswith(prefix)
        }
        tensors = {current_name(name): value for name, value in own.items()}
        module = _module_at(group.module, prefix)
        yield WeightSet(
            location=location, tensors=tensors, module=module, legacy_names=own.keys() != tensors.keys()
        )


def _module_at(module: Instance | None, prefix: str) -> Instance | None:
    """Find the module that stands under a prefix, looking through wrappers."""
    for name in filter(None, prefix.split(".")):
        module = _unwrapped(module)
        module = None if module is None else module.attributes["_modules"].get(name)
    return _unwrapped(module)


def _unwrapped(module: Any) -> Any:
    for _ in range(MAX_MODULE_DEPTH):
        if not is_module(module) or (inner := _wrapped(module)) is None:
            break
        module = inner
    return module if is_module(module) else None


def _wrapped(module: Instance) -> Instance | None:
    children = module.attributes["_modules"]
    return next((item for name, item in children.items() if WRAPPER_PATTERN.match(f"{name}.")), None)


def _state_dict_items(module: Instance, prefix: str, budget: ReadBudget) -> Iterator[tuple[str, Any]]:
    """List the tensors of a pickled module as its `state_dict` would."""
    budget.use_bytes(len(prefix))
    if prefix.count(".") > MAX_MODULE_DEPTH:
        return
    attributes = module.attributes
    non_persistent = attributes.get("_non_persistent_buffers_set")
    non_persistent = non_persistent if isinstance(non_persistent, list) else []
    for kind in ("_parameters", "_buffers"):
        tensors = attributes.get(kind)
        for name, value in tensors.items() if isinstance(tensors, dict) else ():
            budget.use_steps()
            budget.use_bytes(len(prefix) + len(str(name)))
            if isinstance(value, TensorRecord) and name not in non_persistent:
                yield f"{prefix}{name}", value
    for name, child in attributes["_modules"].items():
        budget.use_steps()
        if is_module(child):
            yield from _state_dict_items(child, f"{prefix}{name}.", budget)
