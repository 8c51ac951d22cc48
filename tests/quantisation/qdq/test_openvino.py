"""The 8-bit graph of OpenVINO: where it computes in integers, and what it finds beside ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import onnx
import pytest

from edgeseg.calibration.table import CalibrationTable, Range
from edgeseg.demo.conveyor import ConveyorScene
from edgeseg.errors import CalibrationError
from edgeseg.exporter.model.reference import ImageDetections
from edgeseg.exporter.parity.comparison import ParityComparison, Tolerances, match_detections
from edgeseg.graphs.layers import LayerGraph
from edgeseg.quantisation.plan import quantisation_plan
from edgeseg.quantisation.qdq.onnxruntime import WIDE_OUTPUT_LAYERS, onnxruntime_graph
from edgeseg.quantisation.qdq.openvino import openvino_graph
from edgeseg.runtime.backends.onnxruntime import OnnxRuntimeBackend
from edgeseg.runtime.backends.openvino import OpenVinoBackend, has_bfloat16
from edgeseg.runtime.host.machine import Host, weight_bits
from edgeseg.spec import Lowering
from edgeseg.vision.masks import paste_masks
from tests.quantisation.ranges import minmax_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.runtime.contract import Backend

openvino = pytest.importorskip(
    "openvino", reason="needs OpenVINO: pip install 'edgeseg[openvino]'", exc_type=ImportError
)
# Those that this processor computes exactly with.
BITS = weight_bits(Host())
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def belt(conveyor: Bundle) -> list[NDArray[np.uint8]]:
    frames = [ConveyorScene(seed=number).frame(10 * number).image for number in range(8)]
    return [cv2.resize(frame, conveyor.spec.input_size_hw[::-1]).astype(np.uint8) for frame in frames]


@pytest.fixture(scope="module")
def model(conveyor: Bundle) -> onnx.ModelProto:
    return onnx.load(conveyor.graph_path(Lowering.PORTABLE))


@pytest.fixture(scope="module")
def table(model: onnx.ModelProto, belt: list[NDArray[np.uint8]]) -> CalibrationTable:
    return minmax_table(model, np.stack(belt))


@pytest.fixture(scope="module")
def rounded(
    model: onnx.ModelProto, table: CalibrationTable, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("rounded") / "openvino-int8.onnx"
    onnx.save(openvino_graph(model, table, weight_bits=BITS), path)
    return path


def found_by(backend: Backend, images: list[NDArray[np.uint8]], threshold: float) -> list[ImageDetections]:
    results = []
    for image in images:
        raw = backend(image[None], threshold)
        rows = slice(int(raw.counts[0]))
        results.append(
            ImageDetections(
                boxes_xyxy=raw.boxes_xyxy[0, rows],
                scores=raw.scores[0, rows],
                labels=raw.labels[0, rows].astype(np.int64),
                masks=raw.masks[0, rows],
            )
        )
    backend.close()
    return results


def overlaps(
    reference: list[ImageDetections], found: list[ImageDetections], size_hw: tuple[int, int]
) -> list[float]:
    """IoU of the masks of each detection of `reference`; zero where it was not found."""
    ious = []
    for one, other in zip(reference, found, strict=True):
        pairs = dict(match_detections(one, other))
        for i in range(len(one.scores)):
            masks = np.stack((one.masks[i], other.masks[pairs[i]])) if i in pairs else np.zeros((2, 28, 28))
            a, b = paste_masks(masks.astype(np.float32), one.boxes_xyxy[[i, i]], size_hw)
            ious.append(int(np.count_nonzero(a & b)) / max(1, int(np.count_nonzero(a | b))))
    return ious


@pytest.fixture(scope="module")
def resnet(bundle: Bundle) -> onnx.ModelProto:
    return onnx.load(bundle.graph_path(Lowering.PORTABLE))


@pytest.fixture(scope="module")
def compiled(
    resnet: onnx.ModelProto, bundle_table: CalibrationTable, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[str, ...]]:
    """What OpenVINO makes of a ResNet's 8-bit graph: facts of each kernel."""
    path = tmp_path_factory.mktemp("compiled") / "openvino-int8.onnx"
    onnx.save(openvino_graph(resnet, bundle_table, weight_bits=BITS), path)
    model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    rows = [node.get_rt_info() for node in model.get_runtime_model().get_ordered_ops()]
    names = ("layerType", "runtimePrecision", "originalLayersNames")
    return [tuple(row[name].astype(str) for name in names) for row in rows]


def test_fp32_equals_onnx_runtime(conveyor: Bundle, belt: list[NDArray[np.uint8]]) -> None:
    graph, spec = conveyor.graph_path(Lowering.PORTABLE), conveyor.spec
    agreement = ParityComparison(
        lowering=Lowering.PORTABLE,
        tolerances=Tolerances(),
        max_detections=spec.max_detections,
        score_threshold=0.05,
        size_hw=spec.input_size_hw,
    )
    reference = found_by(OnnxRuntimeBackend(graph, spec), belt, 0.05)
    for one, other in zip(
        reference, found_by(OpenVinoBackend(graph, spec, precision="fp32"), belt, 0.05), strict=True
    ):
        agreement.add(one, other)

    assert agreement.passed()
    assert agreement.row().matched > 100


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_lower_precision_finds_what_onnx_runtime_finds(
    conveyor: Bundle,
    belt: list[NDArray[np.uint8]],
    model: onnx.ModelProto,
    table: CalibrationTable,
    rounded: Path,
    tmp_path: Path,
    precision: str,
) -> None:
    if precision == "bf16" and not has_bfloat16():
        pytest.skip("this processor has no bfloat16")
    spec, graph = conveyor.spec, conveyor.graph_path(Lowering.PORTABLE)
    alike = graph
    if precision == "int8":
        alike = tmp_path / "onnxruntime-int8.onnx"
        onnx.save(onnxruntime_graph(model, table, weight_bits=BITS), alike)
    reference = found_by(OnnxRuntimeBackend(alike, spec), belt, 0.5)
    found = found_by(
        OpenVinoBackend(rounded if precision == "int8" else graph, spec, precision=precision), belt, 0.5
    )
    ious = overlaps(reference, found, spec.input_size_hw)

    assert len(ious) > 80
    assert np.median(ious) >= 0.95
    # Where NMS decides between near ties, each engine may keep another box.
    assert np.mean(np.array(ious) > 0.5) > 0.95


def test_every_planned_layer_runs_in_integers(
    resnet: onnx.ModelProto, compiled: list[tuple[str, ...]]
) -> None:
    graph = LayerGraph(resnet)
    planned = [layer for layer in quantisation_plan(graph).layers if layer.node.op_type == "Conv"]
    wide = [layer for layer in graph.layers if layer.block in WIDE_OUTPUT_LAYERS]
    count = Counter((kind, precision) for kind, precision, _ in compiled)

    assert count["Convolution", "u8"] == len(planned) + len(wide) == 37 + 2 * 5
    # The first convolution is all that computes in float.
    assert count["Convolution", "f32"] == 1
    assert count["Interpolate", "u8"] == 3


def test_sums_are_part_of_a_convolution(resnet: onnx.ModelProto, compiled: list[tuple[str, ...]]) -> None:
    rounded = quantisation_plan(LayerGraph(resnet)).values
    sums = {
        node.name
        for node in resnet.graph.node
        if node.op_type == "Add" and all(value in rounded for value in node.input)
    }
    kinds = {name: kind for kind, _, names in compiled for name in names.split(",")}

    assert len(sums) == 8 + 3
    assert {kinds[name] for name in sums} == {"Convolution"}


def test_the_weights_of_all_but_the_first_layer_take_8_bits(conveyor: Bundle, rounded: Path) -> None:
    assert rounded.stat().st_size < 0.3 * conveyor.graph_path(Lowering.PORTABLE).stat().st_size


def test_reverted_layers_keep_their_weights(model: onnx.ModelProto, table: CalibrationTable) -> None:
    reverted = replace(table, float_layers=("box_head.fc6",))
    names = {tensor.name for tensor in openvino_graph(model, reverted).graph.initializer}

    assert "box_head.fc6.weight" in names
    assert "box_head.fc7.weight" not in names
    assert "box_head.fc7.weight.q" in names


def test_the_fp32_graph_is_left_as_it_was(model: onnx.ModelProto, table: CalibrationTable) -> None:
    before = model.SerializeToString()

    openvino_graph(model, table)

    assert model.SerializeToString() == before


def test_a_range_that_is_too_narrow_is_seen(
    conveyor: Bundle,
    belt: list[NDArray[np.uint8]],
    model: onnx.ModelProto,
    table: CalibrationTable,
    tmp_path: Path,
) -> None:
    key = "box_head.fc6.relu"
    narrow = Range(low=0.0, high=table.ranges[key].high / 100)
    path = tmp_path / "wrong.onnx"
    wrong = replace(table, ranges={**table.ranges, key: narrow})
    onnx.save(openvino_graph(model, wrong, weight_bits=BITS), path)
    spec = conveyor.spec
    reference = found_by(OnnxRuntimeBackend(conveyor.graph_path(Lowering.PORTABLE), spec), belt, 0.5)
    found = found_by(OpenVinoBackend(path, spec, precision="int8"), belt, 0.5)

    assert np.mean(np.array(overlaps(reference, found, spec.input_size_hw)) > 0.5) < 0.8


def test_a_table_without_a_range_names_it(model: onnx.ModelProto, table: CalibrationTable) -> None:
    ranges = {key: value for key, value in table.ranges.items() if key != "box_head.fc6.relu"}

    with pytest.raises(CalibrationError, match=r"no range for box_head.fc6.relu"):
        openvino_graph(model, replace(table, ranges=ranges))
