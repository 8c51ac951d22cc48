"""Box and index arithmetic of Mask R-CNN in static, batch-first tensor code."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

import torch
from onnxscript import opset18 as op
from torch import Tensor

# torchvision's BoxCoder limits predicted log sizes to this, so that exp() stays finite.
MAX_LOG_SIZE = math.log(1000.0 / 16)


def decode_boxes(deltas: Tensor, anchors_xyxy: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Apply predicted offsets to anchors or proposals.

    Args:
        deltas: `float32[..., 4]`, shift of the centre in anchor sizes and log of the size ratio (x, y, width,
            height), multiplied by `weights`.
        anchors_xyxy: `float32[..., 4]`, xyxy in input pixels.
        weights: Factors by which the four offsets were multiplied in training.

    Returns:
        `float32[..., 4]`, xyxy in input pixels, not clipped.

    Source:
        torchvision `BoxCoder.decode_single`.
    """
    low, high = anchors_xyxy.split(2, -1)
    shift, log_ratio = (deltas / torch.tensor(weights)).split(2, -1)
    size = high - low
    centre = shift * size + (low + 0.5 * size)
    half = 0.5 * (log_ratio.clamp(max=MAX_LOG_SIZE).exp() * size)
    return torch.cat((centre - half, centre + half), -1)


def clip_boxes(boxes_xyxy: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Clip boxes, `float32[..., 4]` xyxy in pixels, to an image of `size_hw` pixels."""
    height, width = size_hw
    limit = torch.tensor((width, height, width, height), dtype=torch.float32)
    clipped: Tensor = boxes_xyxy.clamp(min=0.0).minimum(limit)
    return clipped


def shortest_side(boxes_xyxy: Tensor) -> Tensor:
    """Return the smaller of width and height, `float32[...]`, of xyxy boxes `float32[..., 4]`."""
    low, high = boxes_xyxy.split(2, -1)
    return (high - low).amin(-1)


def gather_rows(rows: Tensor, index: Tensor) -> Tensor:
    """Pick rows of every batch entry: `[B, N, D]` indexed by `int64[B, M]` gives `[B, M, D]`."""
    return rows.gather(1, index.unsqueeze(-1).expand(-1, -1, rows.shape[-1]))


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """Pick rows of a table `[N, ...]` by index `int64[...]`; exported as a single ONNX Gather."""
    return table.index_select(0, index.flatten()).reshape(*index.shape, *table.shape[1:])


@torch.library.custom_op("edgeseg::quotient", mutates_args=())
def quotient(dividend: Tensor, divisor: int) -> Tensor:
    """Divide non-negative `int64` and drop the remainder; one ONNX Div, where `//` exports ten nodes."""
    return dividend // divisor


@quotient.register_fake
def _(dividend: Tensor, divisor: int) -> Tensor:
    return torch.empty_like(dividend)


def _onnx_quotient(dividend: Any, divisor: int) -> Any:
    return op.Div(dividend, op.Constant(value_int=divisor))


TRANSLATIONS = MappingProxyType({torch.ops.edgeseg.quotient.default: _onnx_quotient})
