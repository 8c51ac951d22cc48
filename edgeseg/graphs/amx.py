"""Rewrite the 8-bit graph of ONNX Runtime for processors with AMX: same results, less time.

If the zero point of the weights is 0, ONNX Runtime uses a convolution kernel that does not support AMX. With
any other zero point it lays the input out as a matrix (im2col) and multiplies, for which it uses AMX.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from .editor import GraphEditor, attribute
from .layers import ACTIVATIONS

# With fewer products per result, laying out the matrix costs more than AMX saves.
MIN_PRODUCTS = 1024
# Weights are within -127 to 127, so they still fit int8 when stored one lower. Weights of 7 bits are then
# within -64 to 62, so that the sum of two products with uint8 still fits 16 bits.
ZERO_POINT = -1
# A larger matrix would be evicted from the cache before it is multiplied.
MATRIX_BYTES = 16 << 20
ROW_AXIS = 2
# Between the name of a node and the number of a strip of it.
STRIP_SUFFIX = ".strip_"


def rewrite_for_amx(model: Any) -> Any:
    """Make convolutions with many products run as matrix products, large ones in strips of rows.

    Args:
        model: 8-bit graph for ONNX Runtime; not changed.
    """
    return _AmxRewriter(model).rewrite()


class _AmxRewriter(GraphEditor):
    def rewrite(self) -> Any:
        shifted: set[str] = set()
        replaced: set[str] = set()
        for node in self.model.graph.node:
            if node.op_type == "Conv" and self._products_per_output(node) >= MIN_PRODUCTS:
                weight = self.producers[node.input[1]]
                shifted |= {weight.input[0], weight.input[2]}
                next_nodes = self._chain_to_quantisation(node)
                strips = self._strip_count(node) if next_nodes else 1
                if strips > 1:
                    replaced |= {
                        value.output[0] for value in self._split_into_strips(node, next_nodes, strips)
                    }
            if node.output[0] not in replaced:
                self.nodes.append(node)
        for name in shifted:
            self.replace_constant(name, self.array(name) + np.int8(ZERO_POINT))
        return self.finish()

    def _products_per_output(self, conv: Any) -> int:
        """Count the products that make one result; none where they are not of 8-bit values."""
        weight = self.producers.get(conv.input[1])
        if weight is None or weight.op_type != "DequantizeLinear":
            return 0
        return int(np.prod(self.constants[weight.input[0]].dims[1:]))

    def _chain_to_quantisation(self, conv: Any) -> list[Any]:
        """List what follows a convolution up to its quantisation; empty where something else takes it too."""
        chain: list[Any] = []
        value = conv.output[0]
        while len(self.consumers[value]) == 1:
            (node,) = self.consumers[value]
            chain.append(node)
            if node.op_type == "QuantizeLinear":
                return chain
            if node.op_type not in ACTIVATIONS:
                break
            value = node.output[0]
        return []

    def _strip_count(self, conv: Any) -> int:
        """Count the strips that a convolution is to be cut into."""
        sizes = self.shape(conv.output[0])
        if not all(sizes) or attribute(conv, "kernel_shape") == attribute(conv, "strides") == [1, 1]:
            return 1
        *_, height, width = sizes
        return int(min(height, -(-height * width * self._products_per_output(conv) // MATRIX_BYTES)))

    def _split_into_strips(self, conv: Any, next_nodes: list[Any], strips: int) -> list[Any]:
        """Compute a convolution in strips of rows; gives the nodes that this replaces."""
        input_node = self.producers[conv.input[0]]
        height_in, height_out = (self.shape(value)[ROW_AXIS] for value in (conv.input[0], conv.output[0]))
        kernel, stride, dilation = (
            attribute(conv, name)[0] for name in ("kernel_shape", "strides", "dilations")
        )
        above, left, _, right = attribute(conv, "pads")
        strip_outputs = []
        for index, (begin, end) in enumerate(pairwise(height_out * n // strips for n in range(strips + 1))):
            first = begin * stride - above
            last = (end - 1) * stride - above + dilation * (kernel - 1) + 1
            rows = (max(first, 0), min(last, height_in))
            suffix = f"{STRIP_SUFFIX}{index}"
            value = self._rows(input_node.input[0], rows, f"{conv.output[0]}{suffix}.rows")
            for node in (input_node, conv, *next_nodes):
                value = self.append_copy(node, value, suffix)
                if node is conv:
                    self._pad(self.nodes[-1], [rows[0] - first, left, last - rows[1], right])
            strip_outputs.append(value)
        self.add("Concat", strip_outputs, next_nodes[-1].output[0], axis=ROW_AXIS)
        return [conv, *next_nodes]

    def _rows(self, value: str, rows: tuple[int, int], name: str) -> str:
        """Take some rows of a value."""
        limits = [self.constant(f"{name}.{index}", np.array([row])) for index, row in enumerate(rows)]
        return self.add("Slice", [value, *limits, self.constant("rows_axis", np.array([ROW_AXIS]))], name)

    def _pad(self, conv: Any, pads: list[int]) -> None:
        (item,) = (item for item in conv.attribute if item.name == "pads")
        item.ints[:] = pads
