"""The requests that a worker process answers."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgeseg.benchmark.runners.opening import open_runner
from edgeseg.vision.images.reader import read_image

from .memory import device_memory_mib, peak_rss_mib
from .requests import (
    BuildRebatchedEngine,
    CallConcurrently,
    CallTimes,
    Close,
    CocoResults,
    DetectInstances,
    Done,
    ListScores,
    LoadedRow,
    LoadRow,
    MeasureRoofline,
    Memory,
    ReadMemory,
    RebatchBundle,
    Roofline,
    Scores,
    Throughput,
    TimeCalls,
    WriteWholeModel,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edgeseg.benchmark.runners.contract import CallResult, Runner
    from edgeseg.benchmark.runners.spec import RunnerSpec

    from .requests import Answer, AnyRequest


class WorkerService:
    """One row in a process of its own.

    Args:
        runner: A row that is loaded already, for tests; None to load it when asked.
    """

    def __init__(self, runner: Runner | None = None) -> None:
        self._runner = runner
        self._batches: NDArray[np.uint8] = np.zeros((0, 0, 0, 0, 3), np.uint8)

    def answer(self, request: AnyRequest) -> Answer:
        """Do what is asked; the requests' own docstrings say what that is.

        Raises:
            EdgeSegError: The row cannot do it.
        """
        match request:
            case LoadRow():
                return self.load(request)
            case WriteWholeModel():
                return self.write_whole_model(request)
            case RebatchBundle():
                return self.rebatch_bundle(request)
            case BuildRebatchedEngine():
                return self.build_rebatched_engine(request)
            case MeasureRoofline():
                return self.measure_roofline(request)
            case TimeCalls():
                return self.time_calls(request)
            case ListScores():
                return self.list_scores(request)
            case ReadMemory():
                return Memory(peak_rss_mib=peak_rss_mib(), device_memory_mib=device_memory_mib())
            case CallConcurrently():
                return self.call_concurrently(request)
            case DetectInstances():
                return self.detect(request)
            case Close():
                return self.close()

    def load(self, request: LoadRow) -> LoadedRow:
        """Load a row."""
        self._batches = np.load(request.frames)
        _set_threads_and_cores(request.runner_spec)
        start = time.perf_counter()
        self._runner = open_runner(request.runner_spec)
        load_ms = 1e3 * (time.perf_counter() - start)
        return LoadedRow(
            description=self._runner.description,
            file_mb=sum(path.stat().st_size for path in self._runner.files) / 1e6,
            load_ms=load_ms,
        )

    def write_whole_model(self, request: WriteWholeModel) -> Done:
        """Convert a whole model."""
        from edgeseg.benchmark.runners.whole_model import write_whole_model

        _set_threads_and_cores(request.runner_spec)
        write_whole_model(request.runner_spec, np.load(request.frames)[0])
        return Done()

    def rebatch_bundle(self, request: RebatchBundle) -> Done:
        """Export a bundle anew for another batch."""
        from .rebatching import rebatch_bundle

        rebatch_bundle(
            Path(request.model),
            Path(request.folder),
            request.batch,
            Path(request.checkpoint),
            request.factory,
        )
        return Done()

    def build_rebatched_engine(self, request: BuildRebatchedEngine) -> Done:
        """Build the engine of a row for such a bundle."""
        from .rebatching import build_rebatched_engine

        build_rebatched_engine(Path(request.model), request.runner_spec)
        return Done()

    def measure_roofline(self, request: MeasureRoofline) -> Roofline:
        """Measure matrix products on the cores asked for."""
        from edgeseg.benchmark.statistics.roofline import measure_roofline

        _pin_to_cores(request.cores)
        return Roofline(gmacs_per_s=measure_roofline(request.threads))

    def time_calls(self, request: TimeCalls) -> CallTimes:
        """Time calls with one batch, one after the other."""
        times_ms, stages_ms = [], []
        for _ in range(request.calls):
            start = time.perf_counter()
            result = self._call(list(self._batches[request.batch]), request.threshold)
            end = time.perf_counter()
            times_ms.append(1e3 * (end - start))
            stages_ms.append(_stages_ms(start, result, end))
            found = len(result.scores)
            del result
        return CallTimes(times_ms=tuple(times_ms), stages_ms=tuple(stages_ms), found=found)

    def list_scores(self, request: ListScores) -> Scores:
        """Score all that is found in one batch without a threshold."""
        batch = self._batches[request.batch]
        result = self._call(list(batch), 0.0)
        return Scores(scores=tuple(sorted(result.scores, reverse=True)), images=len(batch))

    def call_concurrently(self, request: CallConcurrently) -> Throughput:
        """Call from several threads at once, each at least once, for a while."""
        callers = request.callers
        call_counts, failures = [0] * callers, list[BaseException]()
        barrier, deadline_s = threading.Barrier(callers + 1), time.perf_counter()

        def caller(number: int) -> None:
            barrier.wait()
            try:
                while not call_counts[number] or time.perf_counter() < deadline_s:
                    batch = self._batches[(number + call_counts[number]) % len(self._batches)]
                    self._call(list(batch), request.threshold)
                    call_counts[number] += 1
            except Exception as exc:  # noqa: BLE001
                failures.append(exc)

        threads = [threading.Thread(target=caller, args=(number,)) for number in range(callers)]
        for thread in threads:
            thread.start()
        start = time.perf_counter()
        deadline_s = start + request.duration_s
        barrier.wait()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        images = sum(call_counts) * self._batches.shape[1]
        return Throughput(images_per_s=images / (time.perf_counter() - start))

    def detect(self, request: DetectInstances) -> CocoResults:
        """Find instances in an image file."""
        found = self._loaded_runner.detect([read_image(Path(request.path))], request.threshold)[0]
        return CocoResults(results=tuple(found.to_coco(request.image_id)))

    def close(self) -> Done:
        """Release the row; the process ends by itself."""
        if self._runner is not None:
            self._runner.close()
        return Done()

    @property
    def _loaded_runner(self) -> Runner:
        if self._runner is None:
            msg = "asked before anything was opened"
            raise RuntimeError(msg)
        return self._runner

    @property
    def _call(self) -> Callable[..., CallResult]:
        return self._loaded_runner


def _stages_ms(start: float, result: CallResult, end: float) -> tuple[float, float, float]:
    return (
        1e3 * (result.inference_start_s - start),
        1e3 * (result.inference_end_s - result.inference_start_s),
        1e3 * (end - result.inference_end_s),
    )


def _set_threads_and_cores(runner_spec: RunnerSpec) -> None:
    """Give every row the same threads and cores."""
    _pin_to_cores(runner_spec.cores)
    cv2.setNumThreads(runner_spec.threads)


def _pin_to_cores(cores: tuple[int, ...]) -> None:
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
