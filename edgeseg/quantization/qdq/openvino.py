"""The 8-bit graph for OpenVINO, placed so that a convolution, its residual sum and its ReLU are one kernel.

OpenVINO turns a pair of QuantizeLinear and DequantizeLinear into one rounding and moves it through the graph
itself. It wants the plain form: a value is rounded where it is made, and what takes it takes it rounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.bundle.engines import FULL_WEIGHTS
from edgeseg.quantization.plan import MOVED

from .onnxruntime import WEIGHT_ONLY, WIDE
from .writer import QdqWriter, Scheme

if TYPE_CHECKING:
    from edgeseg.calibration.table import CalibrationTable
    from edgeseg.graphs.layers import Layer


def openvino_graph(model: Any, table: CalibrationTable, *, weight_bits: int = FULL_WEIGHTS) -> Any:
    """Write the 8-bit form of a portable graph for x86.

    Args:
        model: FP32 portable graph of a bundle; not changed.
        table: Ranges of its values.
        weight_bits: 8, or 7 for processors without VNNI.

    Raises:
        CalibrationError: The table lacks a range.
    """
    return _Writer(model, table, Scheme.UINT8, weight_bits).write()


class _Writer(QdqWriter):
    def write(self) -> Any:
        planned = [layer.name for layer in self.plan.layers]
        self._layers = {
            layer.node.output[0]: layer
            for layer in self.graph.layers
            if layer.name in planned or (layer.block in WIDE and layer.source in self.values)
        }
        self._weight_only = {
            layer.node.output[0]: layer for layer in self.graph.layers if layer.block in WEIGHT_ONLY
        }
        rounded = self._rounded()
        for node in self.model.graph.node:
            moves = node.op_type in MOVED and node.output[0] in rounded and node.input[0] in rounded
            for index, value in enumerate(node.input):
                if value in rounded:
                    node.input[index] = f"{value}.dq"
            self._round_weights(node)
            self.nodes.append(node)
            for index, value in enumerate(node.output):
                if value in rounded and moves:
                    # It is rounded already. A second rounding would be a pass over the whole pyramid level.
                    node.output[index] = f"{value}.dq"
                elif value in rounded:
                    self.quantize(value)
                    self.dequantize(value, "dq")
        return self.finish()

    def _rounded(self) -> set[str]:
        """Name what is rounded: what layers take, both sides of a sum, and what was only moved from there.

        The side of a sum that a convolution makes is rounded as well: OpenVINO then adds the other one within
        that convolution, else in a pass of its own.
        """
        taken = {layer.source for layer in self._layers.values()}
        for node in self.model.graph.node:
            if node.op_type == "Add" and all(value in self.values for value in node.input):
                taken.update(node.input)
        for node in reversed(self.model.graph.node):
            if node.op_type in MOVED and node.output[0] in taken:
                taken.add(node.input[0])
        return taken & set(self.values)

    def _round_weights(self, node: Any) -> None:
        result = node.output[0]
        if layer := self._layers.get(result):
            node.input[1] = self._steps(layer, self.rounding_of(layer.source).scale)
        elif layer := self._weight_only.get(result):
            node.input[1] = self._steps(layer, np.float32(1))

    def _steps(self, layer: Layer, input_scale: np.float32) -> str:
        steps, scale = self.rounded(self.array(layer.node.input[1]), None, input_scale)
        return self.dequantized_weight(layer, steps, scale)
