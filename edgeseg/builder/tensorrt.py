"""Build an engine from an ONNX graph, with TensorRT 10.3 to 11 and with TensorRT for RTX.

Networks are strongly typed in all of them: precision is in the graph, and nothing that TensorRT 11 removed is
used.
TensorRT needs the GPU that it builds for; TensorRT for RTX builds without one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeseg.bundle.engines import EngineOptions, Kernel
from edgeseg.bundle.external_data import check_self_contained
from edgeseg.errors import ArtifactError, BuildError, ConfigError
from edgeseg.files.native import native_path
from edgeseg.files.records import write_atomically
from edgeseg.runtime.backends.tensorrt.library import TensorRTKind

from .kernels import kernels_from_inspector, kernels_from_log
from .progress import Interruption, progress_monitor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    # In functions `api` stands for whichever library is used, and is checked as if it were this one.
    import tensorrt as trt
    import tensorrt_rtx_bindings as rtx

    from edgeseg.runtime.backends.tensorrt.library import Library, LogCapture

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltPlan:
    """A serialised engine, and what it took to build it.

    Attributes:
        data: The engine, as the runtime deserialises it.
        layers: Layers of the parsed network, before fusion.
        build_s: Parsing and building, in seconds.
        kernels: What it computes with; empty where several GPU generations were asked for.
        not_on_dla: Layers that DLA cannot take and the GPU computes; empty without DLA.
    """

    data: bytes
    layers: int
    build_s: float
    kernels: tuple[Kernel, ...] = ()
    not_on_dla: tuple[str, ...] = ()


def build_tensorrt_plan(
    library: Library,
    graph: Path,
    options: EngineOptions,
    *,
    timing_cache: Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> BuiltPlan:
    """Parse a graph and build an engine from it.

    Args:
        library: Result of `load_library`.
        graph: ONNX file without plugins; external weights are found beside it.
        options: For which GPU, and with how much memory.
        timing_cache: File with the timings of earlier builds, which is made or added to, also where the build
            fails or is interrupted; None for no such file.
        progress: Called with a line at each step of the builder.

    Raises:
        ArtifactError: There is no such graph.
        BuildError: The parser or the builder refuses the graph, with its reason, or memory ran out.
        ConfigError: The options do not suit this library or machine.
        KeyboardInterrupt: Ctrl-C or SIGTERM was received; the builder has stopped cleanly.
    """
    start = time.perf_counter()
    with library.capture_log() as captured, Interruption() as interruption:
        builder, network = _parse_graph(library, graph, captured)
        config = builder.create_builder_config()
        config.progress_monitor = progress_monitor(library.module, progress, interruption)
        not_on_dla = _configure(library, builder, network, config, options)
        cache = _open_timing_cache(config, timing_cache)
        data = builder.build_serialized_network(network, config)
        _keep_timing_cache(cache, timing_cache)
        interruption.raise_if_requested()
        # The builder returns None if it refuses; the reason is only in the log.
        if data is None:
            _build_dummy_engine(library)
            raise BuildError(_refusal(library, graph, captured, options))
        plan = bytes(data)
        layers = network.num_layers
    return BuiltPlan(
        data=plan,
        layers=layers,
        build_s=time.perf_counter() - start,
        kernels=_kernels(library, plan, options, captured),
        not_on_dla=not_on_dla,
    )


def _parse_graph(
    library: Library, graph: Path, captured: LogCapture
) -> tuple[trt.Builder, trt.INetworkDefinition]:
    if not graph.is_file():
        msg = f"no graph at {graph}; make it with `edgeseg export`"
        raise ArtifactError(msg)
    check_self_contained(graph)
    if TYPE_CHECKING:
        import tensorrt as api
    else:
        api = library.module
    builder = api.Builder(library.log)
    network = builder.create_network(1 << int(api.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = api.OnnxParser(network, library.log)
    with native_path(graph) as name:
        parsed = parser.parse_from_file(name)
    if parsed:
        return builder, network
    refusals = [_describe_error(parser.get_error(index)) for index in range(parser.num_errors)]
    captured.errors[:0] = refusals
    msg = f"{library.title} cannot parse {graph}: {captured.reason}"
    raise BuildError(msg)


def _describe_error(error: trt.ParserError) -> str:
    where = f"node {error.node_name()!r} ({error.node_operator()})" if error.node_operator() else "graph"
    return f"{where}: {error.desc()}"


def _configure(
    library: Library,
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    options: EngineOptions,
) -> tuple[str, ...]:
    """Put the options into the builder's configuration; gives the layers that DLA cannot take."""
    if TYPE_CHECKING:
        import tensorrt as api
    else:
        api = library.module
    config.profiling_verbosity = api.ProfilingVerbosity.DETAILED
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE, options.workspace_mib * MIB)
    if options.version_compatible:
        config.set_flag(api.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatible:
        config.hardware_compatibility_level = api.HardwareCompatibilityLevel.AMPERE_PLUS
    if library.tensorrt_kind is TensorRTKind.RTX:
        _set_capabilities(library, config, options)
    elif options.compute_capabilities:
        msg = "TensorRT builds for the GPU in this machine; --compute-capability is for --target tensorrt-rtx"
        raise ConfigError(msg)
    if options.dla is None:
        return ()
    return _use_dla(library, builder, network, config, options.dla)


def _use_dla(
    library: Library,
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    core: int,
) -> tuple[str, ...]:
    if TYPE_CHECKING:
        import tensorrt as api
    else:
        api = library.module
    if core >= builder.num_DLA_cores:
        has = f"{builder.num_DLA_cores} DLA cores" if builder.num_DLA_cores else "no DLA"
        msg = f"--dla {core} needs a DLA core of that number; {library.title} finds {has} in this machine"
        raise ConfigError(msg)
    config.default_device_type = api.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(api.BuilderFlag.GPU_FALLBACK)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    return tuple(layer.name for layer in layers if not config.can_run_on_DLA(layer))


def _set_capabilities(library: Library, config: rtx.IBuilderConfig, options: EngineOptions) -> None:
    if TYPE_CHECKING:
        import tensorrt_rtx_bindings as api
    else:
        api = library.module
    members = api.ComputeCapability.__members__
    known = [name for name in members if name.startswith("SM")]
    if not options.compute_capabilities:
        msg = f"compute_capabilities must name at least one GPU generation, such as {known[0]}; got none"
        raise ConfigError(msg)
    for name in options.compute_capabilities:
        if name not in known:
            msg = f"{library.title} builds for {', '.join(known)}; got {name!r}"
            raise ConfigError(msg)
    config.num_compute_capabilities = len(options.compute_capabilities)
    for index, name in enumerate(options.compute_capabilities):
        if not config.set_compute_capability(members[name], index):
            msg = f"{library.title} refuses to build for {name} together with the others"
            raise BuildError(msg)


def _open_timing_cache(config: trt.IBuilderConfig, path: Path | None) -> trt.ITimingCache | None:
    if path is None:
        return None
    stored = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(stored)
    # One of another version or GPU is refused: then it starts afresh.
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _keep_timing_cache(cache: trt.ITimingCache | None, path: Path | None) -> None:
    if cache is None or path is None:
        return
    write_atomically(path, bytes(cache.serialize()))


def _refusal(library: Library, graph: Path, captured: LogCapture, options: EngineOptions) -> str:
    if any("out of memory" in message.lower() for message in captured.errors):
        limit = options.workspace_mib
        smaller = f"; try --workspace-mib {limit // 2}" if limit and limit > 1 else ""
        return f"{library.title} ran out of memory while building {graph.name}{smaller}; {captured.reason}"
    return f"{library.title} cannot build {graph}: {captured.reason}"


def _kernels(
    library: Library, plan: bytes, options: EngineOptions, captured: LogCapture
) -> tuple[Kernel, ...]:
    """List what was built: TensorRT tells it of an engine on its GPU, TensorRT for RTX while it builds."""
    if library.tensorrt_kind is TensorRTKind.RTX:
        # For several generations the lists follow each other without a name.
        return kernels_from_log(captured.infos) if len(options.compute_capabilities) == 1 else ()
    if TYPE_CHECKING:
        import tensorrt as api
    else:
        api = library.module
    runtime = api.Runtime(library.log)
    runtime.engine_host_code_allowed = options.version_compatible
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        msg = f"{library.title} cannot load the engine that it has just built: {captured.reason}"
        raise BuildError(msg)
    inspector = engine.create_engine_inspector()
    return kernels_from_inspector(inspector.get_engine_information(api.LayerInformationFormat.JSON))


def _build_dummy_engine(library: Library) -> None:
    """Build a network of one layer.

    TensorRT for RTX 1.7.1 compiles the first build after a refused one for the GPU that was refused: an
    engine for SM86 came out with no convolution in 8 bits, as for SM75. This build takes that place.
    """
    if library.tensorrt_kind is not TensorRTKind.RTX:
        return
    if TYPE_CHECKING:
        import tensorrt_rtx_bindings as api
    else:
        api = library.module
    builder = api.Builder(library.log)
    network = builder.create_network(1 << int(api.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    value = network.add_input("x", api.float32, api.Dims((1, 8)))
    doubled = network.add_elementwise(value, value, api.ElementWiseOperation.SUM)
    network.mark_output(doubled.get_output(0))
    builder.build_serialized_network(network, builder.create_builder_config())
