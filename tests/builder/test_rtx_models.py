"""TensorRT for RTX really builds the models that users have, at full size, in every precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import onnx
import pytest

from edgeseg.builder.kernels import int8_nodes
from edgeseg.calibration.table import CalibrationTable, Method, Range
from edgeseg.errors import BuildError
from edgeseg.exporter.graph import write_graph
from edgeseg.graphs.layers import LayerGraph
from edgeseg.quantisation.plan import quantisation_plan
from edgeseg.quantisation.qdq.tensorrt import tensorrt_graph
from edgeseg.spec import Lowering
from tests.built import built_once
from tests.models import build, spec_of

from .rtx import build_rtx, needs_rtx

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_rtx
# Turing takes no matrix product in single precision.
GPUS = {"fp32": ("SM86", "SM89", "SM120"), "fp16": ("SM75", "SM86", "SM89", "SM120")}
MODELS = {
    "v1": ("maskrcnn_resnet50_fpn", 91, (800, 1344), 1),
    "v2": ("maskrcnn_resnet50_fpn_v2", 91, (800, 1344), 1),
    "batch": ("resnet18", 5, (480, 640), 4),
}


class Graphs(NamedTuple):
    """Paths of a model's graphs for TensorRT, and how many of its layers are planned to be rounded."""

    fp32: Path
    fp16: Path
    int8: Path
    planned: frozenset[str]


@pytest.fixture(scope="module", params=list(MODELS))
def graphs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    name, classes, size_hw, batch = MODELS[request.param]

    def write(folder: Path) -> None:
        model = build(name, classes).eval()
        spec = spec_of(model, size_hw, batch=batch)
        for lowering in (Lowering.TENSORRT, Lowering.TENSORRT_FP16):
            write_graph(model, spec, lowering, folder / lowering.file_name)
        write_int8(folder)

    folder = built_once(tmp_path_factory, f"rtx-{request.param}", write)
    planned = quantisation_plan(LayerGraph(onnx.load(folder / Lowering.TENSORRT_FP16.file_name))).layers
    return Graphs(
        fp32=folder / Lowering.TENSORRT.file_name,
        fp16=folder / Lowering.TENSORRT_FP16.file_name,
        int8=folder / "int8.onnx",
        planned=frozenset(layer.node.name for layer in planned),
    )


def write_int8(folder: Path) -> None:
    """Write the graph in 8 bits beside that in half precision."""
    half = onnx.load(folder / Lowering.TENSORRT_FP16.file_name)
    values = quantisation_plan(LayerGraph(half)).values.values()
    # Neither time nor size nor kernels depend on the ranges.
    table = CalibrationTable(
        method=Method.MINMAX,
        images=1,
        images_sha256="",
        graph_sha256="",
        seed=0,
        ranges={key: Range(low=-4, high=4) for key in values},
    )
    onnx.save(tensorrt_graph(half, table), folder / "int8.onnx")


def test_single_and_half_precision_build_for_every_generation(graphs: Graphs) -> None:
    single = build_rtx(graphs.fp32, *GPUS["fp32"])
    half = build_rtx(graphs.fp16, *GPUS["fp16"])

    assert len(half.data) < 0.75 * len(single.data)


def test_int8_builds_for_every_generation(graphs: Graphs) -> None:
    assert len(build_rtx(graphs.int8, *GPUS["fp32"]).data) > graphs.int8.stat().st_size / 2


def test_every_planned_layer_computes_in_int8(graphs: Graphs) -> None:
    assert graphs.planned <= int8_nodes(build_rtx(graphs.int8, "SM86").kernels)


def test_a_graph_that_needs_a_plugin_is_refused(graphs: Graphs, tmp_path: Path) -> None:
    """As if the exporter brought an operator back that TensorRT has no layer for."""
    model = onnx.load(graphs.fp16)
    node = next(node for node in model.graph.node if node.op_type == "GridSample")
    node.op_type, node.domain = "RoiAlignRotated", "vendor"
    model.opset_import.append(onnx.helper.make_opsetid("vendor", 1))
    onnx.save(model, tmp_path / "plugin.onnx")

    with pytest.raises(BuildError, match=r"node .*RoiAlignRotated.*plugin"):
        build_rtx(tmp_path / "plugin.onnx")
