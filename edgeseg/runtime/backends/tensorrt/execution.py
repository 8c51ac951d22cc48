"""Everything that one frame at a time needs on a GPU."""

from __future__ import annotations

import logging
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.errors import ArtifactError
from edgeseg.ports import IMAGES, NMS_CONVERGED
from edgeseg.runtime.contract import raw_from_outputs

from .bindings import bindings_from_spec

if TYPE_CHECKING:
    import tensorrt as trt
    from numpy.typing import NDArray

    from edgeseg.runtime.contract import RawDetections
    from edgeseg.runtime.cuda.driver import Cuda
    from edgeseg.spec import ModelSpec

    from .bindings import Binding
    from .session import Session

ROW_BINDINGS = ("boxes", "labels", "masks")

logger = logging.getLogger(__name__)


class Execution:
    """Buffers on both sides, a stream, an event and a context, for one frame at a time.

    To be used inside `Cuda.active()`, by one thread at a time.

    Attributes:
        graph_note: Whether the engine runs as a CUDA graph, and if not why.

    Raises:
        ArtifactError: Memory is short, or the engine does not run; nothing is left behind.
    """

    def __init__(self, cuda: Cuda, session: Session, spec: ModelSpec) -> None:
        self._cuda = cuda
        self._session = session
        self._bindings = bindings_from_spec(spec)
        self._context: trt.IExecutionContext | None = None
        self._graph: int | None = None
        size = max(binding.end for binding in self._bindings.values())
        with ExitStack() as stack:
            self._device = cuda.allocate(size)
            stack.callback(cuda.free, self._device)
            self._pinned = cuda.allocate_pinned(size)
            stack.callback(cuda.free_pinned, self._pinned)
            self._stream = cuda.create_stream()
            stack.callback(cuda.destroy_stream, self._stream)
            self._event = cuda.create_event()
            stack.callback(cuda.destroy_event, self._event)
            # Both before the memory that it works on goes.
            stack.callback(self._drop_context)
            stack.callback(self._wait_quietly)
            self._host = {binding.name: self._view(binding) for binding in self._bindings.values()}
            self._prepare()
            self._release = stack.pop_all()

    def run(self, images: NDArray[np.uint8], score_threshold: float) -> tuple[RawDetections, bool]:
        """Detect in a full batch.

        Args:
            images: `uint8[B, H, W, 3]`.
            score_threshold: Only detections above it; none below the engine's own are found.

        Returns:
            Arrays of their own, and whether NMS had settled on every image.

        Raises:
            ArtifactError: The engine failed to compute.
        """
        try:
            np.copyto(self._host[IMAGES], images)
            self._upload()
            self._compute()
            self._download(0, self._bindings["scores"].end)
            self._wait()
            counts = self._counts(score_threshold)
            self._download_rows(counts)
            return self._detections(counts), bool(self._host[NMS_CONVERGED].all())
        except BaseException:
            # What is under way still writes to the buffers, which the next frame will use.
            self._wait_quietly()
            raise

    def close(self) -> None:
        """Give everything back."""
        self._release.close()

    def _prepare(self) -> None:
        """Make the context, run it once as TensorRT wants before a capture, and capture it."""
        self._context = self._session.create_context()
        for binding in self._bindings.values():
            if not self._context.set_tensor_address(binding.name, self._device + binding.offset):
                msg = f"{self._session.library.title} refuses the memory for {binding.name}"
                raise ArtifactError(msg)
        self._pinned.fill(0)
        self._upload()
        self._enqueue()
        self._wait()
        self.graph_note = self._capture()

    def _capture(self) -> str:
        if self._session.captures_by_itself:
            return "CUDA graph of its own"
        try:
            self._graph = self._cuda.capture(self._stream, self._enqueue)
            self._compute()
            self._wait()
        except ArtifactError as exc:
            self._drop_graph()
            logger.warning("the engine runs without a CUDA graph: %s", str(exc))
            return f"no CUDA graph: {exc}"
        return "CUDA graph"

    def _compute(self) -> None:
        if self._graph is None:
            self._enqueue()
        else:
            self._cuda.launch(self._graph, self._stream)

    def _enqueue(self) -> None:
        library = self._session.library
        with library.capture_log() as captured:
            done = self._context is not None and self._context.execute_async_v3(self._stream)
        if not done:
            msg = f"the engine failed to compute; {library.title}: {captured.reason}"
            raise ArtifactError(msg)

    def _upload(self) -> None:
        images = self._bindings[IMAGES]
        source = self._pinned[images.offset : images.end]
        self._cuda.upload(source, self._device + images.offset, self._stream)

    def _download(self, start: int, end: int) -> None:
        self._cuda.download(self._device + start, self._pinned[start:end], self._stream)

    def _wait(self) -> None:
        self._cuda.record(self._event, self._stream)
        self._cuda.wait(self._event)

    def _wait_quietly(self) -> None:
        with suppress(ArtifactError):
            self._wait()

    def _counts(self, score_threshold: float) -> NDArray[np.int32]:
        """Count what the engine found above the threshold: `int32[B]`; scores descend."""
        scores = self._host["scores"]
        found = np.arange(scores.shape[1]) < self._host["num_detections"][:, None]
        above = np.logical_and.accumulate(found & (scores > score_threshold), axis=1)
        counts: NDArray[np.int32] = above.sum(1, dtype=np.int32)
        return counts

    def _download_rows(self, counts: NDArray[np.int32]) -> None:
        if not counts.any():
            return
        for binding in (self._bindings[name] for name in ROW_BINDINGS):
            for index, count in enumerate(counts.tolist()):
                if count:
                    start = binding.offset + index * binding.shape[1] * binding.row_nbytes
                    self._download(start, start + count * binding.row_nbytes)
        self._wait()

    def _detections(self, counts: NDArray[np.int32]) -> RawDetections:
        rows = {name: _rows(self._host[name], counts) for name in ("scores", *ROW_BINDINGS)}
        return raw_from_outputs({"num_detections": counts, **rows})

    def _view(self, binding: Binding) -> NDArray[Any]:
        return self._pinned[binding.offset : binding.end].view(binding.dtype).reshape(binding.shape)

    def _drop_graph(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            self._cuda.destroy_graph(graph)

    def _drop_context(self) -> None:
        try:
            self._drop_graph()
        finally:
            self._context = None


def _rows(source: NDArray[Any], counts: NDArray[np.int32]) -> NDArray[Any]:
    """Copy the first rows of each image, and zero the others."""
    rows = np.zeros_like(source)
    for target, found, count in zip(rows, source, counts.tolist(), strict=True):
        target[:count] = found[:count]
    return rows
