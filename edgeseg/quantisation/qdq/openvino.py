"""The 8-bit graph for OpenVINO, placed so that a convolution, its residual sum and its ReLU are one kernel.

OpenVINO turns a pair of QuantizeLinear and DequantizeLinear into one quantisation step and moves it
through the graph itself. It wants the plain form: a value is quantised where it is computed, and
its consumers take the quantised value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.bundle.engines import FULL_WEIGHT_BITS
from edgeseg.quantisation.plan import MOVE_OPERATORS

from .onnxruntime import WEIGHT_ONLY_LAYERS, WIDE_OUTPUT_LAYERS
from .writer import QdqWriter, Scheme

if TYPE_CHECKING:
    from edgeseg.calibration.table import CalibrationTable
    from edgeseg.graphs.layers import Layer


def openvino_graph(model: Any, table: CalibrationTable, *, weight_bits: int = FULL_WEIGHT_BITS) -> Any:
    """Write the 8-bit form of a portable graph for x86.

    Args:
        model: FP32 portable graph of a bundle; not changed.
        table: Ranges of its values.
        weight_bits: 8, or 7 for processors without VNNI.

    Raises:
        CalibrationError: The table lacks a range.
    """
    return _OpenVinoQdqWriter(model, table, Scheme.UINT8, weight_bits).write()


class _OpenVinoQdqWriter(QdqWriter):
    def write(self) -> Any:
        planned_names = [layer.name for layer in self.plan.layers]
        self._layers = {
            layer.node.output[0]: layer
            for layer in self.graph.layers
            if layer.name in planned_names
            or (layer.block in WIDE_OUTPUT_LAYERS and layer.input_value in self.values)
        }
        self._weight_only = {
            layer.node.output[0]: layer for layer in self.graph.layers if layer.block in WEIGHT_ONLY_LAYERS
        }
        quantised_values = self._values_to_quantise()
        for node in self.model.graph.node:
            moves = (
                node.op_type in MOVE_OPERATORS
                and node.output[0] in quantised_values
                and node.input[0] in quantised_values
            )
            for index, value in enumerate(node.input):
                if value in quantised_values:
                    node.input[index] = f"{value}.dq"
            self._quantise_weights(node)
            self.nodes.append(node)
            for index, value in enumerate(node.output):
                if value in quantised_values and moves:
                    # Already quantised. Quantising it again would be a pass over the whole pyramid level.
                    node.output[index] = f"{value}.dq"
                elif value in quantised_values:
                    self.quantise(value)
                    self.dequantise(value, "dq")
        return self.finish()

    def _values_to_quantise(self) -> set[str]:
        """Name the quantised values: layers' inputs, both sides of a sum, and what was only moved from there.

        The side of a sum that a convolution makes is quantised too: OpenVINO then adds the other one within
        that convolution, else in a pass of its own.
        """
        wanted = {layer.input_value for layer in self._layers.values()}
        for node in self.model.graph.node:
            if node.op_type == "Add" and all(value in self.values for value in node.input):
                wanted.update(node.input)
        for node in reversed(self.model.graph.node):
            if node.op_type in MOVE_OPERATORS and node.output[0] in wanted:
                wanted.add(node.input[0])
        return wanted & set(self.values)

    def _quantise_weights(self, node: Any) -> None:
        result = node.output[0]
        if layer := self._layers.get(result):
            node.input[1] = self._quantised_weight(layer, self.quant_params_of(layer.input_value).scale)
        elif layer := self._weight_only.get(result):
            node.input[1] = self._quantised_weight(layer, np.float32(1))

    def _quantised_weight(self, layer: Layer, input_scale: np.float32) -> str:
        quantised, scale = self.quantised_weight(self.array(layer.node.input[1]), None, input_scale)
        return self.store_weight(layer, quantised, scale)
