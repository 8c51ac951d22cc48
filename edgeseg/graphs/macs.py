"""Multiply-adds of a network, counted from the shapes in its graph."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeseg.optional import require

if TYPE_CHECKING:
    from pathlib import Path

Shape = tuple[int | None, ...]


class Macs(NamedTuple):
    """Multiply-adds of convolutions, dense layers and matrix products.

    Attributes:
        fixed: Of every batch.
        per_detection: Of every detection of the batch: the mask head runs on what was found.
    """

    fixed: int
    per_detection: int

    def gmacs(self, detections: float, batch: int) -> float:
        """Multiply-adds of one image with so many detections, in billions."""
        return (self.fixed / batch + self.per_detection * detections) / 1e9


def count_macs(graph: Path) -> Macs:
    """Count what `portable.onnx` multiplies; nodes whose shapes it does not tell count as nothing.

    Raises:
        DependencyError: onnx is not installed.
    """
    onnx = require("onnx", purpose="count multiply-adds")
    graph_proto = onnx.load(str(graph), load_external_data=False).graph
    shapes: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph_proto.initializer}
    for value in (*graph_proto.input, *graph_proto.value_info, *graph_proto.output):
        shapes[value.name] = _shape(value)
    fixed = per_detection = 0
    for node in graph_proto.node:
        products_per_output = _products_per_output(node, shapes)
        output = shapes.get(node.output[0])
        if products_per_output is None or output is None:
            continue
        # The one size that is known only at run time is the number of detections.
        macs = math.prod(size for size in output if size is not None) * products_per_output
        fixed, per_detection = (
            (fixed, per_detection + macs) if None in output else (fixed + macs, per_detection)
        )
    return Macs(fixed, per_detection)


def _products_per_output(node: Any, shapes: dict[str, Shape]) -> int | None:
    """Products that are summed for one number of the output; None for what is no sum of products."""
    if node.op_type == "Conv":
        # Channels of a group, and the kernel.
        return _product(shapes.get(node.input[1], (None,))[1:])
    if node.op_type == "ConvTranspose":
        weight = shapes.get(node.input[1], (None,))
        strides = next((item.ints for item in node.attribute if item.name == "strides"), [1])
        groups = next((item.i for item in node.attribute if item.name == "group"), 1)
        # Each input is spread by the kernel, and an output gets a stride's share of them.
        whole = _product((weight[0], *weight[2:]))
        return None if whole is None else whole // math.prod(strides) // groups
    if node.op_type == "Gemm":
        transposed = any(item.name == "transA" and item.i for item in node.attribute)
        first = shapes.get(node.input[0], (None, None))
        return first[0] if transposed else first[-1]
    if node.op_type == "MatMul":
        return shapes.get(node.input[0], (None,))[-1]
    return None


def _product(sizes: Shape) -> int | None:
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None


def _shape(value: Any) -> Shape:
    sizes = value.type.tensor_type.shape.dim
    return tuple(size.dim_value if size.HasField("dim_value") else None for size in sizes)
