"""The stages of a run, each in its own thread: preparing, inferring and finishing."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.runtime.model import Outputs, Prepared
from edgeseg.vision.frames import Frame, Skipped, SourceKind

from .results import FrameResult
from .shutdown import close_at_exit, forget_at_exit
from .stage_queue import QueueClosed, StageQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgeseg.runtime.model import Model
    from edgeseg.vision.detections import Detections

    from .controls import Controls
    from .frame_reader import FrameReader
    from .postprocessing import PostProcessor

# In the order in which a frame goes through them; the last belongs to whoever takes the results.
STAGES = ("read", "prepare", "infer", "finish", "output")
# How soon a stop request is noticed while no frame comes.
POLL_S = 0.1
# Weight of the newest measurement in a running mean.
SMOOTHING = 0.3
# How long before the network is free a live frame is prepared, in multiples of the preparation time.
PREPARE_LEAD = 2.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Batch:
    """Frames on their way to the network."""

    frames: list[Frame]
    prepared: Prepared
    prepare_ms: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Computed:
    """Frames on their way back."""

    batch: _Batch
    outputs: Outputs
    score_threshold: float
    infer_ms: float


class Pipeline:
    """Takes frames from a frame reader through a model, in order.

    Of a live source a frame is taken only when the model is about to be free, so that it is the newest and
    its age stays below two inferences. Of files every frame is taken, a few ahead.

    Args:
        model: Computes the detections; not closed by the pipeline.
        frame_reader: Gives the frames; not closed by the pipeline.
        controls: Score threshold and stop request.
        post_processor: Applied to each result, in the finishing thread.
        max_frames: Maximum number of frames to take; None for all.
    """

    def __init__(
        self,
        model: Model,
        frame_reader: FrameReader,
        controls: Controls,
        post_processor: PostProcessor,
        max_frames: int | None = None,
    ) -> None:
        self._model, self._frame_reader, self._controls = model, frame_reader, controls
        self._post_processor = post_processor
        self._frames_left = max_frames
        self._live = frame_reader.kind is SourceKind.LIVE
        self._prepared: StageQueue[_Batch] = StageQueue()
        self._computed: StageQueue[_Computed] = StageQueue()
        self._results: StageQueue[FrameResult | Skipped] = StageQueue(model.spec.batch)
        self._error: BaseException | None = None
        self._prepare_s = self._infer_s = self._infer_started_s = 0.0
        self._threads = [
            self._thread("prepare", self._prepare, self._frame_reader.stop, self._prepared.complete),
            self._thread("infer", self._infer, self._prepared.abandon, self._computed.complete),
            self._thread("finish", self._finish, self._computed.abandon, self._results.complete),
        ]

    def start(self) -> None:
        """Start the threads; a live source waits until the network has once computed, which takes longest.

        Raises:
            ArtifactError: The network fails.
        """
        if self._live:
            for size_hw in self._model.sizes_hw:
                blank = np.zeros((*size_hw, 3), np.uint8)
                start = time.perf_counter()
                self._model.infer(self._model.prepare([blank]), self._controls.score_threshold)
                # Rather too long than nothing: a network that is free sooner is not kept waiting.
                self._infer_s = time.perf_counter() - start
        close_at_exit(self)
        for thread in self._threads:
            thread.start()

    def iterate(self) -> Iterator[FrameResult | Skipped]:
        """Give each result, and input that could not be read, until the end or the wish to stop.

        Raises:
            BaseException: What a stage failed with, after the results before it.
        """
        while not self._controls.stopping.is_set():
            try:
                item = self.poll(POLL_S)
            except QueueClosed:
                return
            if item is not None:
                yield item

    def poll(self, timeout_s: float) -> FrameResult | Skipped | None:
        """Take the next result, or input that could not be read, if one comes in time.

        Raises:
            QueueClosed: All frames are done, or the run was stopped.
            BaseException: What a stage failed with, after the results before it.
        """
        try:
            item = self._results.poll(timeout_s)
        except QueueClosed:
            if self._error is not None:
                error, self._error = self._error, None
                raise error from None
            raise
        if isinstance(item, FrameResult) and item.frame.captured_s is not None:
            return replace(item, age_ms=1000 * (time.monotonic() - item.frame.captured_s))
        return item

    def close(self) -> None:
        """Stop, and wait until an inference that is under way has ended; harmless if done before."""
        self._results.abandon()
        self._frame_reader.stop()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        forget_at_exit(self)

    def _thread(
        self,
        name: str,
        work: Callable[[], None],
        end_input: Callable[[], None],
        end_output: Callable[[], None],
    ) -> Thread:
        def body() -> None:
            try:
                work()
            except QueueClosed:
                pass
            except BaseException as exc:  # noqa: BLE001 - told by `next`, in the caller's thread
                self._error = self._error or exc
            finally:
                # Otherwise the stages before and after this one would wait forever.
                end_input()
                end_output()

        return Thread(target=body, name=f"edgeseg-{name}", daemon=True)

    def _prepare(self) -> None:
        batch = self._model.spec.batch
        while self._frames_left != 0 and not self._controls.stopping.is_set():
            if self._live:
                self._wait_for_network()
            items = self._frame_reader.take(
                batch if self._frames_left is None else min(batch, self._frames_left)
            )
            if not items:
                return
            frames = [item for item in items if isinstance(item, Frame)]
            for item in items:
                if isinstance(item, Skipped):
                    self._results.put(item)
            if frames:
                self._prepared.put(self._batch(frames))

    def _wait_for_network(self) -> None:
        """Wait until the network will soon have finished, so that what is taken then is the newest."""
        self._prepared.wait_empty()
        free_s = self._infer_started_s + self._infer_s
        self._prepared.pause_until(free_s - PREPARE_LEAD * self._prepare_s)

    def _batch(self, frames: list[Frame]) -> _Batch:
        if self._frames_left is not None:
            self._frames_left -= len(frames)
        start = time.perf_counter()
        prepared = self._model.prepare([frame.image for frame in frames])
        taken_s = time.perf_counter() - start
        self._prepare_s = _smoothed(self._prepare_s, taken_s)
        return _Batch(frames=frames, prepared=prepared, prepare_ms=1000 * taken_s / len(frames))

    def _infer(self) -> None:
        while True:
            batch = self._prepared.get()
            score_threshold = self._controls.score_threshold
            self._infer_started_s, start = time.monotonic(), time.perf_counter()
            outputs = self._model.infer(batch.prepared, self._post_processor.lowest_score(score_threshold))
            taken_s = time.perf_counter() - start
            self._infer_s = _smoothed(self._infer_s, taken_s)
            infer_ms = 1000 * taken_s / len(batch.frames)
            self._computed.put(
                _Computed(batch=batch, outputs=outputs, score_threshold=score_threshold, infer_ms=infer_ms)
            )

    def _finish(self) -> None:
        while True:
            computed = self._computed.get()
            start = time.perf_counter()
            found = self._model.finish(computed.outputs, computed.batch.prepared)
            finish_ms = 1000 * (time.perf_counter() - start) / len(found)
            for frame, detections in zip(computed.batch.frames, found, strict=True):
                self._results.put(self._result(computed, frame, detections, finish_ms))

    def _result(
        self, computed: _Computed, frame: Frame, detections: Detections, finish_ms: float
    ) -> FrameResult:
        start = time.perf_counter()
        stages_ms = {
            "read": frame.read_ms,
            "prepare": computed.batch.prepare_ms,
            "infer": computed.infer_ms,
            "finish": finish_ms,
        }
        found = FrameResult(frame=frame, detections=detections, stages_ms=stages_ms)
        result = self._post_processor(found, computed.score_threshold)
        stages_ms["finish"] += 1000 * (time.perf_counter() - start)
        return replace(result, stages_ms=stages_ms)


def _smoothed(mean: float, value: float) -> float:
    """Let a running mean follow a new value; the first one is taken as it is."""
    return value if not mean else mean + SMOOTHING * (value - mean)
