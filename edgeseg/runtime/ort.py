"""ONNX Runtime: CPUs of every kind, and NVIDIA GPUs where `onnxruntime-gpu` is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArtifactError, InputError
from ..optional import require
from .backend import RawDetections

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ..spec import ModelSpec

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
# It moves rounding in front of the first MaxPool, which is ten times slower in 8 bits than in float.
DISABLED_OPTIMIZERS = ("QDQPropagationTransformer",)
OUTPUTS = ("num_detections", "boxes", "scores", "labels", "masks")


class OnnxRuntimeBackend:
    """The portable graph on ONNX Runtime.

    A session may be called from several threads; each call has its own buffers.

    Args:
        graph: `portable.onnx` of a bundle.
        spec: What the graph must look like.
        threads: Of one inference; None leaves it to ONNX Runtime, one a core.

    Raises:
        ArtifactError: The graph cannot be loaded or is not what the spec says.
        DependencyError: ONNX Runtime is not installed.
    """

    def __init__(self, graph: Path, spec: ModelSpec, *, threads: int | None = None) -> None:
        self._ort = require("onnxruntime", purpose="run a bundle")
        self._spec = spec
        self._session: Any = self._open(graph, threads)
        self._check(graph)

    @property
    def description(self) -> str:
        """ONNX Runtime's version and where it computes."""
        where = "CUDA" if CUDA in self._require_open().get_providers() else "CPU"
        return f"ONNX Runtime {self._ort.__version__} on {where}"

    def __call__(self, images: NDArray[np.uint8], score_threshold: float) -> RawDetections:
        """See `Backend.__call__`."""
        session = self._require_open()
        wanted = (self._spec.batch, *self._spec.input_size_hw, 3)
        if images.dtype != np.uint8 or images.shape != wanted:
            msg = f"images must be uint8{list(wanted)}, got {images.dtype}{list(images.shape)}"
            raise InputError(msg)
        feeds = {"images": images, "score_threshold": np.array(score_threshold, np.float32)}
        try:
            counts, boxes, scores, labels, masks = session.run(OUTPUTS, feeds)
        except Exception as exc:
            msg = f"the graph failed to compute; {self._reason(exc)}"
            raise ArtifactError(msg) from exc
        return RawDetections(counts=counts, boxes_xyxy=boxes, scores=scores, labels=labels, masks=masks)

    def close(self) -> None:
        """See `Backend.close`."""
        self._session = None

    def _require_open(self) -> Any:
        if self._session is None:
            msg = "the model is closed; load it again with edgeseg.load"
            raise ArtifactError(msg)
        return self._session

    def _open(self, graph: Path, threads: int | None) -> Any:
        options = self._ort.SessionOptions()
        # Its own log would say on stderr what the exception says again.
        options.log_severity_level = 4
        if threads is not None:
            options.intra_op_num_threads = threads
        cuda = CUDA in self._ort.get_available_providers()
        try:
            return self._ort.InferenceSession(
                graph,
                options,
                providers=[CUDA, CPU] if cuda else [CPU],
                disabled_optimizers=list(DISABLED_OPTIMIZERS),
            )
        except Exception as exc:
            msg = f"cannot load {graph}; {self._reason(exc)}"
            raise ArtifactError(msg) from exc

    def _check(self, graph: Path) -> None:
        """Compare inputs and outputs with the spec, so that a wrong graph fails here and not in a frame."""
        spec = self._spec
        rows = [spec.batch, spec.max_detections]
        wanted = {
            "images": f"tensor(uint8){[spec.batch, *spec.input_size_hw, 3]}",
            "score_threshold": "tensor(float)[]",
            "num_detections": f"tensor(int32){[spec.batch]}",
            "boxes": f"tensor(float){[*rows, 4]}",
            "scores": f"tensor(float){rows}",
            "labels": f"tensor(int32){rows}",
            "masks": f"tensor(float){[*rows, spec.mask_size, spec.mask_size]}",
        }
        nodes = [*self._session.get_inputs(), *self._session.get_outputs()]
        found = {node.name: f"{node.type}{list(node.shape)}" for node in nodes}
        for name in {**wanted, **found}:
            is_there, should_be = found.get(name, "missing"), wanted.get(name, "missing")
            if is_there != should_be:
                msg = f"{graph} does not fit its model.json: {name} is {is_there}, not {should_be}"
                raise ArtifactError(msg)

    def _reason(self, exc: Exception) -> str:
        lines = str(exc).strip().splitlines() or [type(exc).__name__]
        return f"ONNX Runtime {self._ort.__version__}: {lines[0]}"
