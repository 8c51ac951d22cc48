"""Decide what of a graph is computed in 8 bits: which layers, and which values between them are quantised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeseg.calibration.observers import FirstAxis, RangeObserver, RangeObservers
from edgeseg.errors import ArtifactError
from edgeseg.graphs.layers import Layer

if TYPE_CHECKING:
    from collections.abc import Collection

    from edgeseg.graphs.layers import LayerGraph

# Their results are ranked, decoded or compared with a threshold, so they are not quantised.
OUTPUT_LAYERS = (
    "rpn_head.cls_logits",
    "rpn_head.bbox_pred",
    "box_predictor.cls_score",
    "box_predictor.bbox_pred",
)
# What torchvision calls the two layers of squeeze-and-excitation.
SQUEEZE_EXCITATION_LAYERS = (".fc1", ".fc2")
# Operators that move values without changing them, so that their output has the input's range.
MOVE_OPERATORS = ("MaxPool", "Resize")
ROWS_BY_PART = {
    "box_head": FirstAxis.PROPOSALS,
    "box_predictor": FirstAxis.PROPOSALS,
    "mask_head": FirstAxis.DETECTIONS,
    "mask_predictor": FirstAxis.DETECTIONS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantisationPlan:
    """What is quantised to 8 bits.

    Attributes:
        layers: Layers that take 8-bit values and 8-bit weights, in the order of computation.
        values: Name of a value in this graph to the key of its range.
    """

    layers: tuple[Layer, ...]
    values: dict[str, str]


def quantisation_plan(graph: LayerGraph, excluded_layers: Collection[str] = ()) -> QuantisationPlan:
    """Decide what is quantised.

    The first layer, the output layers and squeeze-and-excitation stay in higher precision always.

    Args:
        graph: Either graph of a bundle.
        excluded_layers: Further layers, by name, that stay in higher precision.
    """
    excluded = {*always_excluded_layers(graph), *excluded_layers}
    layers = tuple(layer for layer in graph.layers if layer.block not in excluded)
    values = {layer.input_value: graph.key_of_input(layer) for layer in layers}
    for layer in layers:
        # A dense layer may give its sums as they are; a convolution is only computed in 8 bits if its
        # output is quantised.
        if layer.node.op_type == "Conv" or layer.output_value in values:
            values[layer.output_value] = graph.keys[layer.output_value]
    for node in graph.model.graph.node:
        if node.op_type in MOVE_OPERATORS and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]
        elif node.op_type == "Add" and all(value in values for value in node.input):
            sum_value = graph.after_activation(node.output[0])
            values.setdefault(sum_value, graph.keys[sum_value])
    return QuantisationPlan(layers=layers, values=values)


def always_excluded_layers(graph: LayerGraph) -> tuple[str, ...]:
    """Name the layers that are never quantised, by `Layer.block`.

    The first convolution sees three channels, squeeze-and-excitation a single pixel: they cost nothing.
    """
    names = dict.fromkeys(layer.block for layer in graph.layers)
    gates = [
        name for name in names if name.startswith("backbone.") and name.endswith(SQUEEZE_EXCITATION_LAYERS)
    ]
    outputs = [name for name in names if name in OUTPUT_LAYERS]
    return (graph.layers[0].block, *gates, *outputs)


def quantisable_blocks(graph: LayerGraph) -> dict[str, tuple[str, ...]]:
    """Group the layers that can be quantised, in the order of computation: block name to layer names.

    A block is what a checkpoint calls one: a residual or inverted residual block, a level of the pyramid, a
    layer of a head.
    """
    blocks: dict[str, dict[str, None]] = {}
    for layer in quantisation_plan(graph).layers:
        blocks.setdefault(_block(layer.block), {})[layer.block] = None
    return {block: tuple(layers) for block, layers in blocks.items()}


def _block(layer: str) -> str:
    parts = layer.split(".")
    if parts[0] != "backbone":
        return ".".join(parts[:-1] if parts[0] == "rpn_head" else parts[:2])
    deep = parts[1] == "fpn" or parts[2].startswith("layer")
    return ".".join(parts[: 4 if deep else 3])


def range_observers(graph: LayerGraph) -> RangeObservers:
    """List what calibration must observe in the portable graph.

    Raises:
        ArtifactError: The graph is not laid out as `edgeseg export` does.
    """
    first: dict[str, str] = {}
    for value, key in quantisation_plan(graph).values.items():
        first.setdefault(key, value)
    observers = [
        RangeObserver(key=key, tensor=value, rows=ROWS_BY_PART.get(key.partition(".")[0], FirstAxis.IMAGES))
        for key, value in first.items()
    ]
    return RangeObservers(observers=tuple(observers), present=_presence_tensor(graph))


def _presence_tensor(graph: LayerGraph) -> str:
    """Find `bool[B, R]`, which says which rows hold a proposal: the condition on the class scores."""
    logits = [layer.output_value for layer in graph.layers if layer.block == "box_predictor.cls_score"]
    for value in logits:
        reshaped = [node.output[0] for node in graph.consumers[value] if node.op_type == "Reshape"]
        for node in (after for name in [value, *reshaped] for after in graph.consumers[name]):
            if node.op_type == "Where":
                return str(graph.producers[node.input[0]].input[0])
    msg = "the portable graph does not mark its empty proposals; export the bundle again"
    raise ArtifactError(msg)
