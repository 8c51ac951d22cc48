"""Tensors that no model can compute with, named one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from edgeseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

BATCH_COUNT_SUFFIX = "num_batches_tracked"
VARIANCE_SUFFIX = "running_var"


def float_weights(weights: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Convert weights to `float32`; counts of batches stay whole numbers.

    Args:
        weights: Of a model, by name.
        source: Where they are from, for messages.

    Raises:
        InputError: One holds what cannot be a weight; names it and what it holds.
    """
    converted = {}
    for name, value in weights.items():
        fault = _kind_fault(name, value)
        if not fault:
            detached = value.detach()
            try:
                converted[name] = (
                    detached if name.endswith(BATCH_COUNT_SUFFIX) else detached.to("cpu", torch.float32)
                )
            except (RuntimeError, NotImplementedError):
                fault = f"holds {value.dtype}, which PyTorch does not convert; save the weights as float32"
            else:
                fault = _value_fault(name, converted[name])
        if fault:
            msg = f"{source}: {name} {fault}"
            raise InputError(msg)
    matrices = [value for value in converted.values() if value.ndim > 1]
    if matrices and not any(bool(value.any()) for value in matrices):
        msg = f"{source}: all weights are zero; they were never loaded, or are missing from a sharded model"
        raise InputError(msg)
    return converted


def _kind_fault(name: str, value: Tensor) -> str:
    if value.is_meta:
        return "is a meta tensor, which has no values; load weights into the model before saving it"
    if value.is_quantized:
        return (
            f"is quantised ({value.dtype}); give the weights before quantisation, edgeseg makes INT8 itself"
        )
    if value.layout is not torch.strided:
        return f"is a sparse tensor ({value.layout}); save it with `.to_dense()`"
    if not value.numel():
        return f"has no elements (shape {list(value.shape)})"
    if name.endswith(BATCH_COUNT_SUFFIX):
        return ""
    if not value.is_floating_point():
        return (
            f"must hold floating-point numbers and holds {value.dtype}; give the weights before quantisation"
        )
    return ""


def _value_fault(name: str, value: Tensor) -> str:
    if not value.is_floating_point():
        return ""
    if wrong := int((~torch.isfinite(value)).sum()):
        return (
            f"has {wrong} of {value.numel()} values that are NaN or infinite: training diverged, or they are "
            "too large for float32; give a checkpoint from before that"
        )
    if name.endswith(VARIANCE_SUFFIX) and bool((value < 0).any()):
        return f"is a variance and has values below 0, such as {float(value.min()):g}: the file is damaged"
    return ""
