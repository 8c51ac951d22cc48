"""A deserialised engine of TensorRT or TensorRT for RTX, checked against the spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeseg.bundle.manifest import MAX_FILE_BYTES
from edgeseg.errors import ArtifactError
from edgeseg.files.reading import read_failure, read_regular
from edgeseg.runtime.contract import check_ports, closed_error

from .bindings import bindings_from_spec
from .cache import RuntimeCache
from .library import TensorRTKind

if TYPE_CHECKING:
    from pathlib import Path

    import tensorrt as trt
    import tensorrt_rtx_bindings as rtx

    from edgeseg.bundle.engines import EngineOptions
    from edgeseg.spec import ModelSpec

    from .bindings import Binding
    from .library import Library

REBUILD_COMMAND = "edgeseg build-engine --force"
TYPES = {"UINT8": "uint8", "INT32": "int32", "INT64": "int64", "HALF": "float16", "FLOAT": "float32"}


class Session:
    """An engine in memory; makes the contexts that run it.

    To be used inside `Cuda.active()`. Contexts may be made by several threads at once.

    Args:
        library: Of `load_library`.
        path: The engine.
        spec: What its inputs and outputs must be.
        options: How it was built.
        runtime_cache: Where TensorRT for RTX keeps what it compiles; of no use to TensorRT.
        rebuild_command: Command that builds the engine again.

    Raises:
        ArtifactError: The engine is missing, truncated, of another version or not what the spec says.
    """

    def __init__(
        self,
        library: Library,
        path: Path,
        spec: ModelSpec,
        *,
        options: EngineOptions,
        runtime_cache: Path | None = None,
        rebuild_command: str = REBUILD_COMMAND,
    ) -> None:
        self.library = library
        self._path, self._rebuild_command = path, rebuild_command
        if TYPE_CHECKING:
            import tensorrt as api
        else:
            api = library.module
        self._runtime: trt.Runtime | None = api.Runtime(library.log)
        if options.version_compatible:
            # Such an engine brings its own code for the processor.
            self._runtime.engine_host_code_allowed = True
        if options.dla is not None:
            self._runtime.DLA_core = options.dla
        self._engine: trt.ICudaEngine | None = self._load_engine(self._runtime)
        self._check(self._engine, bindings_from_spec(spec))
        self._config: rtx.IRuntimeConfig | None = None
        self._cache: RuntimeCache | None = None
        self.captures_by_itself = False
        if library.tensorrt_kind is TensorRTKind.RTX:
            self._configure(self._engine, runtime_cache)

    def create_context(self) -> trt.IExecutionContext:
        """Make what runs the engine, with memory of its own for everything between input and output.

        Raises:
            ArtifactError: TensorRT cannot, for want of memory as a rule; or the session is closed.
        """
        if self._engine is None:
            raise closed_error()
        with self.library.capture_log() as captured:
            if self._config is None:
                context = self._engine.create_execution_context()
            else:
                context = self._engine.create_execution_context(runtime_config=self._config)
        if context is None:
            msg = f"{self.library.title} cannot prepare {self._path} to run: {captured.reason}"
            raise ArtifactError(msg)
        return context

    def save_cache(self) -> None:
        """Write what TensorRT for RTX has compiled, if it is more than the file has."""
        if self._cache is not None:
            self._cache.save()

    def close(self) -> None:
        """Drop the engine. Its contexts must be gone."""
        # In this order: each uses the next.
        self._cache = self._config = self._engine = None
        self._runtime = None

    def _load_engine(self, runtime: trt.Runtime) -> trt.ICudaEngine:
        try:
            data = read_regular(self._path, max_bytes=MAX_FILE_BYTES)
        except OSError as exc:
            msg = f"{read_failure(self._path, exc)}; build it again with `{self._rebuild_command}`"
            raise ArtifactError(msg) from exc
        with self.library.capture_log() as captured:
            # An empty buffer is no engine either, but not every version checks.
            engine = runtime.deserialize_cuda_engine(data) if data else None
        if engine is None:
            reason = captured.reason if data else "the file is empty"
            what = f"{self.library.title} cannot load {self._path}: {reason}"
            msg = f"{what}; build it again with `{self._rebuild_command}`"
            raise ArtifactError(msg)
        return engine

    def _check(self, engine: trt.ICudaEngine, expected: dict[str, Binding]) -> None:
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        check_ports(
            self._path,
            {name: _described(engine, name) for name in names},
            {
                name: f"{'input' if binding.is_input else 'output'} {binding.dtype}{list(binding.shape)}"
                for name, binding in expected.items()
            },
            f"; build it again with `{self._rebuild_command}`",
        )

    def _configure(self, engine: rtx.ICudaEngine, runtime_cache: Path | None) -> None:
        config = engine.create_runtime_config()
        if config is None:
            return
        # Its kernels are compiled on the GPU and may be exchanged for better ones while it runs: it captures
        # again when they are, which a graph of ours would not.
        if TYPE_CHECKING:
            import tensorrt_rtx_bindings as api
        else:
            api = self.library.module
        config.cuda_graph_strategy = api.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self.captures_by_itself = True
        if runtime_cache is not None:
            self._cache = RuntimeCache(self.library, config, runtime_cache)
        self._config = config


def _described(engine: trt.ICudaEngine, name: str) -> str:
    mode = engine.get_tensor_mode(name).name.lower()
    kind = engine.get_tensor_dtype(name).name
    # Any: the stubs do not know that its sizes can be listed.
    shape: Any = engine.get_tensor_shape(name)
    return f"{mode} {TYPES.get(kind, kind.lower())}{list(shape)}"
