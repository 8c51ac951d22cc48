"""Putting nodes of a graph in place of others."""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.optional import require

if TYPE_CHECKING:
    from numpy.typing import NDArray


class GraphRewriter:
    """A copy of a graph whose nodes are listed anew, in the order of computation.

    Args:
        model: ONNX model; not changed.

    Attributes:
        onnx: The package.
        model: The copy; until it is finished, with the nodes that it had.
        nodes: Those that it shall have; what nothing takes is left out in the end.
        shapes: Value name to sizes, 0 where they depend on data.
        output_names: Names of what the graph gives.
        producers: Value name to the node that gave it.
        consumers: Value name to the nodes that took it.
        constants: Name to tensor.
    """

    def __init__(self, model: Any) -> None:
        self.onnx = require("onnx", purpose="write an engine")
        self.model = copy.deepcopy(model)
        self.nodes: list[Any] = []
        described = self.onnx.shape_inference.infer_shapes(model).graph
        self.shapes = {
            info.name: [size.dim_value for size in info.type.tensor_type.shape.dim]
            for info in (*described.input, *described.value_info, *described.output)
        }
        graph = self.model.graph
        self.output_names = {value.name for value in graph.output}
        self.producers = {output: node for node in graph.node for output in node.output}
        self.consumers: dict[str, list[Any]] = defaultdict(list)
        for node in graph.node:
            for value in node.input:
                self.consumers[value].append(node)
        self.constants = {tensor.name: tensor for tensor in graph.initializer}

    def ints(self, node: Any, name: str) -> list[int]:
        """Read an attribute that lists integers."""
        (attribute,) = (attribute for attribute in node.attribute if attribute.name == name)
        return list(attribute.ints)

    def array(self, name: str) -> NDArray[Any]:
        """Read a constant."""
        return np.asarray(self.onnx.numpy_helper.to_array(self.constants[name]))

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add a constant, or change one; gives its name."""
        self.constants[name] = self.onnx.numpy_helper.from_array(values, name)
        return name

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Append a node that is named as what it gives; gives that name."""
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def append_copy(self, node: Any, value: str, suffix: str) -> str:
        """Append a copy of a node with another input; `suffix` is added to its name and its output's."""
        copied = copy.deepcopy(node)
        copied.name += suffix
        copied.input[0] = value
        copied.output[0] += suffix
        self.nodes.append(copied)
        return str(copied.output[0])

    def finish(self) -> Any:
        """Give the copy with its new nodes."""
        graph = self.model.graph
        used = {value for node in self.nodes for value in node.input} | self.output_names
        nodes = [node for node in self.nodes if used.intersection(node.output)]
        used_values = {value for node in nodes for value in node.input}
        del graph.node[:], graph.initializer[:]
        graph.node.extend(nodes)
        graph.initializer.extend(tensor for name, tensor in self.constants.items() if name in used_values)
        self.onnx.checker.check_model(self.model)
        return self.model
