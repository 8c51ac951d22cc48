"""The requests that a worker process answers."""

from __future__ import annotations

import itertools
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edgeseg.benchmark.runners.opening import open_runner
from edgeseg.benchmark.runners.spec import RunnerSpec
from edgeseg.records import record_from_json
from edgeseg.vision.images.reader import read_image

from .memory import device_memory_mib, peak_rss_mib

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edgeseg.benchmark.runners.contract import CallResult, Runner


class WorkerService:
    """One row in a process of its own.

    Every method that does not begin with an underscore takes and gives JSON's types.

    Args:
        runner: A row that is loaded already, for tests; None to load it when asked.
    """

    def __init__(self, runner: Runner | None = None) -> None:
        self._runner = runner
        self._batches: NDArray[np.uint8] = np.zeros((0, 0, 0, 0, 3), np.uint8)

    def open(self, runner_spec: dict[str, Any], frames: str) -> dict[str, Any]:
        """Load a row.

        Args:
            runner_spec: A `RunnerSpec`.
            frames: File with `uint8[F, B, H, W, 3]` BGR: F batches to time.
        """
        self._batches = np.load(frames)
        loaded_spec = record_from_json(RunnerSpec, runner_spec, source="runner_spec")
        _set_threads_and_cores(loaded_spec)
        start = time.perf_counter()
        self._runner = open_runner(loaded_spec)
        load_ms = 1e3 * (time.perf_counter() - start)
        return {
            "description": self._runner.description,
            "file_mb": sum(path.stat().st_size for path in self._runner.files) / 1e6,
            "load_ms": load_ms,
        }

    def export(self, runner_spec: dict[str, Any], frames: str) -> dict[str, Any]:
        """Write what a naive row loads."""
        from edgeseg.benchmark.runners.whole_model import write_whole_model

        loaded_spec = record_from_json(RunnerSpec, runner_spec, source="runner_spec")
        _set_threads_and_cores(loaded_spec)
        write_whole_model(loaded_spec, np.load(frames)[0])
        return {}

    def draft(
        self, model: str, folder: str, batch: int, checkpoint: str, factory: str | None
    ) -> dict[str, Any]:
        """Export a bundle anew for another batch."""
        from .rebatching import rebatch_bundle

        rebatch_bundle(Path(model), Path(folder), batch, Path(checkpoint), factory)
        return {}

    def build(self, runner_spec: dict[str, Any], model: str) -> dict[str, Any]:
        """Build the engine of a row for such a bundle."""
        from .rebatching import build_rebatched_engine

        build_rebatched_engine(Path(model), record_from_json(RunnerSpec, runner_spec, source="runner_spec"))
        return {}

    def peaks(self, threads: int, cores: list[int]) -> dict[str, Any]:
        """Measure matrix products; see `peaks.py`."""
        from edgeseg.benchmark.statistics.roofline import measure_roofline

        _pin_to_cores(cores)
        return {"gmacs_per_s": measure_roofline(threads)}

    def call(self, batch: int, threshold: float, calls: int) -> dict[str, Any]:
        """Time calls with one batch, one after the other."""
        times_ms, stages_ms = [], []
        for _ in range(calls):
            start = time.perf_counter()
            result = self._call(list(self._batches[batch]), threshold)
            end = time.perf_counter()
            times_ms.append(1e3 * (end - start))
            stages_ms.append(_stages_ms(start, result, end))
            found = len(result.scores)
            del result
        return {"times_ms": times_ms, "stages_ms": stages_ms, "found": found}

    def scores(self, batch: int) -> dict[str, Any]:
        """Score all that is found in one batch without a threshold, descending."""
        result = self._call(list(self._batches[batch]), 0.0)
        return {"scores": sorted(result.scores, reverse=True), "images": len(self._batches[batch])}

    def memory(self) -> dict[str, Any]:
        """Most memory so far."""
        return {"peak_rss_mib": peak_rss_mib(), "device_memory_mib": device_memory_mib()}

    def crowd(self, callers: int, threshold: float, duration_s: float) -> dict[str, Any]:
        """Call from several threads at once, each at least once, for a while."""
        call_counts, failures = [0] * callers, list[BaseException]()
        barrier, deadline_s = threading.Barrier(callers + 1), time.perf_counter()

        def caller(number: int) -> None:
            barrier.wait()
            try:
                while not call_counts[number] or time.perf_counter() < deadline_s:
                    batch = self._batches[(number + call_counts[number]) % len(self._batches)]
                    self._call(list(batch), threshold)
                    call_counts[number] += 1
            except Exception as exc:  # noqa: BLE001
                failures.append(exc)

        threads = [threading.Thread(target=caller, args=(number,)) for number in range(callers)]
        for thread in threads:
            thread.start()
        start = time.perf_counter()
        deadline_s = start + duration_s
        barrier.wait()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        images = sum(call_counts) * self._batches.shape[1]
        return {"images_per_s": images / (time.perf_counter() - start)}

    def detect(self, path: str, image_id: int, threshold: float) -> dict[str, Any]:
        """Find instances in an image file."""
        found = self._loaded_runner.detect([read_image(Path(path))], threshold)[0]
        return {"results": found.to_coco(image_id)}

    def close(self) -> dict[str, Any]:
        """Release the row; the process ends by itself."""
        if self._runner is not None:
            self._runner.close()
        return {}

    @property
    def _loaded_runner(self) -> Runner:
        if self._runner is None:
            msg = "asked before anything was opened"
            raise RuntimeError(msg)
        return self._runner

    @property
    def _call(self) -> Callable[..., CallResult]:
        return self._loaded_runner


def _stages_ms(start: float, result: CallResult, end: float) -> list[float]:
    times_s = (start, result.inference_start_s, result.inference_end_s, end)
    return [1e3 * (later - earlier) for earlier, later in itertools.pairwise(times_s)]


def _set_threads_and_cores(runner_spec: RunnerSpec) -> None:
    """Give every row the same threads and cores."""
    _pin_to_cores(runner_spec.cores)
    cv2.setNumThreads(runner_spec.threads)


def _pin_to_cores(cores: tuple[int, ...] | list[int]) -> None:
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
