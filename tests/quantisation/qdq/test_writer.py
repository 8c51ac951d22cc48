from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from edgeseg.calibration.table import CalibrationTable, Range
from edgeseg.errors import CalibrationError
from edgeseg.graphs.layers import LayerGraph
from edgeseg.quantisation.plan import quantisation_plan
from edgeseg.quantisation.qdq.onnxruntime import onnxruntime_graph
from edgeseg.quantisation.qdq.writer import Scheme, quant_params_from_range, quantise_weight
from edgeseg.runtime.host.machine import Host, weight_bits
from edgeseg.spec import Lowering
from tests.graphs.sessions import outputs_of, session_of

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle

# Those that this processor computes exactly with.
BITS = weight_bits(Host())


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> onnx.ModelProto:
    return onnx.load(bundle.graph_path(Lowering.PORTABLE))


def output_of(model: onnx.ModelProto, name: str) -> str:
    return next(str(layer.node.output[0]) for layer in LayerGraph(model).layers if layer.name == name)


def noise_of(model: onnx.ModelProto, rounded: onnx.ModelProto, image: np.ndarray, value: str) -> float:
    """Root mean square error of a value against FP32, in parts of its own root mean square."""
    pair = []
    for graph in (model, rounded):
        tapped = onnx.ModelProto()
        tapped.CopyFrom(graph)
        tapped.graph.output.append(onnx.helper.make_empty_tensor_value_info(value))
        pair.append(outputs_of(tapped, image, [value])[0])
    return float(np.sqrt(((pair[0] - pair[1]) ** 2).mean() / (pair[0] ** 2).mean()))


@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize("limits", [(0.0, 4.0), (-1.0, 3.0), (-2.0, 0.0), (0.0, 1e-30)])
def test_a_range_just_fits_and_zero_is_exact(scheme: Scheme, limits: tuple[float, float]) -> None:
    rounding = quant_params_from_range(Range(low=limits[0], high=limits[1]), scheme)
    info = np.iinfo(rounding.zero_point.dtype)
    ends = (np.array([info.min, info.max]) - rounding.zero_point.astype(int)) * rounding.scale

    assert info.min <= rounding.zero_point <= info.max
    assert ends[0] <= limits[0] + rounding.scale / 2
    assert ends[1] >= limits[1] - rounding.scale / 2


def test_symmetric_rounding_has_its_zero_at_zero() -> None:
    assert quant_params_from_range(Range(low=-1, high=5), Scheme.SYMMETRIC).zero_point == 0


def test_weights_have_a_step_for_each_output_channel() -> None:
    weight = np.array([[[[1.27, -0.5]]], [[[0.0, 0.00127]]], [[[0.0, 0.0]]]], np.float32)

    steps, scale = quantise_weight(weight, None, np.float32(1))

    assert steps.dtype == np.int8
    assert steps[0].ravel().tolist() == [127, -50]
    assert steps[1].ravel().tolist() == [0, 127]
    np.testing.assert_allclose(steps * scale.reshape(-1, 1, 1, 1), weight, atol=0.005)


def test_a_large_bias_on_tiny_weights_still_fits_32_bits() -> None:
    weight, bias = np.full((1, 1, 1, 1), 1e-9, np.float32), np.array([100.0], np.float32)

    _, scale = quantise_weight(weight, bias, np.float32(0.001))

    assert abs(bias[0] / (scale[0] * 0.001)) < 2**31


def test_every_planned_layer_runs_in_integers(
    model: onnx.ModelProto, table: CalibrationTable, tmp_path: Path
) -> None:
    rounded = onnxruntime_graph(model, table)
    path = tmp_path / "optimised.onnx"
    session_of(rounded, optimized_model_filepath=str(path))
    kinds = [node.op_type for node in onnx.load(path).graph.node]
    planned = [layer.node.op_type for layer in quantisation_plan(LayerGraph(model)).layers]

    assert kinds.count("QLinearConv") == planned.count("Conv") == 37
    assert kinds.count("QGemm") == planned.count("Gemm") == 2
    # The output layers of the five levels: integers in, sums of 32 bits out.
    assert kinds.count("MatMulIntegerToFloat") == 10
    # The first convolution is all that computes in float.
    assert kinds.count("Conv") + kinds.count("FusedConv") == 1
    assert kinds.count("QLinearAdd") == 8 + 3


@pytest.mark.parametrize(
    ("scheme", "kind"), [(Scheme.UINT8, onnx.TensorProto.UINT8), (Scheme.INT8, onnx.TensorProto.INT8)]
)
def test_activations_have_the_type_that_the_processor_wants(
    model: onnx.ModelProto, table: CalibrationTable, scheme: Scheme, kind: int
) -> None:
    rounded = onnxruntime_graph(model, table, scheme)
    zeros = {tensor.name: tensor.data_type for tensor in rounded.graph.initializer}
    types = {zeros[node.input[2]] for node in rounded.graph.node if node.op_type == "QuantizeLinear"}

    assert types == {kind}


@pytest.mark.parametrize("scheme", [Scheme.UINT8, Scheme.INT8])
def test_rounding_is_a_small_noise(
    model: onnx.ModelProto, table: CalibrationTable, photographs: np.ndarray, scheme: Scheme
) -> None:
    rounded = onnxruntime_graph(model, table, scheme, weight_bits=BITS)

    for layer in ("backbone.fpn.layer_blocks.0.0", "rpn_head.cls_logits", "rpn_head.bbox_pred"):
        assert 0 < noise_of(model, rounded, photographs[0], output_of(model, layer)) < 0.1


def test_a_wrong_scale_on_one_layer_is_seen(
    model: onnx.ModelProto, table: CalibrationTable, photographs: np.ndarray
) -> None:
    key = "backbone.body.layer3.0.conv1.relu"
    narrow = Range(low=0.0, high=table.ranges[key].high / 20)
    spoilt = replace(table, ranges={**table.ranges, key: narrow})
    right, wrong = (onnxruntime_graph(model, ranges, weight_bits=BITS) for ranges in (table, spoilt))
    value = next(
        item.node.output[0]
        for item in LayerGraph(model).layers
        if item.name == "backbone.fpn.layer_blocks.2.0"
    )

    noise = noise_of(model, right, photographs[0], value)

    assert noise_of(model, wrong, photographs[0], value) > 3 * noise


def test_reverted_layers_keep_their_weights(model: onnx.ModelProto, table: CalibrationTable) -> None:
    reverted = replace(table, float_layers=("box_head.fc6", "backbone.body.layer1.0.conv1"))
    names = {tensor.name for tensor in onnxruntime_graph(model, reverted).graph.initializer}

    assert {"box_head.fc6.weight", "backbone.body.layer1.0.conv1.weight"} <= names
    assert "box_head.fc7.weight" not in names
    assert "box_head.fc7.weight.q" in names


def test_the_fp32_graph_is_left_as_it_was(model: onnx.ModelProto, table: CalibrationTable) -> None:
    before = model.SerializeToString()

    onnxruntime_graph(model, table)

    assert model.SerializeToString() == before


def test_the_levels_share_their_weights(model: onnx.ModelProto, table: CalibrationTable) -> None:
    names = [tensor.name for tensor in onnxruntime_graph(model, table).graph.initializer]

    assert [name for name in names if name.startswith("rpn_head.conv") and name.endswith(".q")].count(
        "rpn_head.conv.0.0.weight.q"
    ) == 1
    assert not [name for name in names if name.startswith("rpn_head.conv.0.0#") and name.endswith("weight.q")]


def test_a_table_without_a_range_names_it(model: onnx.ModelProto, table: CalibrationTable) -> None:
    ranges = {key: value for key, value in table.ranges.items() if key != "box_head.fc6.relu"}

    with pytest.raises(
        CalibrationError, match=r"no range for box_head.fc6.relu \(1 missing\).*`edgeseg calib"
    ):
        onnxruntime_graph(model, replace(table, ranges=ranges))


def test_nothing_found_gives_no_detection(model: onnx.ModelProto, table: CalibrationTable) -> None:
    counts, *_ = outputs_of(
        onnxruntime_graph(model, table, weight_bits=BITS), np.full((256, 320, 3), 114, np.uint8)
    )

    assert counts.shape == (1,)
