"""Engines of ONNX Runtime and OpenVINO: graphs, which both compile when they load them."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from edgeseg.bundle.engines import EngineOptions, Precision, Target, machine_family
from edgeseg.errors import ConfigError
from edgeseg.graphs.winograd import rewrite_for_winograd
from edgeseg.optional import require
from edgeseg.quantisation.candidate import scheme_for_machine
from edgeseg.quantisation.qdq.onnxruntime import onnxruntime_graph
from edgeseg.quantisation.qdq.openvino import openvino_graph
from edgeseg.runtime.backends.openvino import has_bfloat16
from edgeseg.runtime.host.machine import Host, int8_summary
from edgeseg.runtime.targets import engine_weight_bits
from edgeseg.spec import Lowering

from .built_engine import BuiltEngine
from .kernels import layer_types
from .kernels_onnxruntime import onnxruntime_kernels
from .kernels_openvino import openvino_kernels

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.bundle.engines import Kernel
    from edgeseg.bundle.manifest import Bundle
    from edgeseg.calibration.table import CalibrationTable
    from edgeseg.runtime.targets import BuildChoice
    from edgeseg.spec import ModelSpec


def build_graph_engine(
    bundle: Bundle, choice: BuildChoice, options: EngineOptions, table: CalibrationTable | None, path: Path
) -> BuiltEngine:
    """Write the graph that is to be run at `path`, if it is not the bundle's own.

    Args:
        bundle: Whose graph.
        choice: What to build.
        options: For which machine.
        table: Ranges of the quantised values; None if nothing is quantised.
        path: Where a graph that differs from the bundle's goes.

    Raises:
        CalibrationError: The table lacks a range.
        ConfigError: This processor does not have that precision.
        DependencyError: The backend is not installed.
    """
    target, precision = choice.target, choice.precision
    backend = require(target.value, purpose="build an engine")
    if precision is Precision.BF16 and not has_bfloat16():
        msg = (
            "bf16 needs a processor with AVX512_BF16 or AMX, and this has neither; take --fp32 or --int8 "
            f"(INT8 here: {int8_summary(Host())})"
        )
        raise ConfigError(msg)
    onnx = require("onnx", purpose="write an engine")
    graph = bundle.graph_path(Lowering.PORTABLE)
    model = onnx.load(graph)
    engine_graph = _engine_graph(model, table, target, options)
    if engine_graph is not None:
        onnx.save(engine_graph, path)
        graph = path
    built_here = options.machine == machine_family(platform.machine())
    kernels = _kernels(graph, bundle.spec, target, precision) if built_here else ()
    is_bfloat16 = target is Target.OPENVINO and precision is not Precision.FP32 and has_bfloat16()
    return BuiltEngine(
        # OpenVINO appends the commit that it was made from.
        backend_version=backend.__version__.partition("-")[0],
        lowering=Lowering.PORTABLE,
        graph_sha256=bundle.files[Lowering.PORTABLE.file_name].sha256,
        kernels=kernels,
        layers=layer_types(model, kernels, "bf16" if is_bfloat16 else "fp32"),
    )


def _kernels(graph: Path, spec: ModelSpec, target: Target, precision: Precision) -> tuple[Kernel, ...]:
    """List what the backend computes a graph with on this machine."""
    if target is Target.OPENVINO:
        return openvino_kernels(graph, spec, precision.value)
    return onnxruntime_kernels(graph, spec)


def _engine_graph(model: Any, table: CalibrationTable | None, target: Target, options: EngineOptions) -> Any:
    """Give the graph to run; None for the bundle's own."""
    bits = engine_weight_bits(target, options)
    if target is Target.OPENVINO:
        return None if table is None else openvino_graph(model, table, weight_bits=bits)
    if table is not None:
        scheme = scheme_for_machine(options.machine)
        return onnxruntime_graph(model, table, scheme, amx=options.amx, weight_bits=bits)
    # Measured on x86 alone.
    return rewrite_for_winograd(model) if options.machine == "x86_64" else None
