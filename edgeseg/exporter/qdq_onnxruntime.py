"""The 8-bit graph for ONNX Runtime, placed so that its integer kernels take every planned layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .plan import MOVED
from .qdq import QdqWriter, Scheme, rounded_weight

if TYPE_CHECKING:
    from edgeseg.calibration.table import CalibrationTable

    from .layers import Layer

# Only their weights are rounded, which is what makes the file small; what they take is not.
WEIGHT_ONLY = ("box_predictor.cls_score", "box_predictor.bbox_pred")
# Their sums stay 32 bits wide: they are ranked among thousands, where 256 steps would tie.
WIDE = ("rpn_head.cls_logits", "rpn_head.bbox_pred")


def onnxruntime_graph(model: Any, table: CalibrationTable, scheme: Scheme = Scheme.UINT8) -> Any:
    """Write the 8-bit form of a portable graph.

    Args:
        model: FP32 portable graph of a bundle; not changed.
        table: Ranges of its values.
        scheme: `UINT8` for x86, `INT8` for ARM.

    Raises:
        CalibrationError: The table lacks a range.
    """
    return _Writer(model, table, scheme).write()


class _Writer(QdqWriter):
    def write(self) -> Any:
        layers = {layer.node.output[0]: layer for layer in self.plan.layers}
        wide = {
            layer.node.output[0]: layer
            for layer in self.graph.layers
            if layer.block in WIDE and layer.source in self.plan.values
        }
        small = {layer.node.output[0]: layer for layer in self.graph.layers if layer.block in WEIGHT_ONLY}
        for node in self.model.graph.node:
            result = node.output[0]
            if result in wide:
                self._wide(wide[result])
                continue
            if result in small:
                node.input[1] = self._stored(small[result])
            self._node(node, layers.get(result))
            for value in node.output:
                if value in self.plan.values:
                    self.quantize(value)
        return self.finish()

    def _node(self, node: Any, layer: Layer | None) -> None:
        rounded = layer is not None or (
            node.op_type in (*MOVED, "Add") and self.graph.activated(node.output[0]) in self.plan.values
        )
        for index, value in enumerate(node.input):
            if value in self.plan.values:
                node.input[index] = self._taken(value, f"for.{node.output[0]}" if rounded else "dq")
        if layer is not None:
            node.input[1], scale = self.weight(layer)
            self._bias(node, layer, scale)
        self.nodes.append(node)

    def _taken(self, value: str, suffix: str) -> str:
        name = f"{value}.{suffix}"
        if not any(node.output[0] == name for node in self.nodes):
            self.dequantize(value, suffix)
        return name

    def _bias(self, node: Any, layer: Layer, weight_scale: Any) -> None:
        bias = self.bias(layer)
        if bias is None:
            return
        step = (weight_scale * self.rounding_of(layer.source).scale).astype(np.float32)
        name = f"{layer.name}.bias"
        inputs = [
            self.constant(f"{name}.q", np.round(bias / step).astype(np.int32)),
            self.constant(f"{name}.scale", step),
            self.constant(f"{name}.zero_point", np.zeros(len(step), np.int32)),
        ]
        node.input[2] = self.node("DequantizeLinear", inputs, f"{name}.dq", axis=0)

    def _stored(self, layer: Layer) -> str:
        """Round the weights alone."""
        steps, scale = rounded_weight(self.array(layer.node.input[1]), None, np.float32(1))
        return self.dequantized_weight(layer, steps, scale)

    def _wide(self, layer: Layer) -> None:
        """A 1x1 convolution as a product of 8-bit values that gives its sums unrounded."""
        name = layer.name
        weight = self.array(layer.node.input[1])[:, :, 0, 0]
        steps, scale = rounded_weight(weight, None, self.rounding_of(layer.source).scale)
        last = self.node("Transpose", [f"{layer.source}.q"], f"{name}.last", perm=[0, 2, 3, 1])
        taken = self.node("DequantizeLinear", [last, *self.parameters(layer.source)], f"{name}.taken")
        weights = self.dequantized_weight(layer, steps.T.copy(), scale, axis=1)
        total = self.node("MatMul", [taken, weights], f"{name}.sums")
        if self.bias(layer) is not None:
            total = self.node("Add", [total, layer.node.input[2]], f"{name}.biased")
        self.node("Transpose", [total], layer.node.output[0], perm=[0, 3, 1, 2])
