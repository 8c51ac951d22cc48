"""The 8-bit graph for TensorRT, placed so that a convolution, its residual sum and its ReLU are one kernel.

TensorRT computes a layer in 8 bits where all of its inputs are quantised. So a value is quantised for the
planned layers that take it, and for nothing else. A sum fuses into the convolution before it if that branch
is not quantised in between and the other one, the shortcut, is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.quantisation.plan import MOVE_OPERATORS

from .writer import QdqWriter, Scheme, fitting_scales, quantise_with_scales, round_scale_up

if TYPE_CHECKING:
    from edgeseg.calibration.table import CalibrationTable
    from edgeseg.graphs.layers import Layer


def tensorrt_graph(model: Any, table: CalibrationTable) -> Any:
    """Write the 8-bit form of a graph for TensorRT.

    Args:
        model: `tensorrt.onnx` or `tensorrt-fp16.onnx` of a bundle; not changed. What is not quantised keeps
            its precision.
        table: Ranges of its values, made symmetric about zero.

    Raises:
        CalibrationError: The table lacks a range.
    """
    return _TensorRTQdqWriter(model, table, Scheme.SYMMETRIC).write()


class _TensorRTQdqWriter(QdqWriter):
    def write(self) -> Any:
        self.layer_of = {layer.node.output[0]: layer for layer in self.plan.layers}
        self.shortcuts = self._find_shortcuts()
        quantised_values = self._values_to_quantise()
        # Data type of all layers' weights, which their scales must share.
        self.dtype = self.array(self.graph.layers[0].node.input[1]).dtype.type
        for node in self.model.graph.node:
            result = node.output[0]
            quantised_input = self._quantised_input(node, quantised_values)
            for index, value in enumerate(node.input):
                if value == quantised_input:
                    node.input[index] = f"{value}.dq"
            if layer := self.layer_of.get(result):
                node.input[1] = self._quantised_weight(layer)
            self.nodes.append(node)
            for value in quantised_values.intersection(node.output):
                self.quantise(value)
                self.dequantise(value, "dq")
        return self.finish()

    def _quantised_input(self, node: Any, quantised_values: set[str]) -> str | None:
        """Name the input that a node takes quantised; None if there is none."""
        result = node.output[0]
        is_move = (
            node.op_type in MOVE_OPERATORS
            and result in quantised_values
            and node.input[0] in quantised_values
        )
        if result in self.layer_of or is_move:
            return str(node.input[0])
        return self.shortcuts.get(result)

    def scale_and_zero_point(self, value: str) -> list[str]:
        """Names of a value's scale, in the type of the layers, and zero point."""
        key, params = self.plan.values[value], self.quant_params_of(value)
        scale = round_scale_up(np.asarray(params.scale), self.dtype)
        return [
            self.constant(f"{key}.scale", scale),
            self.constant(f"{key}.zero_point", params.zero_point),
        ]

    def _find_shortcuts(self) -> dict[str, str]:
        """Find the sums that fuse into a convolution: name of the sum to its other input."""
        shortcut_by_sum = {}
        for node in self.model.graph.node:
            if node.op_type != "Add":
                continue
            conv_outputs = [value for value in node.input if self._fuses_with_sum(value)]
            others = [
                value for value in node.input if value not in conv_outputs[:1] and value in self.plan.values
            ]
            if conv_outputs and others:
                shortcut_by_sum[node.output[0]] = others[0]
        return shortcut_by_sum

    def _fuses_with_sum(self, value: str) -> bool:
        layer = self.layer_of.get(value)
        return layer is not None and layer.node.op_type == "Conv" and len(self.consumers[value]) == 1

    def _values_to_quantise(self) -> set[str]:
        """Name the values to quantise: inputs of planned layers and fused sums, and what moved there."""
        quantised_values = {layer.input_value for layer in self.plan.layers} | set(self.shortcuts.values())
        for node in reversed(self.model.graph.node):
            if (
                node.op_type in MOVE_OPERATORS
                and node.output[0] in quantised_values
                and node.input[0] in self.plan.values
            ):
                quantised_values.add(node.input[0])
        return quantised_values

    def _quantised_weight(self, layer: Layer) -> str:
        """Quantise a layer's weights, once for all uses, and return the name of the dequantised value."""
        name = f"{layer.block}.weight.dq"
        if any(node.output[0] == name for node in self.nodes):
            return name
        stored = self.array(layer.node.input[1])
        weight = stored.astype(np.float32)
        scale = round_scale_up(fitting_scales(weight), stored.dtype.type)
        inputs = [
            self.constant(f"{layer.block}.weight.q", quantise_with_scales(weight, scale.astype(np.float32))),
            self.constant(f"{layer.block}.weight.scale", scale),
            self.constant(f"{layer.block}.weight.zero_point", np.zeros(len(scale), np.int8)),
        ]
        return self.add("DequantizeLinear", inputs, name, axis=0)
