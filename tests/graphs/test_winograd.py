"""Convolutions with half the products: what they give, which are taken, and what is left of the rest."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from edgeseg.bundle.engines import machine_family
from edgeseg.graphs import winograd
from edgeseg.graphs.winograd import WINOGRAD_SUFFIX, rewrite_for_winograd
from edgeseg.spec import Lowering

from .sessions import session_of

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle

CHANNELS = 8
# Steps of float32 near 1: what the sums before and after may round.
TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> onnx.ModelProto:
    return onnx.load(bundle.graph_path(Lowering.PORTABLE))


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 1)
    monkeypatch.setattr(winograd, "MIN_PIXELS", 1)


def network(height: int, *after: onnx.NodeProto, dims: dict[str, int], **attributes: Any) -> onnx.ModelProto:
    """A convolution of `float32[2, 8, height, 5]`, what follows it, and the channels of each result."""
    numbers = np.random.default_rng(0)
    plain: dict[str, Any] = {
        "kernel_shape": [3, 3],
        "strides": [1, 1],
        "dilations": [1, 1],
        "pads": [1, 1, 1, 1],
        "group": 1,
    }
    conv = onnx.helper.make_node(
        "Conv", ["image", "weight", "bias"], ["conv"], name="conv", **plain | attributes
    )
    weights = {
        "weight": numbers.normal(size=(CHANNELS, CHANNELS, 3, 3)) / 9,
        "bias": numbers.normal(size=CHANNELS),
        "one": numbers.normal(size=(1, CHANNELS, 1, 1)),
        "three": numbers.normal(size=(3, CHANNELS, 1, 1)),
        "ten": numbers.normal(size=(10, CHANNELS, 1, 1)),
    }
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, channels, height, 5])
        for name, channels in {"image": CHANNELS, **dims}.items()
    ]
    graph = onnx.helper.make_graph(
        [conv, *after],
        "network",
        values[:1],
        values[1:],
        [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)


def one_pixel(taken: str, weight: str, given: str) -> onnx.NodeProto:
    plain: dict[str, Any] = {"kernel_shape": [1, 1], "strides": [1, 1], "dilations": [1, 1], "pads": [0] * 4}
    return onnx.helper.make_node("Conv", [taken, weight], [given], given, **plain)


def results(model: onnx.ModelProto) -> list[np.ndarray]:
    image = np.random.default_rng(1).normal(size=[d.dim_value for d in dims_of(model)]).astype(np.float32)
    outputs: list[np.ndarray] = session_of(model).run(None, {"image": image})
    return outputs


def dims_of(model: onnx.ModelProto) -> Any:
    return model.graph.input[0].type.tensor_type.shape.dim


def count(model: onnx.ModelProto, kind: str) -> int:
    return sum(node.op_type == kind for node in model.graph.node)


RELU = onnx.helper.make_node("Relu", ["conv"], ["relu"], "relu")
ADD = onnx.helper.make_node("Add", ["conv", "image"], ["add"], "add")
HEADS = (one_pixel("relu", "one", "score"), one_pixel("relu", "three", "box"))


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize("height", [1, 4, 5, 6, 7, 8])
@pytest.mark.parametrize(
    ("after", "dims"),
    [
        ((), {"conv": 8}),
        ((RELU,), {"relu": 8}),
        ((RELU, *HEADS), {"score": 1, "box": 3}),
        ((RELU, one_pixel("relu", "ten", "wider")), {"wider": 10}),
        ((RELU, ADD), {"relu": 8, "add": 8}),
        ((RELU, *HEADS), {"score": 1, "box": 3, "relu": 8}),
    ],
    ids=["alone", "activated", "heads", "wider", "added", "heads and itself"],
)
def test_it_gives_the_same_whatever_follows(
    height: int, after: tuple[onnx.NodeProto, ...], dims: dict[str, int]
) -> None:
    plain = network(height, *after, dims=dims)
    halved = rewrite_for_winograd(plain)

    for expected, found in zip(results(plain), results(halved), strict=True):
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=20 * TOLERANCE)
    sizes = {tuple(a.ints) for n in halved.graph.node for a in n.attribute if a.name == "kernel_shape"}
    assert (3, 3) not in sizes


@pytest.mark.usefixtures("all_large")
def test_rows_are_put_in_order_where_they_are_fewest() -> None:
    heads = rewrite_for_winograd(network(8, RELU, *HEADS, dims={"score": 1, "box": 3}))
    wider = rewrite_for_winograd(network(8, RELU, one_pixel("relu", "ten", "wider"), dims={"wider": 10}))

    assert {node.output[0] for node in heads.graph.node if node.op_type == "Reshape"} == {"score", "box"}
    assert {node.output[0] for node in wider.graph.node if node.op_type == "Reshape"} == {"relu"}


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize(
    "attributes",
    [{"dilations": [2, 2], "pads": [2, 2, 2, 2]}, {"pads": [2, 1, 0, 1]}, {"strides": [2, 2]}],
    ids=["dilated", "padded otherwise", "strided"],
)
def test_others_stay_as_they_are(attributes: dict[str, list[int]]) -> None:
    assert rewrite_for_winograd(network(8, dims={"conv": 8}, **attributes)) is None


@pytest.mark.usefixtures("all_large")
def test_groups_stay_as_they_are() -> None:
    grouped = network(8, dims={"conv": 8}, group=2)
    (weight,) = (tensor for tensor in grouped.graph.initializer if tensor.name == "weight")
    halves = onnx.numpy_helper.to_array(weight)[:, : CHANNELS // 2]
    weight.CopyFrom(onnx.numpy_helper.from_array(halves, "weight"))

    assert rewrite_for_winograd(grouped) is None


@pytest.mark.parametrize(("least", "taken"), [(64 * 80 + 1, 0), (64 * 80, 2), (32 * 40, 4)])
def test_large_ones_of_a_network_are_taken(
    model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch, least: int, taken: int
) -> None:
    monkeypatch.setattr(winograd, "MIN_PIXELS", least)
    halved = rewrite_for_winograd(model)

    # Six products for each; of the pyramid the finest levels and what the proposal network makes of them.
    nodes = halved.graph.node if halved else ()
    assert sum(f"{WINOGRAD_SUFFIX}product_" in node.name for node in nodes) == 6 * taken


@pytest.mark.usefixtures("all_large")
def test_a_network_finds_the_same(model: onnx.ModelProto, photographs: np.ndarray) -> None:
    sessions = [session_of(graph) for graph in (model, rewrite_for_winograd(model))]
    counts = []
    for image in photographs:
        feeds = {"images": image[None], "score_threshold": np.array(0.05, np.float32)}
        (count, *expected), (found_count, *found) = (session.run(None, feeds) for session in sessions)
        assert found_count == count
        for values, wanted, tolerance in zip(found, expected, (0.05, 1e-4, 0, 1e-3), strict=True):
            np.testing.assert_allclose(values, wanted, atol=tolerance)
        counts += count.tolist()
    assert min(counts) > 0


@pytest.mark.usefixtures("all_large")
def test_weights_that_levels_share_are_stored_once(model: onnx.ModelProto) -> None:
    names = [tensor.name for tensor in rewrite_for_winograd(model).graph.initializer]

    assert sum(name.startswith("rpn_head.conv.0.0.weight") for name in names) == 6
    assert len(set(names)) == len(names)


@pytest.mark.skipif(machine_family(platform.machine()) != "x86_64", reason="of the kernels for x86")
@pytest.mark.usefixtures("all_large")
def test_sums_are_computed_with_the_products(model: onnx.ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "optimised.onnx"
    session_of(rewrite_for_winograd(model), optimized_model_filepath=str(path))
    named = [node for node in onnx.load(path).graph.node if WINOGRAD_SUFFIX in node.name]

    assert {node.domain for node in named if node.op_type == "Conv"} <= {"com.microsoft.nchwc"}
    assert sum(node.op_type == "Add" for node in named) < sum(node.op_type == "Conv" for node in named) / 5


@pytest.mark.usefixtures("all_large")
def test_the_graph_is_left_as_it_was(model: onnx.ModelProto) -> None:
    before = model.SerializeToString()

    rewrite_for_winograd(model)

    assert model.SerializeToString() == before
