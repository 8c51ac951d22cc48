"""Engines of ONNX Runtime and OpenVINO: graphs, which both compile when they load them."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from edgeseg.calibration.table import table_for
from edgeseg.engines import EngineOptions, Precision, Target, machine_family
from edgeseg.errors import ConfigError
from edgeseg.optional import require
from edgeseg.runtime.openvino import has_bfloat16
from edgeseg.spec import Lowering

from .kernels import layer_types
from .kernels_onnxruntime import onnxruntime_kernels
from .kernels_openvino import openvino_kernels
from .qdq_onnxruntime import onnxruntime_graph
from .qdq_openvino import openvino_graph
from .trial import scheme_for

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.bundle import Bundle
    from edgeseg.calibration.table import CalibrationTable


def build_graph_engine(
    bundle: Bundle, target: Target, precision: Precision, options: EngineOptions, path: Path
) -> dict[str, Any]:
    """Write the 8-bit graph at `path`; in other precisions the bundle's own graph is the engine.

    Returns:
        What a record says of it besides its file and settings.

    Raises:
        CalibrationError: The table lacks a range.
        ConfigError: This processor does not have that precision.
        DependencyError: The backend is not installed.
    """
    module = "onnxruntime" if target is Target.ONNXRUNTIME else "openvino"
    backend = require(module, purpose="build an engine")
    if precision is Precision.BF16 and not has_bfloat16():
        msg = "bf16 needs a processor with AVX512_BF16 or AMX, and this has neither; take --fp32 or --int8"
        raise ConfigError(msg)
    onnx = require("onnx", purpose="write an 8-bit graph")
    graph = bundle.graph_path(Lowering.PORTABLE)
    model = onnx.load(graph)
    if precision is Precision.INT8:
        onnx.save(_rounded(model, table_for(bundle), target, options), path)
        graph = path
    facts = {
        # OpenVINO appends the commit that it was made from.
        "backend_version": backend.__version__.partition("-")[0],
        "graph_sha256": bundle.files[Lowering.PORTABLE.file_name].sha256,
    }
    if options.machine == machine_family(platform.machine()):
        openvino = target is Target.OPENVINO
        kernels = (
            openvino_kernels(graph, bundle.spec, precision.value)
            if openvino
            else onnxruntime_kernels(graph, bundle.spec)
        )
        rest = "bf16" if openvino and precision is not Precision.FP32 and has_bfloat16() else "fp32"
        facts |= {"kernels": kernels, "layers": layer_types(model, kernels, rest)}
    return facts


def _rounded(model: Any, table: CalibrationTable, target: Target, options: EngineOptions) -> Any:
    if target is Target.OPENVINO:
        return openvino_graph(model, table)
    return onnxruntime_graph(model, table, scheme_for(options.machine))
