from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import pytest

from edgeseg.calibration.observers import FirstAxis
from edgeseg.errors import ArtifactError
from edgeseg.exporter.graph import write_graph
from edgeseg.graphs.layers import LayerGraph
from edgeseg.quantisation.plan import (
    always_excluded_layers,
    quantisable_blocks,
    quantisation_plan,
    range_observers,
)
from edgeseg.spec import Lowering
from tests.models import build, spec_of

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle

HEADS = [
    "box_head.fc6",
    "box_head.fc7",
    "mask_head.0",
    "mask_head.1",
    "mask_head.2",
    "mask_head.3",
    "mask_predictor.pixels",
]


@pytest.fixture(scope="module")
def portable(bundle: Bundle) -> LayerGraph:
    return LayerGraph(onnx.load(bundle.graph_path(Lowering.PORTABLE)))


@pytest.fixture(scope="module")
def tensorrt(bundle: Bundle) -> LayerGraph:
    return LayerGraph(onnx.load(bundle.graph_path(Lowering.TENSORRT)))


def test_layers_are_named_after_the_checkpoint_in_both_graphs(
    portable: LayerGraph, tensorrt: LayerGraph
) -> None:
    names = [layer.name for layer in portable.layers]

    assert names == [layer.name for layer in tensorrt.layers]
    assert names[:3] == [
        "backbone.body.conv1",
        "backbone.body.layer1.0.conv1",
        "backbone.body.layer1.0.conv2",
    ]
    assert "backbone.body.layer2.0.downsample.0" in names
    assert "rpn_head.conv.0.0#4" in names
    assert names[-1] == "mask_predictor.pixels"


def test_both_graphs_need_the_same_ranges(portable: LayerGraph, tensorrt: LayerGraph) -> None:
    assert set(quantisation_plan(portable).values.values()) == set(
        quantisation_plan(tensorrt).values.values()
    )


def test_a_key_says_where_a_value_comes_from(portable: LayerGraph) -> None:
    by_layer = {layer.name: portable.key_of_input(layer) for layer in portable.layers}

    assert by_layer["backbone.body.layer1.0.conv1"] == "backbone.body.conv1.relu.maxpool"
    assert by_layer["backbone.body.layer1.1.conv1"] == "backbone.body.layer1.0.conv2.add.relu"
    assert by_layer["backbone.fpn.layer_blocks.0.0"] == "backbone.fpn.inner_blocks.0.0.add"
    assert by_layer["mask_head.0.0"] == "mask_head.0.0.input"


def test_first_and_output_layers_are_never_rounded(portable: LayerGraph) -> None:
    rounded = {layer.block for layer in quantisation_plan(portable).layers}

    assert rounded.isdisjoint(always_excluded_layers(portable))
    assert set(always_excluded_layers(portable)) == {
        "backbone.body.conv1",
        "rpn_head.cls_logits",
        "rpn_head.bbox_pred",
        "box_predictor.cls_score",
        "box_predictor.bbox_pred",
    }
    assert len(quantisation_plan(portable).layers) == len(portable.layers) - 1 - 5 * 2 - 2


def test_a_reverted_layer_keeps_only_what_its_neighbours_round(portable: LayerGraph) -> None:
    whole = quantisation_plan(portable)
    reverted = quantisation_plan(portable, ["box_head.fc7"])

    assert set(whole.values.values()) - set(reverted.values.values()) == {"box_head.fc6.relu"}
    assert {layer.name for layer in whole.layers} - {layer.name for layer in reverted.layers} == {
        "box_head.fc7"
    }


def test_a_level_of_the_pyramid_shares_the_range_of_what_it_is_made_from(portable: LayerGraph) -> None:
    values = quantisation_plan(portable).values
    resized = [node for node in portable.model.graph.node if node.op_type == "Resize"]

    assert len(resized) == 3
    assert all(values[node.output[0]] == values[node.input[0]] for node in resized)


def test_blocks_hold_every_rounded_layer_once(portable: LayerGraph) -> None:
    blocks = quantisable_blocks(portable)
    layers = [layer for group in blocks.values() for layer in group]

    assert sorted(layers) == sorted({layer.block for layer in quantisation_plan(portable).layers})
    assert blocks["backbone.body.layer2.0"] == (
        "backbone.body.layer2.0.conv1",
        "backbone.body.layer2.0.conv2",
        "backbone.body.layer2.0.downsample.0",
    )
    assert [name for name in blocks if not name.startswith(("backbone", "rpn"))] == HEADS


def test_heads_are_tapped_on_real_rows_only(portable: LayerGraph) -> None:
    observers = range_observers(portable)
    rows = {observer.key: observer.rows for observer in observers.observers}

    assert rows["box_head.fc6.input"] is FirstAxis.PROPOSALS
    assert rows["mask_head.0.0.input"] is FirstAxis.DETECTIONS
    assert rows["backbone.fpn.inner_blocks.0.0.add"] is FirstAxis.IMAGES
    assert portable.producers[observers.present].op_type == "Greater"


def test_a_graph_of_another_make_is_refused(portable: LayerGraph) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(portable.model)
    for node in model.graph.node:
        if node.op_type == "Where":
            node.op_type = "Sum"

    with pytest.raises(ArtifactError, match="does not mark its empty proposals; export the bundle again"):
        range_observers(LayerGraph(model))


@pytest.mark.parametrize(
    ("architecture", "count"),
    [("maskrcnn_resnet50_fpn_v2", 36), ("mobilenet_v2", 30), ("mobilenet_v3_large", 28)],
)
def test_layers_of_other_architectures_have_names_and_blocks(
    architecture: str, count: int, tmp_path: Path
) -> None:
    model = build(architecture, 3).eval()
    path = tmp_path / "portable.onnx"
    write_graph(model, spec_of(model, (96, 128)), Lowering.PORTABLE, path)
    graph = LayerGraph(onnx.load(path))

    assert all(layer.name.startswith(("backbone.", "rpn_", "box_", "mask_")) for layer in graph.layers)
    assert len(quantisable_blocks(graph)) == count
    # Squeeze-and-excitation would be the only other layers without a value of their own to take.
    unnamed = [layer.name for layer in quantisation_plan(graph).layers if layer.input_value not in graph.keys]
    assert all(name.startswith(("box_head", "mask_head")) for name in unnamed)
