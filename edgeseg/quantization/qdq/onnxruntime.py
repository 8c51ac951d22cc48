"""The 8-bit graph for ONNX Runtime, placed so that its integer kernels take every planned layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.bundle.engines import FULL_WEIGHTS
from edgeseg.graphs.amx import for_amx
from edgeseg.quantization.plan import MOVED, OUTPUT_LAYERS

from .writer import QdqWriter, Scheme

if TYPE_CHECKING:
    from edgeseg.calibration.table import CalibrationTable
    from edgeseg.graphs.layers import Layer

# Only their weights are rounded, which is what makes the file small; what they take is not.
WEIGHT_ONLY = ("box_predictor.cls_score", "box_predictor.bbox_pred")
# Their sums stay 32 bits wide: they are ranked among thousands, where 256 steps would tie.
WIDE = ("rpn_head.cls_logits", "rpn_head.bbox_pred")
FLOAT = "float"
# Operators that put crops of the pyramid in order.
ARRANGED = ("Reshape", "Gather", "Concat")


def onnxruntime_graph(
    model: Any,
    table: CalibrationTable,
    scheme: Scheme = Scheme.UINT8,
    *,
    amx: bool = False,
    weight_bits: int = FULL_WEIGHTS,
) -> Any:
    """Write the 8-bit form of a portable graph.

    Args:
        model: FP32 portable graph of a bundle; not changed.
        table: Ranges of its values.
        scheme: `UINT8` for x86, `INT8` for ARM.
        amx: Lay it out for a processor with AMX; it gives the same results on any.
        weight_bits: 8, or 7 for x86 without VNNI.

    Raises:
        CalibrationError: The table lacks a range.
    """
    graph = _Writer(model, table, scheme, weight_bits).write()
    return for_amx(graph) if amx else graph


class _Writer(QdqWriter):
    def write(self) -> Any:
        self._given: set[str] = set()
        self._stored_before_the_heads()
        layers = {layer.node.output[0]: layer for layer in self.plan.layers}
        outputs = {layer.node.output[0]: layer for layer in self.graph.layers if layer.block in OUTPUT_LAYERS}
        for node in self.model.graph.node:
            output = outputs.get(node.output[0])
            if output is not None and output.block in WIDE and output.source in self.values:
                self._wide(output)
            elif self._moves(node):
                self._move(node)
            else:
                if output is not None and output.block in WEIGHT_ONLY:
                    node.input[1] = self._stored_weight(output)
                self._compute(node, layers.get(node.output[0]))
        return self.finish()

    def _stored_before_the_heads(self) -> None:
        """Round crops of the pyramid as they are made, so that they are put in order in 8 bits."""
        for node in reversed(self.model.graph.node):
            if node.op_type in ARRANGED and node.output[0] in self.values:
                for value in self._data(node):
                    self.values.setdefault(value, self.values[node.output[0]])

    def _data(self, node: Any) -> list[str]:
        """Inputs that hold values and not indices or shapes."""
        return list(node.input) if node.op_type == "Concat" else [node.input[0]]

    def _moves(self, node: Any) -> bool:
        """Whether a node only moves values that are already rounded as its result is to be."""
        key = self.values.get(node.output[0])
        return (
            key is not None
            and node.op_type in (*ARRANGED, *MOVED)
            and all(self.values.get(value) == key for value in self._data(node))
        )

    def _move(self, node: Any) -> None:
        """Work on 8-bit values as they are stored."""
        stored = f"{node.output[0]}.q"
        if node.op_type == "Resize":
            self._enlarge(node, stored)
            return
        for index in range(len(self._data(node))):
            node.input[index] += ".q"
        node.output[0] = stored
        self.nodes.append(node)

    def _enlarge(self, node: Any, stored: str) -> None:
        """Nearest-neighbour upsampling as copies of rows and columns, channels last.

        ONNX Runtime 1.31 takes 12 ms to resize 100x168x256 8-bit values and 0.8 ms for this.
        """
        name = node.output[0]
        sizes = self.array(node.input[3]).tolist()
        value = self.node("Transpose", [f"{node.input[0]}.q"], f"{name}.last", perm=[0, 2, 3, 1])
        for axis, label in ((1, "rows"), (2, "columns")):
            before, after = self.shapes[node.input[0]][axis + 1], sizes[axis + 1]
            index = self.constant(f"{name}.{label}", np.arange(after) * before // after)
            value = self.node("Gather", [value, index], f"{name}.by_{label}", axis=axis)
        self.node("Transpose", [value], stored, perm=[0, 3, 1, 2])

    def _compute(self, node: Any, layer: Layer | None) -> None:
        rounded = layer is not None or (
            node.op_type == "Add" and self.graph.activated(node.output[0]) in self.values
        )
        for index, value in enumerate(node.input):
            if value in self.values:
                node.input[index] = self._taken(value, f"for.{node.output[0]}" if rounded else FLOAT)
        if layer is not None:
            node.input[1], scale = self.weight(layer)
            self._bias(node, layer, scale)
        self.nodes.append(node)
        for value in node.output:
            if value in self.values:
                self.quantize(value)

    def _taken(self, value: str, suffix: str) -> str:
        name = f"{value}.{suffix}"
        if name in self._given:
            return name
        self._given.add(name)
        # Of the heads' values the first axis counts detections, whatever their description says.
        of_fixed_shape = self.values[value].startswith("backbone.") and value in self.shapes
        if suffix != FLOAT or len(self.graph.consumers[value]) < 2 or not of_fixed_shape:
            return self.dequantize(value, suffix)
        # ONNX Runtime makes a DequantizeLinear for each consumer, and one Reshape for all of them.
        shape = self.constant(f"{name}.shape", np.array(self.shapes[value], np.int64))
        return self.node("Reshape", [self.dequantize(value, f"{suffix}.flat"), shape], name)

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

    def _stored_weight(self, layer: Layer) -> str:
        """Round the weights alone."""
        steps, scale = self.rounded(self.array(layer.node.input[1]), None, np.float32(1))
        return self.dequantized_weight(layer, steps, scale)

    def _wide(self, layer: Layer) -> None:
        """A 1x1 convolution as a product of 8-bit values that gives its sums unrounded."""
        name = layer.name
        weight = self.array(layer.node.input[1])[:, :, 0, 0]
        steps, scale = self.rounded(weight, None, self.rounding_of(layer.source).scale)
        last = self.node("Transpose", [f"{layer.source}.q"], f"{name}.last", perm=[0, 2, 3, 1])
        taken = self.node("DequantizeLinear", [last, *self.parameters(layer.source)], f"{name}.taken")
        weights = self.dequantized_weight(layer, steps.T.copy(), scale, axis=1)
        total = self.node("MatMul", [taken, weights], f"{name}.sums")
        bias = self.bias(layer)
        if bias is not None:
            # Of a bias of one axis ONNX Runtime would make a float Gemm before it sees the 8 bits.
            total = self.node(
                "Add", [total, self.constant(f"{name}.bias.last", bias[None, None, None])], f"{name}.biased"
            )
        self.node("Transpose", [total], layer.node.output[0], perm=[0, 3, 1, 2])
