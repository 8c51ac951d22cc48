"""The 8-bit graph for processors with AMX: what it finds, what is cut, and what computes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from edgeseg.graphs import amx
from edgeseg.graphs.amx import STRIP_SUFFIX, rewrite_for_amx
from edgeseg.graphs.layers import LayerGraph
from edgeseg.quantisation.qdq.onnxruntime import onnxruntime_graph
from edgeseg.runtime.host.machine import Host, weight_bits
from edgeseg.spec import Lowering

from .sessions import outputs_of, session_of

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.calibration.table import CalibrationTable


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> onnx.ModelProto:
    return onnx.load(bundle.graph_path(Lowering.PORTABLE))


@pytest.fixture(scope="module")
def rounded(model: onnx.ModelProto, table: CalibrationTable) -> onnx.ModelProto:
    # No engine is laid out so with 7-bit weights, but stored one step lower they are exact still.
    graph: onnx.ModelProto = onnxruntime_graph(model, table, weight_bits=weight_bits(Host()))
    return graph


@pytest.fixture
def all_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every convolution as a product of matrices, of some rows at a time."""
    monkeypatch.setattr(amx, "MIN_PRODUCTS", 1)
    monkeypatch.setattr(amx, "MATRIX_BYTES", 100_000)


def convolutions(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {node.name: node for node in model.graph.node if node.op_type == "Conv"}


def weight_zeros(model: onnx.ModelProto) -> dict[str, set[int]]:
    """Zero points of the weights, by layer."""
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    ending = ".weight.zero_point"
    return {
        name.removesuffix(ending): set(values.tolist())
        for name, values in stored.items()
        if name.endswith(ending)
    }


def test_it_finds_the_same_to_the_last_bit(rounded: onnx.ModelProto, photographs: np.ndarray) -> None:
    for image in photographs:
        for plain, again in zip(
            outputs_of(rounded, image), outputs_of(rewrite_for_amx(rounded), image), strict=True
        ):
            np.testing.assert_array_equal(plain, again)


@pytest.mark.usefixtures("all_in_strips")
def test_strips_of_every_convolution_join_to_the_same(
    rounded: onnx.ModelProto, photographs: np.ndarray
) -> None:
    cut = rewrite_for_amx(rounded)
    strips = [name for name in convolutions(cut) if STRIP_SUFFIX in name]
    strides = {tuple(a.ints) for n in strips for a in convolutions(cut)[n].attribute if a.name == "strides"}

    assert len(strips) > 50
    assert strides == {(1, 1), (2, 2)}
    for plain, again in zip(
        outputs_of(rounded, photographs[0]), outputs_of(cut, photographs[0]), strict=True
    ):
        np.testing.assert_array_equal(plain, again)


@pytest.mark.usefixtures("all_in_strips")
def test_strips_are_computed_in_integers(rounded: onnx.ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "optimised.onnx"
    cut = rewrite_for_amx(rounded)
    session_of(cut, optimized_model_filepath=str(path))
    kinds = [node.op_type for node in onnx.load(path).graph.node]

    # The first convolution is all that computes in float.
    assert kinds.count("Conv") + kinds.count("FusedConv") == 1
    assert kinds.count("QLinearConv") == len(convolutions(cut)) - 1


def test_weights_of_many_products_have_another_zero_and_stand_for_the_same(rounded: onnx.ModelProto) -> None:
    zeros = weight_zeros(rewrite_for_amx(rounded))
    before, after = (
        {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
        for graph in (rounded, rewrite_for_amx(rounded))
    )

    assert zeros["backbone.body.layer1.0.conv1"] == {0}
    # Shared by five levels, and moved once.
    assert zeros["rpn_head.conv.0.0"] == {-1}
    assert zeros["box_head.fc6"] == {0}
    for layer, (zero,) in zeros.items():
        name = f"{layer}.weight.q"
        np.testing.assert_array_equal(before[name].astype(int), after[name].astype(int) - zero)


def test_small_matrices_are_not_cut(rounded: onnx.ModelProto) -> None:
    assert set(convolutions(rewrite_for_amx(rounded))) == set(convolutions(rounded))


@pytest.mark.usefixtures("all_in_strips")
def test_what_has_no_fixed_rows_or_lays_nothing_out_stays_whole(
    model: onnx.ModelProto, rounded: onnx.ModelProto
) -> None:
    cut = {
        name.partition(STRIP_SUFFIX)[0]
        for name in convolutions(rewrite_for_amx(rounded))
        if STRIP_SUFFIX in name
    }
    layers = {layer.name: layer.node for layer in LayerGraph(model).layers}
    # How many crops the mask head takes is not known; a kernel of one pixel takes the input as it is.
    assert layers["backbone.fpn.layer_blocks.0.0"].name in cut
    assert layers["backbone.fpn.inner_blocks.0.0"].name not in cut
    assert not {node.name for name, node in layers.items() if name.startswith("mask_head")} & cut


def test_the_graph_is_left_as_it_was(rounded: onnx.ModelProto) -> None:
    before = rounded.SerializeToString()

    rewrite_for_amx(rounded)

    assert rounded.SerializeToString() == before
