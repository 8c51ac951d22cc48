"""The 8-bit graph for TensorRT, placed so that a convolution, its residual sum and its ReLU are one kernel.

TensorRT computes a layer in 8 bits where all that it takes is rounded. So a value is rounded for the planned
layers that take it, and for nothing else. A sum fuses into the convolution before it if that branch is not
rounded in between and the other one, the shortcut, is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.quantization.plan import MOVED

from .writer import QdqWriter, Scheme, fitting_scale, steps_of, storable

if TYPE_CHECKING:
    from edgeseg.calibration.table import CalibrationTable
    from edgeseg.graphs.layers import Layer


def tensorrt_graph(model: Any, table: CalibrationTable) -> Any:
    """Write the 8-bit form of a graph for TensorRT.

    Args:
        model: `tensorrt.onnx` or `tensorrt-fp16.onnx` of a bundle; not changed. What is not rounded keeps its
            precision.
        table: Ranges of its values, made symmetric about zero.

    Raises:
        CalibrationError: The table lacks a range.
    """
    return _Writer(model, table, Scheme.SYMMETRIC).write()


class _Writer(QdqWriter):
    def write(self) -> Any:
        self.layer_of = {layer.node.output[0]: layer for layer in self.plan.layers}
        self.shortcuts = self._shortcuts()
        rounded = self._rounded()
        # Of the layers, all of one precision: scales have it too.
        self.dtype = self.array(self.graph.layers[0].node.input[1]).dtype.type
        for node in self.model.graph.node:
            result = node.output[0]
            taken = self._taken(node, rounded)
            for index, value in enumerate(node.input):
                if value == taken:
                    node.input[index] = f"{value}.dq"
            if layer := self.layer_of.get(result):
                node.input[1] = self._steps(layer)
            self.nodes.append(node)
            for value in rounded.intersection(node.output):
                self.quantize(value)
                self.dequantize(value, "dq")
        return self.finish()

    def _taken(self, node: Any, rounded: set[str]) -> str | None:
        """Which input a node takes rounded."""
        result = node.output[0]
        moved = node.op_type in MOVED and result in rounded and node.input[0] in rounded
        if result in self.layer_of or moved:
            return str(node.input[0])
        return self.shortcuts.get(result)

    def parameters(self, value: str) -> list[str]:
        """Names of a value's scale, in the type of the layers, and zero point."""
        key, rounding = self.plan.values[value], self.rounding_of(value)
        scale = storable(np.asarray(rounding.scale), self.dtype)
        return [
            self.constant(f"{key}.scale", scale),
            self.constant(f"{key}.zero_point", rounding.zero_point),
        ]

    def _shortcuts(self) -> dict[str, str]:
        """Find the sums that fuse into a convolution: name of the sum to its other input."""
        found = {}
        for node in self.model.graph.node:
            if node.op_type != "Add":
                continue
            sums = [value for value in node.input if self._fuses(value)]
            others = [value for value in node.input if value not in sums[:1] and value in self.plan.values]
            if sums and others:
                found[node.output[0]] = others[0]
        return found

    def _fuses(self, value: str) -> bool:
        layer = self.layer_of.get(value)
        return layer is not None and layer.node.op_type == "Conv" and len(self.graph.consumers[value]) == 1

    def _rounded(self) -> set[str]:
        """What is rounded: what planned layers and fused sums take, and what was only moved from there."""
        rounded = {layer.source for layer in self.plan.layers} | set(self.shortcuts.values())
        for node in reversed(self.model.graph.node):
            if node.op_type in MOVED and node.output[0] in rounded and node.input[0] in self.plan.values:
                rounded.add(node.input[0])
        return rounded

    def _steps(self, layer: Layer) -> str:
        """Round a layer's weights, once for all uses, and give the name of what they stand for."""
        name = f"{layer.block}.weight.dq"
        if any(node.output[0] == name for node in self.nodes):
            return name
        stored = self.array(layer.node.input[1])
        weight = stored.astype(np.float32)
        scale = storable(fitting_scale(weight), stored.dtype.type)
        inputs = [
            self.constant(f"{layer.block}.weight.q", steps_of(weight, scale.astype(np.float32))),
            self.constant(f"{layer.block}.weight.scale", scale),
            self.constant(f"{layer.block}.weight.zero_point", np.zeros(len(scale), np.int8)),
        ]
        return self.node("DequantizeLinear", inputs, name, axis=0)
