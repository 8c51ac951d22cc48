"""Rewrite the FP32 graph of ONNX Runtime to compute its largest convolutions with half the products.

Uses Winograd's F(4, 3) along the columns of the image: six products of input rows give four rows of results,
where a direct convolution needs twelve. A. Lavin, S. Gray, Fast Algorithms for Convolutional Neural Networks,
2016.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .editor import GraphEditor, attribute
from .layers import ACTIVATIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# With fewer channels or pixels, sums before and after cost more than the products that are saved.
MIN_CHANNELS = 256
MIN_PIXELS = 4000
SUPPORTED_CONV = {"kernel_shape": [3, 3], "strides": [1, 1], "dilations": [1, 1], "pads": [1, 1, 1, 1]}
# Rows of results that are computed together.
ROWS_PER_TILE = 4
ROW_AXIS = 2
# Between the name of a node and the part of it.
WINOGRAD_SUFFIX = ".winograd_"
# Transforms six rows of the input, from one above the first result to one below the last.
INPUT_TRANSFORM = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float32,
)
# Transforms the three rows of the kernel to the six factors of the products.
KERNEL_TRANSFORM = (
    np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], np.float64) / 24
)


def rewrite_for_winograd(model: Any) -> Any:
    """Have large convolutions of 3x3 pixels computed with half the products; None where there is none.

    Args:
        model: FP32 graph; not changed.
    """
    return _WinogradRewriter(model).rewrite()


class _WinogradRewriter(GraphEditor):
    def rewrite(self) -> Any:
        replaced: set[str] = set()
        for node in self.model.graph.node:
            if self._is_large(node):
                replaced |= {replaced_nodes.output[0] for replaced_nodes in self._replace(node)}
            elif node.output[0] not in replaced:
                self.nodes.append(node)
        return self.finish() if replaced else None

    def _is_large(self, node: Any) -> bool:
        if node.op_type != "Conv" or node.input[1] not in self.constants:
            return False
        channels = self.constants[node.input[1]].dims[:2]
        pixels = self.shape(node.output[0])[ROW_AXIS:]
        return bool(
            all(attribute(node, name) == wanted for name, wanted in SUPPORTED_CONV.items())
            and attribute(node, "group", 1) == 1
            and min(channels) >= MIN_CHANNELS
            and math.prod(pixels) >= MIN_PIXELS
        )

    def _replace(self, conv: Any) -> list[Any]:
        """Append what gives the same; lists the nodes that it stands for."""
        rows = _SplitRows(self, conv).append_rows()
        replaced_nodes, last = [conv], conv.output[0]
        next_nodes = self._consumers_of(last)
        if len(next_nodes) == 1 and next_nodes[0].op_type in ACTIVATIONS:
            replaced_nodes, last = [*replaced_nodes, *next_nodes], next_nodes[0].output[0]
            rows = self._apply_to_each(next_nodes[0], rows)
            next_nodes = self._consumers_of(last)
        if not self._reduces_channels(next_nodes, last):
            self._interleave_rows(rows, last)
            return replaced_nodes
        # Their results are fewer to put in order.
        for node in next_nodes:
            self._interleave_rows(self._apply_to_each(node, rows), node.output[0])
        return [*replaced_nodes, *next_nodes]

    def _consumers_of(self, value: str) -> list[Any]:
        """List the nodes that take a value; empty if the graph gives it, too."""
        return [] if value in self.output_names else self.consumers[value]

    def _reduces_channels(self, nodes: list[Any], value: str) -> bool:
        """Whether nodes take pixels one by one, and give fewer channels than `value` has."""
        if not nodes or not all(node.op_type == "Conv" and self._is_pointwise(node) for node in nodes):
            return False
        return sum(self.shape(node.output[0])[1] for node in nodes) < self.shape(value)[1]

    def _is_pointwise(self, conv: Any) -> bool:
        return bool(attribute(conv, "kernel_shape") == attribute(conv, "strides") == [1, 1])

    def _apply_to_each(self, node: Any, rows: list[str]) -> list[str]:
        """Append a node once for each value."""
        return [
            self.append_copy(node, row, f"{WINOGRAD_SUFFIX}row_{index}") for index, row in enumerate(rows)
        ]

    def _interleave_rows(self, rows: list[str], name: str) -> None:
        """Append `name`: the first row of each, the second row of each, and so on."""
        _, channels, height, width = self.shape(name)
        axis = self.constant("winograd.row_axis", np.array([ROW_AXIS + 1]))
        unsqueezed = [self.add("Unsqueeze", [row, axis], f"{row}_apart") for row in rows]
        stacked = self.add("Concat", unsqueezed, f"{name}{WINOGRAD_SUFFIX}stacked", axis=ROW_AXIS + 1)
        all_rows = _padded_height(height)
        sizes = self.constant(f"{name}{WINOGRAD_SUFFIX}sizes", np.array([0, channels, all_rows, width]))
        if all_rows == height:
            self.add("Reshape", [stacked, sizes], name)
            return
        joined = self.add("Reshape", [stacked, sizes], f"{name}{WINOGRAD_SUFFIX}joined")
        bounds = [self.constant(f"winograd.{bound}", np.array([bound])) for bound in (0, height, ROW_AXIS)]
        self.add("Slice", [joined, *bounds], name)


class _SplitRows:
    """The rows of one convolution, taken apart: every fourth from the first, the second and so on."""

    def __init__(self, rewriter: GraphEditor, conv: Any) -> None:
        self._rewrite = rewriter
        self._taken, self._weight, *self._bias = conv.input
        self._name = f"{conv.name}{WINOGRAD_SUFFIX}"
        self._channels_out, self._channels_in, *_ = rewriter.constants[self._weight].dims
        self._height = rewriter.shape(conv.output[0])[ROW_AXIS]

    def append_rows(self) -> list[str]:
        first, second = self._product(1, self._bias), self._product(2)
        even, odd = self._weighted_sum(second, 1, first, "even"), self._weighted_sum(second, -1, first, "odd")
        third, fourth = self._product(3), self._product(4)
        even_far, odd_far = (
            self._weighted_sum(fourth, 1, third, "even_far"),
            self._weighted_sum(fourth, -1, third, "odd_far"),
        )
        inner, outer = (
            self._weighted_sum(even_far, 1, even, "inner"),
            self._weighted_sum(odd_far, 8, odd, "outer"),
        )
        return [
            self._weighted_sum(self._product(0), 1, inner, "row_0"),
            self._weighted_sum(odd_far, 2, odd, "row_1"),
            self._weighted_sum(even_far, 4, even, "row_2"),
            self._weighted_sum(self._product(5), 1, outer, "row_3"),
        ]

    def _product(self, index: int, bias: Sequence[str] = ()) -> str:
        """Append one of the six products of rows: convolutions of 1x3 pixels, on a quarter of the rows."""
        edit = self._rewrite
        below = _padded_height(self._height) + 1 - self._height
        taken = edit.add(
            "Conv",
            [self._taken, self._filter(f"input_{index}", INPUT_TRANSFORM[index], self._channels_in)],
            f"{self._name}input_{index}",
            group=self._channels_in,
            kernel_shape=[len(INPUT_TRANSFORM), 1],
            strides=[ROWS_PER_TILE, 1],
            pads=[1, 0, below, 0],
        )
        kernel = f"{self._weight}{WINOGRAD_SUFFIX}{index}"
        if kernel not in edit.constants:
            rows = np.einsum(
                "r,ocrk->ock", KERNEL_TRANSFORM[index], edit.array(self._weight).astype(np.float64)
            )
            edit.constant(kernel, rows[:, :, None].astype(np.float32))
        return edit.add(
            "Conv",
            [taken, kernel, *bias],
            f"{self._name}product_{index}",
            kernel_shape=[1, 3],
            pads=[0, 1, 0, 1],
        )

    def _weighted_sum(self, value: str, times: int, other: str, part: str) -> str:
        """Append `times * value + other`."""
        edit, name = self._rewrite, f"{self._name}{part}"
        if times != 1:
            # ONNX Runtime computes the product and the sum as one.
            scale = self._filter(f"times_{times}", np.array([times], np.float32), self._channels_out)
            channels = self._channels_out
            value = edit.add("Conv", [value, scale], f"{name}_scaled", group=channels, kernel_shape=[1, 1])
        return edit.add("Add", [value, other], name)

    def _filter(self, part: str, rows: NDArray[np.float32], channels: int) -> str:
        """Add the kernel of one column that takes each channel by itself."""
        values = np.tile(rows.reshape(1, 1, -1, 1), (channels, 1, 1, 1))
        return self._rewrite.constant(f"winograd.{part}_{channels}", values)


def _padded_height(height: int) -> int:
    """Rows that are computed where `height` are wanted."""
    return -(-height // ROWS_PER_TILE) * ROWS_PER_TILE
