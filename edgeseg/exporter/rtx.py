"""TensorRT for RTX: parse a graph and build engines from it on a machine without a GPU."""

from __future__ import annotations

import ctypes
import importlib.util
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.errors import ArtifactError, BuildError, ConfigError, DependencyError
from edgeseg.optional import install_command, require

from .kernels import LIST, Kernel, kernels_from_log

if TYPE_CHECKING:
    import tensorrt as trt

LIBRARY_PACKAGE = "onnxruntime_ep_nv_tensorrt_rtx"
BINDINGS = "tensorrt_rtx_bindings"
# Order matters: the parser and the bindings resolve their symbols in the first.
LIBRARIES = ("libtensorrt_rtx.so.1*", "libtensorrt_onnxparser_rtx.so.1*")


@dataclass(frozen=True, slots=True, kw_only=True)
class RtxEngine:
    """A serialised engine of TensorRT for RTX, and what it took to build it.

    Attributes:
        plan: The engine, as the runtime deserialises it.
        layers: Layers of the parsed network, before fusion.
        build_s: Parsing and building, in seconds.
        version: Version of TensorRT for RTX.
        compute_capabilities: GPUs that it runs on, such as `SM86`.
        kernels: What it computes with, where `detailed` was asked for.
    """

    plan: bytes
    layers: int
    build_s: float
    version: str
    compute_capabilities: tuple[str, ...]
    kernels: tuple[Kernel, ...] = ()


def build_rtx_engine(
    graph: Path, *, compute_capabilities: tuple[str, ...] = ("SM86",), detailed: bool = False
) -> RtxEngine:
    """Parse an ONNX graph and build an engine, with or without a GPU in this machine.

    Args:
        graph: ONNX file; external weights are found beside it.
        compute_capabilities: GPUs to build for, such as `SM86`; one engine serves all of them.
        detailed: Also list the kernels. Only a GPU can read them from a finished engine, but the builder says
            what it has built; for one GPU generation at a time.

    Raises:
        ArtifactError: There is no such file.
        BuildError: The parser or the builder refuses the graph; the message names the node.
        ConfigError: TensorRT for RTX knows no such compute capability.
        DependencyError: The libraries or the Python bindings are missing.
    """
    if detailed and len(compute_capabilities) > 1:
        msg = f"kernels are listed for one GPU generation at a time; got {', '.join(compute_capabilities)}"
        raise ConfigError(msg)
    if not compute_capabilities:
        msg = "compute_capabilities must name at least one GPU generation, such as SM86; got none"
        raise ConfigError(msg)
    rtx = load_rtx()
    targets = [_capability(rtx, name) for name in compute_capabilities]
    start = time.perf_counter()
    errors: list[str] = []
    lists: list[str] = []
    builder: trt.Builder = rtx.Builder(_logger(rtx, errors, lists))
    network = builder.create_network(1 << int(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(rtx, network, graph, errors)
    config = builder.create_builder_config()
    _set_capabilities(config, targets)
    if detailed:
        config.profiling_verbosity = rtx.ProfilingVerbosity.DETAILED
    plan = builder.build_serialized_network(network, config)
    # The library reports a refusal by returning None; the reason is only in the log.
    if plan is None:
        _forget_refusal(rtx)
        msg = f"TensorRT for RTX cannot build {graph}: {_joined(errors)}"
        raise BuildError(msg)
    return RtxEngine(
        plan=bytes(plan),
        layers=network.num_layers,
        build_s=time.perf_counter() - start,
        version=rtx.__version__,
        compute_capabilities=compute_capabilities,
        kernels=kernels_from_log(lists) if detailed else (),
    )


def _forget_refusal(rtx: Any) -> None:
    """Build a network of one layer.

    TensorRT for RTX 1.7.1 compiles the first build after a refused one for the GPU that was refused: an
    engine for SM86 came out with no convolution in 8 bits, as for SM75. This build takes that place.
    """
    builder: trt.Builder = rtx.Builder(_logger(rtx, [], []))
    network = builder.create_network(1 << int(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    value = network.add_input("x", rtx.float32, rtx.Dims((1, 8)))
    doubled = network.add_elementwise(value, value, rtx.ElementWiseOperation.SUM)
    network.mark_output(doubled.get_output(0))
    builder.build_serialized_network(network, builder.create_builder_config())


def load_rtx() -> Any:
    """Load the libraries of TensorRT for RTX and import its Python API.

    Returns:
        The module `tensorrt_rtx_bindings`, which has the names of `tensorrt`.

    Raises:
        DependencyError: A library or the bindings are missing.
    """
    folder = rtx_folder()
    if folder is None:
        msg = (
            "TensorRT for RTX is needed to build an engine and is not installed; "
            f"mend it with: {install_command(BINDINGS)}"
        )
        raise DependencyError(msg)
    for pattern in LIBRARIES:
        _load_library(folder, pattern)
    return require(BINDINGS, purpose="build an engine with TensorRT for RTX")


def rtx_folder() -> Path | None:
    """Find where the libraries lie, without importing their package, which would import ONNX Runtime."""
    found = importlib.util.find_spec(LIBRARY_PACKAGE)
    folders = found.submodule_search_locations if found else None
    return Path(folders[0]) if folders else None


def _load_library(folder: Path, pattern: str) -> None:
    found = sorted(folder.glob(pattern))
    if not found:
        msg = f"{folder} has no {pattern}; install it again with: {install_command(BINDINGS)}"
        raise DependencyError(msg)
    try:
        ctypes.CDLL(str(found[-1]), mode=ctypes.RTLD_GLOBAL)
    except OSError as exc:
        msg = f"{found[-1].name} does not load ({exc}); install it again with: {install_command(BINDINGS)}"
        raise DependencyError(msg) from exc


def _capability(rtx: Any, name: str) -> Any:
    known = {key: value for key, value in rtx.ComputeCapability.__members__.items() if key.startswith("SM")}
    if name not in known:
        msg = f"TensorRT for RTX {rtx.__version__} builds for {', '.join(known)}; got {name!r}"
        raise ConfigError(msg)
    return known[name]


def _set_capabilities(config: Any, targets: list[Any]) -> None:
    # `config` is Any: TensorRT proper, which the stubs describe, has no compute capability to choose.
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        if not config.set_compute_capability(target, index):
            msg = f"TensorRT for RTX refuses to build for {target.name} together with the others"
            raise BuildError(msg)


def _parse(rtx: Any, network: trt.INetworkDefinition, graph: Path, errors: list[str]) -> None:
    if not graph.is_file():
        msg = f"no graph at {graph}; make it with `edgeseg export`"
        raise ArtifactError(msg)
    parser: trt.OnnxParser = rtx.OnnxParser(network, _logger(rtx, errors, []))
    if parser.parse_from_file(str(graph)):
        return
    refusals = [_refusal(parser.get_error(index)) for index in range(parser.num_errors)]
    msg = f"TensorRT for RTX cannot parse {graph}: {_joined(refusals or errors)}"
    raise BuildError(msg)


def _refusal(error: trt.ParserError) -> str:
    where = f"node {error.node_name()!r} ({error.node_operator()})" if error.node_operator() else "graph"
    return f"{where}: {error.desc()}"


def _joined(messages: list[str]) -> str:
    return "; ".join(message.strip().rstrip(".") for message in messages[:3]) or "it gives no reason"


def _logger(rtx: Any, errors: list[str], lists: list[str]) -> Any:
    """Make a logger that keeps errors for the message, and lists of kernels, and drops the rest."""

    class Log(rtx.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            rtx.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity in (rtx.ILogger.Severity.ERROR, rtx.ILogger.Severity.INTERNAL_ERROR):
                errors.append(msg)
            elif msg.startswith(LIST):
                lists.append(msg)

    return Log()
