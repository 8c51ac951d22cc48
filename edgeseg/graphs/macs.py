"""Multiply-adds of a network, counted from the shapes in its graph."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeseg.optional import require

from .editor import GraphIndex, Shape, attribute, shape_from_description

if TYPE_CHECKING:
    from pathlib import Path


class Macs(NamedTuple):
    """Multiply-adds of convolutions, dense layers and matrix products.

    Attributes:
        fixed: Multiply-adds of a batch that do not depend on the number of detections.
        per_detection: Multiply-adds of each detection, as the mask head runs once per detection.
    """

    fixed: int
    per_detection: int

    def gmacs(self, detections: float, batch: int) -> float:
        """Multiply-adds of one image with so many detections, in billions."""
        return (self.fixed / batch + self.per_detection * detections) / 1e9


def count_macs(graph: Path) -> Macs:
    """Count the multiply-adds of `portable.onnx`; nodes whose shapes are unknown are not counted.

    Raises:
        DependencyError: onnx is not installed.
    """
    onnx = require("onnx", purpose="count multiply-adds")
    index = GraphIndex(onnx.load(str(graph), load_external_data=False))
    shapes: dict[str, Shape] = {name: tuple(tensor.dims) for name, tensor in index.constants.items()}
    shapes |= {name: shape_from_description(value) for name, value in index.described.items()}
    fixed = per_detection = 0
    for node in index.model.graph.node:
        products_per_output = _products_per_output(node, shapes)
        output = shapes.get(node.output[0])
        if products_per_output is None or output is None:
            continue
        # The one size that is known only at run time is the number of detections.
        macs = math.prod(size for size in output if size) * products_per_output
        fixed, per_detection = (fixed, per_detection + macs) if 0 in output else (fixed + macs, per_detection)
    return Macs(fixed, per_detection)


def _products_per_output(node: Any, shapes: dict[str, Shape]) -> int | None:
    """Products that are summed for one number of the output; None for what is no sum of products."""
    if node.op_type == "Conv":
        # Channels of a group, and the kernel.
        return _product(shapes.get(node.input[1], (0,))[1:])
    if node.op_type == "ConvTranspose":
        weight = shapes.get(node.input[1], (0,))
        # Each input is spread by the kernel, and an output gets a stride's share of them.
        whole = _product((weight[0], *weight[2:]))
        shares = math.prod(attribute(node, "strides", [1])) * attribute(node, "group", 1)
        return None if whole is None else int(whole // shares)
    if node.op_type == "Gemm":
        first = shapes.get(node.input[0], (0, 0))
        return (first[0] if attribute(node, "transA", 0) else first[-1]) or None
    if node.op_type == "MatMul":
        return shapes.get(node.input[0], (0,))[-1] or None
    return None


def _product(sizes: Shape) -> int | None:
    """Multiply sizes; None if one is only known at run time."""
    return math.prod(sizes) if all(sizes) else None
