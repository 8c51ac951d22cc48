"""The 8-bit graph for ONNX Runtime, placed so that its integer kernels take every planned layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.bundle.engines import FULL_WEIGHT_BITS
from edgeseg.graphs.amx import rewrite_for_amx
from edgeseg.quantisation.plan import MOVE_OPERATORS, OUTPUT_LAYERS

from .writer import QdqWriter, Scheme

if TYPE_CHECKING:
    from edgeseg.calibration.table import CalibrationTable
    from edgeseg.graphs.layers import Layer

# Only their weights are quantised, which makes the file small; their inputs are not.
WEIGHT_ONLY_LAYERS = ("box_predictor.cls_score", "box_predictor.bbox_pred")
# Their sums stay 32 bits wide: they are ranked among thousands, where 256 steps would tie.
WIDE_OUTPUT_LAYERS = ("rpn_head.cls_logits", "rpn_head.bbox_pred")
FLOAT = "float"
# Operators that put crops of the pyramid in order.
REORDER_OPERATORS = ("Reshape", "Gather", "Concat")


def onnxruntime_graph(
    model: Any,
    table: CalibrationTable,
    scheme: Scheme = Scheme.UINT8,
    *,
    amx: bool = False,
    weight_bits: int = FULL_WEIGHT_BITS,
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
    graph = _OnnxRuntimeQdqWriter(model, table, scheme, weight_bits).write()
    return rewrite_for_amx(graph) if amx else graph


class _OnnxRuntimeQdqWriter(QdqWriter):
    def write(self) -> Any:
        self._dequantised: set[str] = set()
        self._quantise_before_the_heads()
        layers = {layer.node.output[0]: layer for layer in self.plan.layers}
        outputs = {layer.node.output[0]: layer for layer in self.graph.layers if layer.block in OUTPUT_LAYERS}
        for node in self.model.graph.node:
            output = outputs.get(node.output[0])
            if (
                output is not None
                and output.block in WIDE_OUTPUT_LAYERS
                and output.input_value in self.values
            ):
                self._add_wide_output(output)
            elif self._is_move(node):
                self._move(node)
            else:
                if output is not None and output.block in WEIGHT_ONLY_LAYERS:
                    node.input[1] = self._quantise_weight_only(output)
                self._compute(node, layers.get(node.output[0]))
        return self.finish()

    def _quantise_before_the_heads(self) -> None:
        """Quantise crops of the pyramid as they are computed, so that they are reordered in 8 bits."""
        for node in reversed(self.model.graph.node):
            if node.op_type in REORDER_OPERATORS and node.output[0] in self.values:
                for value in self._data_inputs(node):
                    self.values.setdefault(value, self.values[node.output[0]])

    def _data_inputs(self, node: Any) -> list[str]:
        """Inputs that hold values and not indices or shapes."""
        return list(node.input) if node.op_type == "Concat" else [node.input[0]]

    def _is_move(self, node: Any) -> bool:
        """Whether a node only moves values that already have the quantisation of its result."""
        key = self.values.get(node.output[0])
        return (
            key is not None
            and node.op_type in (*REORDER_OPERATORS, *MOVE_OPERATORS)
            and all(self.values.get(value) == key for value in self._data_inputs(node))
        )

    def _move(self, node: Any) -> None:
        """Work on 8-bit values as they are stored."""
        stored = f"{node.output[0]}.q"
        if node.op_type == "Resize":
            self._upsample_nearest(node, stored)
            return
        for index in range(len(self._data_inputs(node))):
            node.input[index] += ".q"
        node.output[0] = stored
        self.nodes.append(node)

    def _upsample_nearest(self, node: Any, stored: str) -> None:
        """Nearest-neighbour upsampling as copies of rows and columns, channels last.

        ONNX Runtime 1.31 takes 12 ms to resize 100x168x256 8-bit values and 0.8 ms for this.
        """
        name = node.output[0]
        sizes = self.array(node.input[3]).tolist()
        value = self.add("Transpose", [f"{node.input[0]}.q"], f"{name}.last", perm=[0, 2, 3, 1])
        for axis, label in ((1, "rows"), (2, "columns")):
            before, after = self.shape(node.input[0])[axis + 1], sizes[axis + 1]
            index = self.constant(f"{name}.{label}", np.arange(after) * before // after)
            value = self.add("Gather", [value, index], f"{name}.by_{label}", axis=axis)
        self.add("Transpose", [value], stored, perm=[0, 3, 1, 2])

    def _compute(self, node: Any, layer: Layer | None) -> None:
        computed_in_int8 = layer is not None or (
            node.op_type == "Add" and self.graph.after_activation(node.output[0]) in self.values
        )
        for index, value in enumerate(node.input):
            if value in self.values:
                node.input[index] = self._dequantised_input(
                    value, f"for.{node.output[0]}" if computed_in_int8 else FLOAT
                )
        if layer is not None:
            node.input[1], scale = self.weight(layer)
            self._quantise_bias(node, layer, scale)
        self.nodes.append(node)
        for value in node.output:
            if value in self.values:
                self.quantise(value)

    def _dequantised_input(self, value: str, suffix: str) -> str:
        name = f"{value}.{suffix}"
        if name in self._dequantised:
            return name
        self._dequantised.add(name)
        # Of the heads' values the first axis counts detections, whatever their description says.
        of_fixed_shape = self.values[value].startswith("backbone.") and all(self.shape(value))
        if suffix != FLOAT or len(self.consumers[value]) < 2 or not of_fixed_shape:
            return self.dequantise(value, suffix)
        # ONNX Runtime makes a DequantizeLinear for each consumer, and one Reshape for all of them.
        shape = self.constant(f"{name}.shape", np.array(self.shape(value), np.int64))
        return self.add("Reshape", [self.dequantise(value, f"{suffix}.flat"), shape], name)

    def _quantise_bias(self, node: Any, layer: Layer, weight_scale: Any) -> None:
        bias = self.bias(layer)
        if bias is None:
            return
        step = (weight_scale * self.quant_params_of(layer.input_value).scale).astype(np.float32)
        name = f"{layer.name}.bias"
        inputs = [
            self.constant(f"{name}.q", np.round(bias / step).astype(np.int32)),
            self.constant(f"{name}.scale", step),
            self.constant(f"{name}.zero_point", np.zeros(len(step), np.int32)),
        ]
        node.input[2] = self.add("DequantizeLinear", inputs, f"{name}.dq", axis=0)

    def _quantise_weight_only(self, layer: Layer) -> str:
        """Quantise the weights alone."""
        quantised, scale = self.quantised_weight(self.array(layer.node.input[1]), None, np.float32(1))
        return self.store_weight(layer, quantised, scale)

    def _add_wide_output(self, layer: Layer) -> None:
        """A 1x1 convolution as a product of 8-bit values whose sums are not quantised."""
        name = layer.name
        weight = self.array(layer.node.input[1])[:, :, 0, 0]
        quantised, scale = self.quantised_weight(weight, None, self.quant_params_of(layer.input_value).scale)
        last = self.add("Transpose", [f"{layer.input_value}.q"], f"{name}.last", perm=[0, 2, 3, 1])
        dequantised_input = self.add(
            "DequantizeLinear", [last, *self.scale_and_zero_point(layer.input_value)], f"{name}.taken"
        )
        weights = self.store_weight(layer, quantised.T.copy(), scale, axis=1)
        sums = self.add("MatMul", [dequantised_input, weights], f"{name}.sums")
        bias = self.bias(layer)
        if bias is not None:
            # With a bias of one axis, ONNX Runtime would fuse a float Gemm before it recognises the 8 bits.
            sums = self.add(
                "Add", [sums, self.constant(f"{name}.bias.last", bias[None, None, None])], f"{name}.biased"
            )
        self.add("Transpose", [sums], layer.node.output[0], perm=[0, 3, 1, 2])
