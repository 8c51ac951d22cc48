"""Looking up values of a graph, and putting other nodes in place of those there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeseg.graphs.editor import GraphEditor, GraphIndex, attribute, inner_graphs, keep_only_outputs

onnx = pytest.importorskip("onnx")
FLOAT = onnx.TensorProto.FLOAT


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, inputs.split(), outputs.split(), name=outputs, **attributes)


def described(name: str, *sizes: int | str) -> Any:
    return onnx.helper.make_tensor_value_info(name, FLOAT, sizes)


def model_of(nodes: list[Any], outputs: list[Any], constants: dict[str, np.ndarray]) -> Any:
    tensors = [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = onnx.helper.make_graph(nodes, "small", [described("x", "n", 2, 4)], outputs, tensors)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)])


@pytest.fixture
def model() -> Any:
    """`x` doubled, then made positive and summed up; `unused` goes nowhere."""
    nodes = [
        node("Mul", "x two", "doubled"),
        node("Relu", "doubled", "positive"),
        node("Add", "doubled positive", "y"),
        node("Sub", "x one", "unused"),
    ]
    constants = {"two": np.full(1, 2, np.float32), "one": np.ones(1, np.float32)}
    return model_of(nodes, [described("y", "n", 2, 4)], constants)


def branching(model: Any) -> Any:
    """The same, and a branch that takes `unused` without naming it among its inputs."""
    body = onnx.helper.make_graph([node("Neg", "unused", "negative")], "body", [], [described("negative")])
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "condition"))
    model.graph.node.append(node("If", "condition", "chosen", then_branch=body, else_branch=body))
    return model


def names(model: Any) -> tuple[list[str], list[str]]:
    """Names of nodes and of constants."""
    return [each.name for each in model.graph.node], [each.name for each in model.graph.initializer]


def test_who_gives_and_who_takes_a_value(model: Any) -> None:
    index = GraphIndex(model)

    assert index.producers["doubled"].op_type == "Mul"
    assert [taker.name for taker in index.consumers["doubled"]] == ["positive", "y"]
    assert index.consumers["y"] == []
    assert index.output_names == {"y"}
    assert index.array("two").tolist() == [2]


def test_a_shape_is_inferred_where_the_graph_does_not_say_it(model: Any) -> None:
    index = GraphIndex(model)

    assert set(index.described) == {"x", "y"}
    assert index.shape("doubled") == (0, 2, 4)
    assert index.description("nowhere") is None
    assert index.shape("nowhere") == (0,)


def test_what_the_graph_says_is_taken_first(model: Any) -> None:
    model.graph.value_info.append(described("doubled", 7, 2, 4))

    assert GraphIndex(model).shape("doubled") == (7, 2, 4)


def test_an_editor_infers_from_the_nodes_that_were_there(model: Any) -> None:
    editor = GraphEditor(model)
    editor.model.graph.node[0].input[0] = "not there yet"

    assert editor.shape("positive") == (0, 2, 4)


def test_other_nodes_in_place_of_those_there(model: Any) -> None:
    before = model.SerializeToString()
    editor = GraphEditor(model)
    double, relu, total, _ = editor.model.graph.node
    three = editor.constant("three", np.full(1, 3, np.float32))
    tripled = editor.append_copy(double, editor.add("Mul", ["x", three], "tripled"), ".again")
    editor.append_copy(double, "x", ".idle")
    relu.input[0] = tripled
    editor.nodes += [double, relu, total]
    edited = editor.finish()

    assert names(edited) == (["tripled", "doubled.again", "doubled", "positive", "y"], ["two", "three"])
    assert list(edited.graph.node[1].input) == ["tripled", "two"]
    assert model.SerializeToString() == before


def test_a_constant_is_added_once_and_replaced_when_asked(model: Any) -> None:
    editor = GraphEditor(model)

    editor.constant("two", np.full(1, 5, np.float32))
    assert editor.array("two").tolist() == [2]
    editor.replace_constant("two", np.full(1, 5, np.float32))
    assert editor.array("two").tolist() == [5]
    assert GraphIndex(model).array("two").tolist() == [2]


def test_what_the_outputs_do_not_need_goes_with_all_before_it(model: Any) -> None:
    editor = GraphEditor(model)
    editor.nodes += editor.model.graph.node
    editor.add("Neg", ["unused"], "negative")

    assert names(editor.finish()) == (["doubled", "positive", "y"], ["two"])


def test_nodes_out_of_order_are_refused(model: Any) -> None:
    editor = GraphEditor(model)
    first, *others = editor.model.graph.node
    editor.nodes += [*others, first]

    with pytest.raises(onnx.checker.ValidationError, match="doubled"):
        editor.finish()


def test_other_outputs(model: Any) -> None:
    keep_only_outputs(model, [GraphIndex(model).description(value) for value in ("unused", "doubled")])

    assert names(model) == (["doubled", "unused"], ["two", "one"])
    assert [value.name for value in model.graph.output] == ["unused", "doubled"]
    onnx.checker.check_model(model)


def test_a_branch_needs_what_it_reads(model: Any) -> None:
    keep_only_outputs(branching(model), [described("chosen")])

    assert names(model) == (["unused", "chosen"], ["one", "condition"])
    assert [len(graph.node) for graph in inner_graphs(model.graph.node[-1])] == [1, 1]


def test_attributes() -> None:
    conv = node("Conv", "x w", "y", pads=[1, 0, 1, 0], group=2)

    assert attribute(conv, "pads") == [1, 0, 1, 0]
    assert attribute(conv, "group", 1) == 2
    assert attribute(conv, "strides", [1]) == [1]
    assert attribute(conv, "strides") is None
