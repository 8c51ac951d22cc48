"""Engines of TensorRT and of TensorRT for RTX from a bundle's graphs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeseg.bundle.engines import ENGINES_FOLDER, EngineOptions, Gpu, Precision, Target
from edgeseg.errors import ConfigError, DependencyError
from edgeseg.optional import require
from edgeseg.quantisation.qdq.tensorrt import tensorrt_graph
from edgeseg.runtime.backends.tensorrt.library import load_library
from edgeseg.runtime.cuda.opening import open_cuda
from edgeseg.runtime.device import TENSORRT_KINDS, find_gpu
from edgeseg.spec import Lowering

from .built_engine import BuiltEngine
from .kernels import layer_types
from .tensorrt import build_tensorrt_plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.calibration.table import CalibrationTable
    from edgeseg.runtime.targets import BuildChoice

TIMING_CACHE = "tensorrt.timing-cache"
# Share of the free memory; on a Jetson, the weights and the rest of the system use the same memory.
WORKSPACE_SHARE = 0.5
LOWERINGS = {
    Precision.FP32: Lowering.TENSORRT,
    Precision.FP16: Lowering.TENSORRT_FP16,
    # What is not quantised is computed in half precision.
    Precision.INT8: Lowering.TENSORRT_FP16,
}


def gpu_options(target: Target, options: EngineOptions) -> EngineOptions:
    """Fill in what this machine's GPU decides.

    Raises:
        ConfigError: TensorRT for RTX is to build without a GPU and was not told for which.
        DependencyError: TensorRT is to build without a GPU.
    """
    try:
        device = open_cuda().device
    except DependencyError as exc:
        if target is Target.TENSORRT:
            raise
        if not options.compute_capabilities:
            msg = f"without a GPU say for which to build, such as --compute-capability SM86 ({exc})"
            raise ConfigError(msg) from exc
        return options
    if target is Target.TENSORRT_RTX and not options.compute_capabilities:
        name = f"SM{device.compute_capability.replace('.', '')}"
        options = replace(options, compute_capabilities=(name,))
    return options


def _with_workspace(options: EngineOptions) -> EngineOptions:
    """Size the workspace by the memory that is free; without a GPU nothing runs while it is built."""
    try:
        free_mib = open_cuda().device.free_mib
    except DependencyError:
        return options
    return replace(options, workspace_mib=max(1, int(free_mib * WORKSPACE_SHARE)))


def build_tensorrt_engine(
    bundle: Bundle,
    choice: BuildChoice,
    options: EngineOptions,
    table: CalibrationTable | None,
    path: Path,
    progress: Callable[[str], None],
) -> BuiltEngine:
    """Build an engine at `path`.

    Args:
        bundle: Whose graph.
        choice: What to build.
        options: For which GPU, and with how much memory.
        table: Ranges of the quantised values; None if nothing is quantised.
        path: Where the engine goes.
        progress: Called with a line at each step.

    Raises:
        BuildError: The builder refuses the graph, or memory ran out.
        CalibrationError: The table lacks a range.
        DependencyError: The library is not installed.
    """
    target, precision = choice.target, choice.precision
    library = load_library(TENSORRT_KINDS[target], purpose="build an engine")
    onnx = require("onnx", purpose="read a graph")
    lowering = LOWERINGS[precision]
    graph = bundle.graph_path(lowering)
    model = onnx.load(graph)
    if table is not None:
        graph = path.with_name("rounded.onnx")
        onnx.save(tensorrt_graph(model, table), graph)
    # TensorRT for RTX times nothing while it builds.
    cache = bundle.path / ENGINES_FOLDER / TIMING_CACHE if target is Target.TENSORRT else None
    default_precision = "fp32" if precision is Precision.FP32 else "fp16"
    sized_options = options if options.workspace_mib else _with_workspace(options)
    engine = build_tensorrt_plan(library, graph, sized_options, timing_cache=cache, progress=progress)
    path.write_bytes(engine.data)
    return BuiltEngine(
        backend_version=library.version,
        lowering=lowering,
        graph_sha256=bundle.files[lowering.file_name].sha256,
        gpu=_gpu_built_on(target),
        kernels=engine.kernels,
        layers=layer_types(model, engine.kernels, default_precision),
        not_on_dla=engine.not_on_dla,
    )


def _gpu_built_on(target: Target) -> Gpu | None:
    """Name the GPU that an engine is bound to; one for RTX is bound to compute capabilities instead."""
    return find_gpu() if target is Target.TENSORRT else None
