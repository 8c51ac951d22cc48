"""Which layers of a graph can be quantised, and names for their tensors that both graphs share.

Node and value names differ from graph to graph; the names of the weights come from the checkpoint and do not.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from .editor import GraphIndex

# Operators between layers; their outputs are named after their inputs.
PASS_THROUGH_OPERATORS = (
    "Relu",
    "Clip",
    "HardSwish",
    "HardSigmoid",
    "Add",
    "Mul",
    "Resize",
    "MaxPool",
    "GlobalAveragePool",
)
ACTIVATIONS = ("Relu", "Clip")
WEIGHT = ".weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution or dense layer with constant weights.

    Attributes:
        name: Where its weights are in the checkpoint, such as `backbone.body.layer1.0.conv1`; the second use
            of the same weights ends in `#1`.
        node: The ONNX node: `Conv` or `Gemm`.
        input_value: Value that it takes.
        output_value: Value that it gives, after the ReLU if that is all that follows.
    """

    name: str
    node: Any
    input_value: str
    output_value: str

    @property
    def block(self) -> str:
        """Name without the count of the use."""
        return self.name.partition("#")[0]


class LayerGraph(GraphIndex):
    """A graph seen as its layers.

    Attributes:
        layers: In the order of computation.
        keys: Value name to the name that both graphs share.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.layers = tuple(self._layers())
        self.keys = self._keys()

    def key_of_input(self, layer: Layer) -> str:
        """Shared name of what a layer takes; crops of a pyramid are named after the layer."""
        return self.keys.get(layer.input_value, f"{layer.name}.input")

    def _layers(self) -> list[Layer]:
        uses: Counter[str] = Counter()
        found = []
        for node in self.model.graph.node:
            if node.op_type not in ("Conv", "Gemm") or node.input[1] not in self.constants:
                continue
            base = node.input[1].removesuffix(WEIGHT)
            name = f"{base}#{uses[base]}" if uses[base] else base
            uses[base] += 1
            found.append(
                Layer(
                    name=name,
                    node=node,
                    input_value=node.input[0],
                    output_value=self.after_activation(node.output[0]),
                )
            )
        return found

    def after_activation(self, value: str) -> str:
        """Value after the activation, where the activation is the only consumer."""
        next_nodes = self.consumers[value]
        if len(next_nodes) == 1 and next_nodes[0].op_type in ACTIVATIONS:
            return str(next_nodes[0].output[0])
        return value

    def _keys(self) -> dict[str, str]:
        keys = {layer.node.output[0]: layer.name for layer in self.layers}
        taken = Counter(keys.values())
        for node in self.model.graph.node:
            known = [keys[value] for value in node.input if value in keys]
            if node.op_type not in PASS_THROUGH_OPERATORS or not known:
                continue
            key = f"{known[0]}.{node.op_type.lower()}"
            taken[key] += 1
            keys[node.output[0]] = key if taken[key] == 1 else f"{key}#{taken[key] - 1}"
        return keys
