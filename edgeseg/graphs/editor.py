"""Look up the producers and consumers of values in ONNX graphs, and replace nodes.

This works on the protobuf messages of `onnx`. `onnx_ir` was tried for the AMX rewrite: it took as many lines
of code, but needs sympy on the device that builds engines, takes a second to import, and writes a description
of every value, including constants, into the graph.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.optional import require

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

# Sizes of a value; 0 for a size that is only known at run time.
Shape = tuple[int, ...]


class GraphIndex:
    """The values of a graph, looked up by name.

    Args:
        model: ONNX model; not changed.

    Attributes:
        model: The same model.
        output_names: Names of the graph's outputs.
        producers: Maps the name of a value to the node that computes it.
        consumers: Maps the name of a value to the nodes that read it.
        constants: Maps the name of a constant to its tensor.
    """

    def __init__(self, model: Any) -> None:
        self.onnx = require("onnx", purpose="read a graph")
        self.model = model
        self.output_names = {value.name for value in model.graph.output}
        self.producers = {output: node for node in model.graph.node for output in node.output}
        self.consumers: dict[str, list[Any]] = defaultdict(list)
        for node in model.graph.node:
            for value in node.input:
                self.consumers[value].append(node)
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}

    @cached_property
    def described(self) -> dict[str, Any]:
        """Value name to type and shape, for those of which the graph says them."""
        return _descriptions(self.model)

    @cached_property
    def _inferred(self) -> dict[str, Any]:
        return _descriptions(self.onnx.shape_inference.infer_shapes(self.model))

    def description(self, value: str) -> Any:
        """Type and shape of a value, inferred where the graph does not say; None where nothing does."""
        return self.described.get(value) or self._inferred.get(value)

    def shape(self, value: str) -> Shape:
        """Sizes of a value; a single 0 where nothing says how many they are."""
        description = self.description(value)
        return (0,) if description is None else shape_from_description(description)

    def array(self, name: str) -> NDArray[Any]:
        """Read a constant."""
        return np.asarray(self.onnx.numpy_helper.to_array(self.constants[name]))


class GraphEditor(GraphIndex):
    """A copy of a graph that gets a new list of nodes, in the order of computation.

    Args:
        model: ONNX model; not changed.

    Attributes:
        model: The copy; it keeps its original nodes until `finish`.
        nodes: The new nodes; `finish` drops those whose results are not needed.
        constants: The original constants and those that were added.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(copy.deepcopy(model))
        self._original = model
        self.nodes: list[Any] = []

    @cached_property
    def _inferred(self) -> dict[str, Any]:
        # The nodes of the copy may be changed already.
        return _descriptions(self.onnx.shape_inference.infer_shapes(self._original))

    def constant(self, name: str, values: Any) -> str:
        """Add a constant, once, and give its name."""
        if name not in self.constants:
            self.replace_constant(name, values)
        return name

    def replace_constant(self, name: str, values: Any) -> None:
        """Give a constant other values."""
        self.constants[name] = self.onnx.numpy_helper.from_array(np.asarray(values), name)

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
        """Give the copy with its new nodes, without what its outputs do not need."""
        _replace_contents(self.model.graph, self.nodes, self.constants.values())
        self.onnx.checker.check_model(self.model)
        return self.model


def keep_only_outputs(model: Any, outputs: Iterable[Any]) -> None:
    """Give a graph other outputs, and drop what they do not need.

    Args:
        model: Changed in place: a copy would double what a large network takes.
        outputs: Descriptions of values of the graph.
    """
    graph = model.graph
    outputs = list(outputs)
    graph.ClearField("output")
    graph.output.extend(outputs)
    _replace_contents(graph, list(graph.node), list(graph.initializer))


def _replace_contents(graph: Any, nodes: list[Any], constants: Iterable[Any]) -> None:
    """Put in other nodes, in the order of computation, and constants: those that the outputs need."""
    needed = {value.name for value in graph.output}
    kept_nodes = []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(_values_read(node))
            kept_nodes.append(node)
    kept_constants = [tensor for tensor in constants if tensor.name in needed]
    for field, content in (("node", kept_nodes[::-1]), ("initializer", kept_constants)):
        graph.ClearField(field)
        getattr(graph, field).extend(content)


def _values_read(node: Any) -> Iterator[str]:
    """Name what a node reads, in its loops and branches too."""
    yield from node.input
    for inner in inner_graphs(node):
        for each in inner.node:
            yield from _values_read(each)


def inner_graphs(node: Any) -> Iterator[Any]:
    """List the loop or the branches of a node."""
    for item in node.attribute:
        if item.HasField("g"):
            yield item.g
        yield from item.graphs


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """Read an attribute of a node; those that list numbers as a list."""
    onnx = require("onnx", purpose="read a graph")
    found = next((item for item in node.attribute if item.name == name), None)
    return default if found is None else onnx.helper.get_attribute_value(found)


def shape_from_description(description: Any) -> Shape:
    """Read the sizes in a description of a value."""
    return tuple(size.dim_value for size in description.type.tensor_type.shape.dim)


def _descriptions(model: Any) -> dict[str, Any]:
    graph = model.graph
    return {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
