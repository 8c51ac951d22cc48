"""Folding of batch norms into the preceding convolutions."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.ops import FrozenBatchNorm2d

NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)


def fold_batch_norms(module: nn.Module, example: Tensor) -> nn.Module:
    """Copy a module with each batch norm folded into the preceding convolution; the results are the same.

    `torch.export` cannot trace a batch norm over a number of rows that depends on data, and in half precision
    the division by small variances would overflow.

    Args:
        module: Module in evaluation mode; not changed.
        example: Input of any size that the module accepts; run once to find out which layer follows which.
    """
    folded = copy.deepcopy(module)
    for convolution, norm in _pairs(folded, example):
        fused = fuse_conv_bn_eval(convolution, norm)
        convolution.weight, convolution.bias = fused.weight, fused.bias
        _replace(folded, norm, nn.Identity())
    return folded


def _pairs(module: nn.Module, example: Tensor) -> list[tuple[nn.Conv2d, Any]]:
    """Run a module and record which norm takes the output of the convolution just before it."""
    pairs: dict[nn.Conv2d, Any] = {}
    last: list[Any] = [None, None]

    def after_convolution(convolution: nn.Module, inputs: Any, output: Tensor) -> None:
        last[:] = convolution, output

    def before_norm(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        if inputs[0] is last[1] and last[0] not in pairs:
            pairs[last[0]] = norm

    hooks = [
        child.register_forward_hook(after_convolution)
        if isinstance(child, nn.Conv2d)
        else child.register_forward_pre_hook(before_norm)
        for child in module.modules()
        if isinstance(child, (nn.Conv2d, *NORMS))
    ]
    with torch.no_grad():
        module(example)
    for hook in hooks:
        hook.remove()
    return list(pairs.items())


def _replace(module: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for parent in module.modules():
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)
