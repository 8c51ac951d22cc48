"""ONNX Runtime: CPUs of every kind, and NVIDIA GPUs where `onnxruntime-gpu` is installed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.bundle.external_data import check_self_contained
from edgeseg.errors import ArtifactError, DependencyError, first_line
from edgeseg.files.native import native_path
from edgeseg.optional import require
from edgeseg.ports import IMAGES, NMS_CONVERGED, OUTPUTS, SCORE_THRESHOLD, ports_from_spec
from edgeseg.runtime.choice import Provider
from edgeseg.runtime.contract import check_images, check_ports, closed_error, output_fault, raw_from_outputs
from edgeseg.runtime.host.processors import inference_threads
from edgeseg.spec import Lowering

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from edgeseg.runtime.contract import RawDetections
    from edgeseg.spec import ModelSpec

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
# It moves quantisation in front of the first MaxPool, which is ten times slower in 8 bits than in float.
DISABLED_OPTIMIZERS = ("QDQPropagationTransformer",)
DISPLAY_NAMES = {CPU: "CPU", CUDA: "CUDA", TENSORRT: "TensorRT"}
# The others it calls as NumPy does.
TYPE_NAMES = {"float32": "float"}


# What each wants, and what takes the nodes that it refuses.
EXECUTION_PROVIDERS = {Provider.CPU: CPU, Provider.CUDA: CUDA, Provider.TENSORRT: TENSORRT}
FALLBACK_PROVIDERS = {Provider.CPU: (), Provider.CUDA: (CPU,), Provider.TENSORRT: (CUDA, CPU)}


def resolve_provider(provider: Provider) -> Provider:
    """Where ONNX Runtime computes when that is left to it: on CUDA if it has that, else on the CPU.

    Raises:
        DependencyError: ONNX Runtime is not installed.
    """
    if provider is not Provider.AUTO:
        return provider
    available = require("onnxruntime", purpose="run a bundle").get_available_providers()
    return Provider.CUDA if CUDA in available else Provider.CPU


class OnnxRuntimeBackend:
    """A graph on ONNX Runtime; the providers for GPUs have not been run yet.

    A session may be called from several threads; each call has its own buffers.

    Args:
        graph: `portable.onnx` or an engine of a bundle; `tensorrt.onnx` for TensorRT's provider.
        spec: What the graph must look like.
        threads: Of one inference; None for one a core that may be used, as `inference_threads`.
        provider: Where to compute; `AUTO` is CUDA if this ONNX Runtime has it, else the CPU.

    Raises:
        ArtifactError: The graph cannot be loaded or is not what the spec says.
        DependencyError: ONNX Runtime is not installed, or without that provider, or it does not start.
    """

    def __init__(
        self,
        graph: Path,
        spec: ModelSpec,
        *,
        threads: int | None = None,
        provider: Provider = Provider.AUTO,
    ) -> None:
        self._ort = require("onnxruntime", purpose="run a bundle")
        self._spec = spec
        self._session: Any = self._open(graph, threads, self._providers_to_use(provider))
        self._inputs = [node.name for node in self._session.get_inputs()]
        self._check(graph)
        if (
            provider in EXECUTION_PROVIDERS
            and EXECUTION_PROVIDERS[provider] not in self._session.get_providers()
        ):
            msg = (
                f"ONNX Runtime {self._ort.__version__} has {EXECUTION_PROVIDERS[provider]}, but it does not "
                "start here: the driver, CUDA or TensorRT that it needs is missing; `edgeseg doctor` "
                "shows what is there"
            )
            raise DependencyError(msg)

    @property
    def description(self) -> str:
        """ONNX Runtime's version and where it computes."""
        first = self._require_open().get_providers()[0]
        return f"ONNX Runtime {self._ort.__version__} on {DISPLAY_NAMES.get(first, first)}"

    def __call__(self, images: NDArray[np.uint8], score_threshold: float) -> RawDetections:
        """See `Backend.__call__`."""
        session = self._require_open()
        check_images(images, self._spec)
        feeds = {IMAGES: images, SCORE_THRESHOLD: np.array(score_threshold, np.float32)}
        with self._mapped_errors("the graph failed to compute"):
            found = session.run(OUTPUTS, {name: feeds[name] for name in self._inputs})
        raw = raw_from_outputs(dict(zip(OUTPUTS, found, strict=True)))
        if SCORE_THRESHOLD in self._inputs:
            return raw
        if fault := output_fault(raw, self._spec):
            msg = f"the graph gave {fault} on {self.description}; export the model again"
            raise ArtifactError(msg)
        return raw.above(score_threshold)

    def close(self) -> None:
        """See `Backend.close`."""
        self._session = None

    def _require_open(self) -> Any:
        if self._session is None:
            raise closed_error()
        return self._session

    def _providers_to_use(self, provider: Provider) -> list[str]:
        """Name the providers to ask for, the one that shall compute first.

        Raises:
            DependencyError: This build of ONNX Runtime lacks it.
        """
        available = self._ort.get_available_providers()
        provider = resolve_provider(provider)
        expected = EXECUTION_PROVIDERS[provider]
        if expected not in available:
            msg = (
                f"this ONNX Runtime {self._ort.__version__} has no {expected}; take the one that has: "
                "pip uninstall -y onnxruntime && pip install 'edgeseg[cuda]'"
            )
            raise DependencyError(msg)
        return [expected, *(name for name in FALLBACK_PROVIDERS[provider] if name in available)]

    def _open(self, graph: Path, threads: int | None, providers: list[str]) -> Any:
        check_self_contained(graph)
        options = self._ort.SessionOptions()
        # Its own log would say on stderr what the exception says again.
        options.log_severity_level = 4
        # 0 leaves it to ONNX Runtime.
        options.intra_op_num_threads = inference_threads(threads) or 0
        with self._mapped_errors(f"cannot load {graph}"), native_path(graph) as name:
            return self._ort.InferenceSession(
                name,
                options,
                providers=providers,
                disabled_optimizers=list(DISABLED_OPTIMIZERS),
            )

    def _check(self, graph: Path) -> None:
        outputs = self._session.get_outputs()
        nodes = [*self._session.get_inputs(), *outputs]
        # The form for TensorRT is taken as well: its threshold is built in.
        has_converged = any(node.name == NMS_CONVERGED for node in outputs)
        ports = ports_from_spec(self._spec, Lowering.TENSORRT if has_converged else Lowering.PORTABLE)
        check_ports(
            graph,
            {node.name: f"{node.type}{list(node.shape)}" for node in nodes},
            {
                port.name: f"tensor({TYPE_NAMES.get(port.dtype, port.dtype)}){list(port.shape)}"
                for port in (*ports.inputs, *ports.outputs)
            },
        )

    @contextmanager
    def _mapped_errors(self, what: str) -> Iterator[None]:
        """Turn ONNX Runtime's errors, which have no base but `Exception`, into sentences."""
        try:
            yield
        except Exception as exc:
            msg = f"{what}; ONNX Runtime {self._ort.__version__}: {first_line(exc)}"
            raise ArtifactError(msg) from exc
