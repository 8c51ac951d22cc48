"""Finding the weights of the model in what a checkpoint holds, and torchvision's current names for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from .bounds import MOST_STEPS, Budget
from .unpickle import Instance, TensorRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

# Every Mask R-CNN of torchvision has this one, in old releases too; what stands before it is a prefix.
ANCHOR = "roi_heads.box_predictor.cls_score.weight"
# Wrappers around parts of a model: torch.compile, FSDP, activation checkpointing.
WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# Copies that a trainer keeps beside the model.
COPIES = re.compile(r"ema|teacher|shadow|average|swa|momentum", re.IGNORECASE)
# Deeper than any trainer nests; a file may refer to itself.
DEEPEST = 8
DEEPEST_MODULE = 16
# Bytes of all names of tensors; of those of a ResNet-152 there are 0.1 million.
MOST_NAMES = 32 << 20
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
        place: Where they are: keys of the checkpoint, then the prefix of their names.
        tensors: By their names without that prefix.
        module: The pickled module that they are of, if it is one.
        moved: Their names were those of a torchvision before 0.14.
    """

    place: str
    tensors: dict[str, Any]
    module: Instance | None = None
    moved: bool = False


def weight_sets(content: Any) -> list[WeightSet]:
    """List every set of tensors that is a torchvision R-CNN's, the model's own before copies of it."""
    found = [one for group in _all_groups(content) for one in _models(group)]
    return sorted(found, key=lambda one: (bool(COPIES.search(one.place)), one.module is None))


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
    return _groups(content, (), set(), Budget(octets=MOST_NAMES, steps=MOST_STEPS))


def _groups(value: Any, place: tuple[str, ...], seen: set[int], budget: Budget) -> Iterator[WeightSet]:
    """Walk through dicts, lists and objects, each of them once."""
    if id(value) in seen or len(place) > DEEPEST:
        return
    seen.add(id(value))
    budget.hold(sum(map(len, place)))
    if is_module(value):
        yield WeightSet(place=".".join(place), tensors=dict(_state(value, "", budget)), module=value)
        return
    if isinstance(value, Instance):
        budget.step(len(value.items) + len(value.attributes) + len(value.elements))
        value = {**value.items, **value.attributes, **dict(enumerate(value.elements))}
    elif isinstance(value, list | tuple):
        value = dict(enumerate(value[:100]))
    if isinstance(value, dict):
        budget.step(len(value))
        tensors = {key: item for key, item in value.items() if isinstance(item, TensorRecord | Tensor)}
        if tensors and all(isinstance(key, str) for key in tensors):
            yield WeightSet(place=".".join(place), tensors=tensors)
        for key, item in value.items():
            if isinstance(item, dict | list | tuple | Instance):
                yield from _groups(item, (*place, str(key)), seen, budget)


def _models(group: WeightSet) -> Iterator[WeightSet]:
    names = {WRAPPERS.sub("", name): name for name in group.tensors}
    for prefix in [name.removesuffix(ANCHOR) for name in names if name.endswith(ANCHOR)]:
        place = ".".join(filter(None, (group.place, prefix.rstrip("."))))
        own = {
            name.removeprefix(prefix): group.tensors[original]
            for name, original in names.items()
            if name.startswith(prefix)
        }
        tensors = {current_name(name): value for name, value in own.items()}
        module = _within(group.module, prefix)
        yield WeightSet(place=place, tensors=tensors, module=module, moved=own.keys() != tensors.keys())


def _within(module: Instance | None, prefix: str) -> Instance | None:
    """Find the module that stands under a prefix, looking through wrappers."""
    for name in filter(None, prefix.split(".")):
        module = _unwrapped(module)
        module = None if module is None else module.attributes["_modules"].get(name)
    return _unwrapped(module)


def _unwrapped(module: Any) -> Any:
    for _ in range(DEEPEST_MODULE):
        if not is_module(module) or (inner := _wrapped(module)) is None:
            break
        module = inner
    return module if is_module(module) else None


def _wrapped(module: Instance) -> Instance | None:
    children = module.attributes["_modules"]
    return next((item for name, item in children.items() if WRAPPERS.match(f"{name}.")), None)


def _state(module: Instance, prefix: str, budget: Budget) -> Iterator[tuple[str, Any]]:
    """List the tensors of a pickled module as its `state_dict` would."""
    budget.hold(len(prefix))
    if prefix.count(".") > DEEPEST_MODULE:
        return
    attributes = module.attributes
    passing = attributes.get("_non_persistent_buffers_set")
    passing = passing if isinstance(passing, list) else []
    for kind in ("_parameters", "_buffers"):
        tensors = attributes.get(kind)
        for name, value in tensors.items() if isinstance(tensors, dict) else ():
            budget.step()
            budget.hold(len(prefix) + len(str(name)))
            if isinstance(value, TensorRecord) and name not in passing:
                yield f"{prefix}{name}", value
    for name, child in attributes["_modules"].items():
        budget.step()
        if is_module(child):
            yield from _state(child, f"{prefix}{name}.", budget)
