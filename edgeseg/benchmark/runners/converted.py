"""What users have today: a whole torchvision model as ONNX's exporter or OpenVINO's converter took it."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgeseg.bundle.engines import Target
from edgeseg.bundle.manifest import open_bundle
from edgeseg.errors import ArtifactError, first_line
from edgeseg.files.native import native_path
from edgeseg.optional import require
from edgeseg.runtime.backends.signal_stack import kept_signal_stack
from edgeseg.vision.torchvision_output import detections_from_dense

from .contract import CallResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edgeseg.vision.detections import Detections

    from .contract import Frames
    from .spec import RunnerSpec

# Boxes, labels, scores and masks of each image, in torchvision's order.
OUTPUTS_PER_IMAGE = 4
SCORES_INDEX = 2
MAX_REASON_CHARS = 300


class ConvertedGraph(Protocol):
    """A graph of a whole model."""

    description: str

    def __call__(self, images: NDArray[np.float32], score_threshold: float) -> list[NDArray[Any]]:
        """Run `float32[B, 3, H, W]` RGB, 0 to 1; boxes, labels, scores and masks of each image."""


class ConvertedModelRunner:
    """A file of `whole_model.py` on ONNX Runtime or OpenVINO.

    Args:
        runner_spec: Names the file, the engine and the bundle, which has the class names.

    Raises:
        ArtifactError: The engine does not load the file.
        DependencyError: The engine is not installed.
    """

    def __init__(self, runner_spec: RunnerSpec) -> None:
        path = Path(runner_spec.path)
        spec = open_bundle(Path(runner_spec.model)).spec
        self._class_names = spec.class_names
        self._batch = spec.batch
        self._gray = spec.preprocess.gray
        kind = _OnnxRuntime if runner_spec.engine == Target.ONNXRUNTIME.value else _OpenVino
        self._graph: ConvertedGraph | None = kind(path, runner_spec.threads)
        self.description = self._graph.description
        self.files = tuple(sorted(path.parent.glob(f"{path.stem}.*")))

    def __call__(self, frames: Frames, score_threshold: float) -> CallResult:
        """Detect in as many frames of one size as were exported for."""
        images = np.stack([_input_planes(frame, gray=self._gray) for frame in frames])
        inference_start_s = time.perf_counter()
        output = self._run(images, score_threshold)
        inference_end_s = time.perf_counter()
        scores = [float(score) for one in output[SCORES_INDEX::OUTPUTS_PER_IMAGE] for score in one]
        return CallResult(output, scores, inference_start_s, inference_end_s)

    def detect(self, frames: Frames, score_threshold: float) -> list[Detections]:
        """See `Runner.detect`; a frame stands alone in its batch, as others may be of another size."""
        found = []
        for frame in frames:
            output = self(([frame] * self._batch), score_threshold).output
            boxes, labels, scores, masks = output[:OUTPUTS_PER_IMAGE]
            found.append(detections_from_dense(boxes, labels, scores, masks, self._class_names))
        return found

    def close(self) -> None:
        """See `Runner.close`."""
        self._graph = None

    def _run(self, images: NDArray[np.float32], score_threshold: float) -> list[NDArray[Any]]:
        if self._graph is None:
            msg = "the model is closed; open it again"
            raise ArtifactError(msg)
        with _mapped_errors("the graph failed to compute"):
            return self._graph(images, score_threshold)


class _OnnxRuntime:
    def __init__(self, path: Path, threads: int) -> None:
        ort = require("onnxruntime", purpose="run torchvision's ONNX export")
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads
        with _mapped_errors(f"ONNX Runtime {ort.__version__} does not load it"), native_path(path) as name:
            self._session = ort.InferenceSession(name, options, providers=["CPUExecutionProvider"])
        self.description = f"ONNX Runtime {ort.__version__} on CPU, torchvision's whole model, FP32"

    def __call__(self, images: NDArray[np.float32], score_threshold: float) -> list[NDArray[Any]]:
        feeds = {"images": images, "score_threshold": np.array(score_threshold, np.float32)}
        found: list[NDArray[Any]] = self._session.run(None, feeds)
        return found


class _OpenVino:
    def __init__(self, path: Path, threads: int) -> None:
        openvino = require("openvino", purpose="run OpenVINO's conversion")
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
        }
        version = str(openvino.__version__).partition("-")[0]
        with (
            _mapped_errors(f"OpenVINO {version} does not load it"),
            kept_signal_stack(),
            native_path(path) as name,
        ):
            self._compiled = openvino.Core().compile_model(name, "CPU", settings)
        self._thread_local = threading.local()
        self.description = f"OpenVINO {version} on CPU, torchvision's whole model, FP32"

    def __call__(self, images: NDArray[np.float32], score_threshold: float) -> list[NDArray[Any]]:
        # One for each thread, since a request that computes cannot be called again.
        if not hasattr(self._thread_local, "request"):
            self._thread_local.request = self._compiled.create_infer_request()
        found = self._thread_local.request.infer([images, np.array(score_threshold, np.float32)])
        return [np.array(found[port]) for port in self._compiled.outputs]


def _input_planes(frame: NDArray[np.uint8], *, gray: bool) -> NDArray[np.float32]:
    """What torchvision wants: `float32[3, H, W]` RGB, or `float32[1, H, W]` if the model is gray; 0 to 1."""
    channels_rgb: NDArray[np.float32] = np.ascontiguousarray(frame[..., ::-1].transpose(2, 0, 1)).astype(
        np.float32
    )
    if gray:
        channels_rgb = np.tensordot(np.array([[0.299, 0.587, 0.114]], np.float32), channels_rgb, 1).round()
    channels_rgb /= 255
    return channels_rgb


@contextmanager
def _mapped_errors(what: str) -> Iterator[None]:
    """Turn the errors of ONNX Runtime and OpenVINO, which have no base but `Exception`, into sentences."""
    try:
        yield
    except Exception as exc:
        msg = f"{what}: {first_line(exc)[:MAX_REASON_CHARS]}"
        raise ArtifactError(msg) from exc
