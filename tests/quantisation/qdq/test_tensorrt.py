"""The 8-bit graph for TensorRT: where it rounds, what it finds, and what TensorRT for RTX makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest

from edgeseg.builder.kernels import int8_nodes
from edgeseg.calibration.table import CalibrationTable, Range
from edgeseg.errors import BuildError, CalibrationError
from edgeseg.graphs.layers import LayerGraph
from edgeseg.quantisation.plan import quantisation_plan
from edgeseg.quantisation.qdq.tensorrt import tensorrt_graph
from edgeseg.quantisation.qdq.writer import fitting_scales, quantise_with_scales, round_scale_up
from edgeseg.spec import Lowering
from tests.builder.rtx import build_rtx, needs_rtx

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle

HALF, SINGLE = Lowering.TENSORRT_FP16, Lowering.TENSORRT
DTYPES = {HALF: onnx.TensorProto.FLOAT16, SINGLE: onnx.TensorProto.FLOAT}


@pytest.fixture(scope="module")
def plain(bundle: Bundle) -> dict[Lowering, onnx.ModelProto]:
    return {lowering: onnx.load(bundle.graph_path(lowering)) for lowering in (SINGLE, HALF)}


@pytest.fixture(scope="module")
def rounded(
    plain: dict[Lowering, onnx.ModelProto], table: CalibrationTable
) -> dict[Lowering, onnx.ModelProto]:
    return {lowering: tensorrt_graph(model, table) for lowering, model in plain.items()}


def producers(model: Any) -> dict[str, Any]:
    return {value: node for node in model.graph.node for value in node.output}


def given_by(model: Any, kind: str) -> set[str]:
    return {node.output[0] for node in model.graph.node if node.op_type == kind}


@pytest.mark.parametrize("lowering", [SINGLE, HALF])
def test_planned_layers_take_rounded_values_and_weights(
    plain: dict[Lowering, onnx.ModelProto], rounded: dict[Lowering, onnx.ModelProto], lowering: Lowering
) -> None:
    model = rounded[lowering]
    dequantized = given_by(model, "DequantizeLinear")
    planned = {layer.node.name for layer in quantisation_plan(LayerGraph(plain[lowering])).layers}
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]

    assert len(planned) == 39
    for node in layers:
        rounded_inputs = [value in dequantized for value in node.input]
        assert rounded_inputs == [node.name in planned] * 2 + [False] * (len(node.input) - 2), node.name


@pytest.mark.parametrize("lowering", [SINGLE, HALF])
def test_nothing_else_is_rounded(rounded: dict[Lowering, onnx.ModelProto], lowering: Lowering) -> None:
    model = rounded[lowering]
    dequantized = given_by(model, "DequantizeLinear")
    takers = {node.op_type for node in model.graph.node if dequantized & set(node.input)}
    source = producers(model)
    rounds = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]

    assert takers == {"Conv", "Gemm", "Add", "MaxPool", "Resize"}
    assert len(rounds) == len({node.input[0] for node in rounds})
    assert all(source[node.input[0]].op_type != "DequantizeLinear" for node in rounds)


def fused_sums(model: Any) -> list[bool]:
    """For each sum that takes a rounded value: is the other input a convolution's own output?"""
    source = producers(model)
    kinds = [
        [source[value].op_type for value in node.input if value in source]
        for node in model.graph.node
        if node.op_type == "Add"
    ]
    return [sorted(pair) == ["Conv", "DequantizeLinear"] for pair in kinds if "DequantizeLinear" in pair]


@pytest.mark.parametrize("lowering", [SINGLE, HALF])
def test_sums_fuse_into_the_convolution_before_them(
    rounded: dict[Lowering, onnx.ModelProto], lowering: Lowering
) -> None:
    # Eight blocks of a ResNet-18 and the three merging levels of its pyramid.
    assert fused_sums(rounded[lowering]) == [True] * 11


def test_sum_after_a_float_layer_is_left_alone(
    plain: dict[Lowering, onnx.ModelProto], table: CalibrationTable
) -> None:
    model = tensorrt_graph(plain[SINGLE], replace(table, float_layers=("backbone.body.layer1.0.conv2",)))

    assert fused_sums(model) == [True] * 10


@pytest.mark.parametrize("lowering", [SINGLE, HALF])
def test_scales_have_the_type_of_the_layers(
    rounded: dict[Lowering, onnx.ModelProto], lowering: Lowering
) -> None:
    model = onnx.shape_inference.infer_shapes(rounded[lowering], strict_mode=True)
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    scales = [tensor for tensor in model.graph.initializer if tensor.name.endswith(".scale")]

    assert {types[value] for value in given_by(model, "DequantizeLinear")} == {DTYPES[lowering]}
    assert {tensor.data_type for tensor in scales} == {DTYPES[lowering]}
    assert all(
        (onnx.numpy_helper.to_array(tensor) >= 2.0**-14).all() for tensor in scales if lowering is HALF
    )
    zeros = [tensor for tensor in model.graph.initializer if tensor.name.endswith(".zero_point")]
    assert zeros
    assert not any(onnx.numpy_helper.to_array(tensor).any() for tensor in zeros)


def test_steps_too_small_for_half_precision_become_the_smallest_that_it_holds() -> None:
    weight = np.array([[1e-9, 0.0], [0.001, -0.002], [1.27, 0.3]], np.float32)
    scale = round_scale_up(fitting_scales(weight), np.float16)

    assert scale.dtype == np.float16
    assert scale[:2].tolist() == [2.0**-14] * 2
    assert (scale.astype(np.float32) * 127 >= np.abs(weight).max(1)).all()
    assert quantise_with_scales(weight, scale.astype(np.float32)).tolist()[1] == [16, -33]


def noise_of(model: Any, other: Any, images: np.ndarray) -> dict[str, float]:
    """Root mean square difference, in parts of the value's own, of pyramid levels and output layers."""
    layers = [
        layer for layer in LayerGraph(model).layers if "layer_blocks" in layer.name or "cls" in layer.name
    ]
    names = [layer.node.output[0] for layer in layers]
    found = []
    for graph in (model, other):
        tapped = onnx.ModelProto()
        tapped.CopyFrom(graph)
        tapped.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
        session = onnxruntime.InferenceSession(tapped.SerializeToString(), providers=["CPUExecutionProvider"])
        found.append([session.run(names, {"images": image[None]}) for image in images])
    return {
        layer.name: max(
            float(np.sqrt(((one[i] - two[i]) ** 2).mean() / (one[i] ** 2).mean()))
            for one, two in zip(*found, strict=True)
        )
        for i, layer in enumerate(layers)
        if layer.name != "box_predictor.cls_score"
    }


def test_single_precision_graph_is_near_the_plain_one_on_photographs(
    plain: dict[Lowering, onnx.ModelProto], rounded: dict[Lowering, onnx.ModelProto], photographs: np.ndarray
) -> None:
    noise = noise_of(plain[SINGLE], rounded[SINGLE], photographs[:2])
    # Measured: 0.10 to 0.22. A random network passes noise on; a trained one is compared in test_half.py.
    assert max(noise.values()) < 0.26, noise


@pytest.mark.parametrize(
    "key",
    [
        "backbone.body.layer2.0.conv1.relu",
        "backbone.body.layer2.0.downsample.0",
        "backbone.fpn.inner_blocks.2.0.add",
    ],
)
def test_wrong_scale_of_one_layer_is_noticed(
    plain: dict[Lowering, onnx.ModelProto], table: CalibrationTable, photographs: np.ndarray, key: str
) -> None:
    narrow = Range(low=table.ranges[key].low / 10, high=table.ranges[key].high / 10)
    wrong = tensorrt_graph(plain[SINGLE], replace(table, ranges={**table.ranges, key: narrow}))
    # Measured: 0.38 to 0.75.
    assert max(noise_of(plain[SINGLE], wrong, photographs[:2]).values()) > 0.3


def test_a_range_that_is_missing_is_named(
    plain: dict[Lowering, onnx.ModelProto], table: CalibrationTable
) -> None:
    ranges = {key: value for key, value in table.ranges.items() if key != "box_head.fc6.relu"}

    with pytest.raises(CalibrationError, match=r"no range for box_head\.fc6\.relu"):
        tensorrt_graph(plain[HALF], replace(table, ranges=ranges))


def products_in_int8(model: Any, path: Path, gpu: str = "SM86") -> tuple[int, int]:
    """Build an engine; gives how many of its convolutions and of its dense layers compute in integers."""
    onnx.save(model, path)
    engine = build_rtx(path, gpu)
    assert len(engine.kernels) > 100
    in_int8 = int8_nodes(engine.kernels)
    kinds = [node.op_type for node in model.graph.node if node.name in in_int8]
    return kinds.count("Conv"), kinds.count("Gemm")


@needs_rtx
@pytest.mark.parametrize("gpu", ["SM86", "SM89", "SM120"])
def test_tensorrt_for_rtx_keeps_every_planned_layer_in_8_bits(
    rounded: dict[Lowering, onnx.ModelProto], tmp_path: Path, gpu: str
) -> None:
    convolutions = [node for node in rounded[HALF].graph.node if node.op_type == "Conv"]
    # The first convolution and two output layers of five levels stay in half precision.
    assert len(convolutions) == 37 + 1 + 2 * 5
    assert products_in_int8(rounded[HALF], tmp_path / "net.onnx", gpu) == (37, 2)


@needs_rtx
def test_tensorrt_for_rtx_keeps_8_bits_beside_single_precision(
    rounded: dict[Lowering, onnx.ModelProto], tmp_path: Path
) -> None:
    assert products_in_int8(rounded[SINGLE], tmp_path / "net.onnx") == (37, 2)


@needs_rtx
def test_sums_are_one_kernel_with_their_rounding(
    rounded: dict[Lowering, onnx.ModelProto], tmp_path: Path
) -> None:
    model = rounded[HALF]
    onnx.save(model, tmp_path / "net.onnx")
    kernels = build_rtx(tmp_path / "net.onnx").kernels
    dequantized = given_by(model, "DequantizeLinear")
    sums = [node.name for node in model.graph.node if node.op_type == "Add" and dequantized & set(node.input)]
    of_sum = {name: [kernel for kernel in kernels if name in kernel.nodes] for name in sums}

    assert len(sums) == 11
    assert all(len(found) == 1 and "int8" in found[0].outputs for found in of_sum.values()), of_sum


@needs_rtx
def test_engine_without_8_bit_layers_counts_none(
    plain: dict[Lowering, onnx.ModelProto], table: CalibrationTable, tmp_path: Path
) -> None:
    every = tuple({layer.block for layer in LayerGraph(plain[HALF]).layers})
    model = tensorrt_graph(plain[HALF], replace(table, float_layers=every))

    assert not given_by(model, "QuantizeLinear")
    assert products_in_int8(model, tmp_path / "net.onnx") == (0, 0)


@needs_rtx
def test_rounded_weights_alone_do_not_count(rounded: dict[Lowering, onnx.ModelProto], tmp_path: Path) -> None:
    """A graph placed so that nothing can be computed in 8 bits: small file, no integer product."""
    model = onnx.ModelProto()
    model.CopyFrom(rounded[HALF])
    plain_of = {
        node.output[0]: node.input[0].removesuffix(".q")
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in given_by(model, "QuantizeLinear")
    }
    kept = [node for node in model.graph.node if node.op_type != "QuantizeLinear"]
    kept = [node for node in kept if node.output[0] not in plain_of]
    for node in kept:
        node.input[:] = [plain_of.get(value, value) for value in node.input]
    del model.graph.node[:]
    model.graph.node.extend(kept)

    assert products_in_int8(model, tmp_path / "net.onnx") == (0, 0)


@needs_rtx
def test_a_refused_build_leaves_no_trace_in_the_next(
    rounded: dict[Lowering, onnx.ModelProto], tmp_path: Path
) -> None:
    onnx.save(rounded[SINGLE], tmp_path / "refused.onnx")
    with pytest.raises(BuildError, match=r"Turing.*FP32 GEMM"):
        build_rtx(tmp_path / "refused.onnx", "SM75")

    assert products_in_int8(rounded[SINGLE], tmp_path / "net.onnx") == (37, 2)


@needs_rtx
def test_turing_takes_the_half_precision_graph_and_computes_its_convolutions_in_half(
    rounded: dict[Lowering, onnx.ModelProto], tmp_path: Path
) -> None:
    assert products_in_int8(rounded[HALF], tmp_path / "net.onnx", "SM75") == (0, 2)
