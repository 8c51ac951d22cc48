"""What of a graph is computed in 8 bits: which layers, and which values are rounded between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeseg.calibration.observers import Rows, Tap, Taps
from edgeseg.errors import ArtifactError
from edgeseg.graphs.layers import Layer

if TYPE_CHECKING:
    from collections.abc import Collection

    from edgeseg.graphs.layers import LayerGraph

# Their results are ranked, decoded or compared with a threshold, and are not rounded again.
OUTPUT_LAYERS = (
    "rpn_head.cls_logits",
    "rpn_head.bbox_pred",
    "box_predictor.cls_score",
    "box_predictor.bbox_pred",
)
# What torchvision calls the two layers of squeeze-and-excitation.
GATES = (".fc1", ".fc2")
# Operators that move values without changing them, so that their output has the input's range.
MOVED = ("MaxPool", "Resize")
ROWS_BY_PART = {
    "box_head": Rows.PROPOSALS,
    "box_predictor": Rows.PROPOSALS,
    "mask_head": Rows.DETECTIONS,
    "mask_predictor": Rows.DETECTIONS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is rounded to 8 bits.

    Attributes:
        layers: Layers that take 8-bit values and 8-bit weights, in the order of computation.
        values: Name of a value in this graph to the key of its range.
    """

    layers: tuple[Layer, ...]
    values: dict[str, str]


def plan_for(graph: LayerGraph, float_layers: Collection[str] = ()) -> Plan:
    """Decide what is rounded.

    The first layer, the output layers and squeeze-and-excitation stay in higher precision always.

    Args:
        graph: Either graph of a bundle.
        float_layers: Further layers, by name, that stay in higher precision.
    """
    spared = {*spared_layers(graph), *float_layers}
    layers = tuple(layer for layer in graph.layers if layer.block not in spared)
    values = {layer.source: graph.key_of_input(layer) for layer in layers}
    for layer in layers:
        # A dense layer may give its sums as they are; a convolution is only computed in 8 bits if it rounds.
        if layer.node.op_type == "Conv" or layer.product in values:
            values[layer.product] = graph.keys[layer.product]
    for node in graph.model.graph.node:
        if node.op_type in MOVED and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]
        elif node.op_type == "Add" and all(value in values for value in node.input):
            total = graph.activated(node.output[0])
            values.setdefault(total, graph.keys[total])
    return Plan(layers=layers, values=values)


def spared_layers(graph: LayerGraph) -> tuple[str, ...]:
    """Name the layers that are never rounded, by `Layer.block`.

    The first convolution sees three channels, squeeze-and-excitation a single pixel: they cost nothing.
    """
    names = dict.fromkeys(layer.block for layer in graph.layers)
    gates = [name for name in names if name.startswith("backbone.") and name.endswith(GATES)]
    outputs = [name for name in names if name in OUTPUT_LAYERS]
    return (graph.layers[0].block, *gates, *outputs)


def blocks_of(graph: LayerGraph) -> dict[str, tuple[str, ...]]:
    """Group the layers that can be rounded, in the order of computation: block name to layer names.

    A block is what a checkpoint calls one: a residual or inverted residual block, a level of the pyramid, a
    layer of a head.
    """
    blocks: dict[str, dict[str, None]] = {}
    for layer in plan_for(graph).layers:
        blocks.setdefault(_block(layer.block), {})[layer.block] = None
    return {block: tuple(layers) for block, layers in blocks.items()}


def _block(layer: str) -> str:
    parts = layer.split(".")
    if parts[0] != "backbone":
        return ".".join(parts[:-1] if parts[0] == "rpn_head" else parts[:2])
    deep = parts[1] == "fpn" or parts[2].startswith("layer")
    return ".".join(parts[: 4 if deep else 3])


def taps_of(graph: LayerGraph) -> Taps:
    """List what calibration must observe in the portable graph.

    Raises:
        ArtifactError: The graph is not laid out as `edgeseg export` does.
    """
    first: dict[str, str] = {}
    for value, key in plan_for(graph).values.items():
        first.setdefault(key, value)
    taps = [
        Tap(key=key, tensor=value, rows=ROWS_BY_PART.get(key.partition(".")[0], Rows.IMAGES))
        for key, value in first.items()
    ]
    return Taps(taps=tuple(taps), present=_presence(graph))


def _presence(graph: LayerGraph) -> str:
    """Find `bool[B, R]`, which says which rows hold a proposal: the condition on the class scores."""
    logits = [layer.product for layer in graph.layers if layer.block == "box_predictor.cls_score"]
    for value in logits:
        reshaped = [node.output[0] for node in graph.consumers[value] if node.op_type == "Reshape"]
        for node in (after for name in [value, *reshaped] for after in graph.consumers[name]):
            if node.op_type == "Where":
                return str(graph.producers[node.input[0]].input[0])
    msg = "the portable graph does not mark its empty proposals; export the bundle again"
    raise ArtifactError(msg)
