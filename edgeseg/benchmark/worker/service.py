"""What a row's own process can be asked to do."""

from __future__ import annotations

import itertools
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edgeseg.benchmark.runners.opening import open_contender
from edgeseg.benchmark.runners.spec import Recipe
from edgeseg.records import record_from_json
from edgeseg.vision.images.reader import read_image

from .memory import device_memory_mib, peak_rss_mib

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edgeseg.benchmark.runners.contract import Called, Contender


class Station:
    """One row in a process of its own.

    Every method that does not begin with an underscore takes and gives JSON's types.

    Args:
        contender: A row that is loaded already, for tests; None to load it when asked.
    """

    def __init__(self, contender: Contender | None = None) -> None:
        self._contender = contender
        self._batches: NDArray[np.uint8] = np.zeros((0, 0, 0, 0, 3), np.uint8)

    def open(self, recipe: dict[str, Any], frames: str) -> dict[str, Any]:
        """Load a row.

        Args:
            recipe: A `Recipe`.
            frames: File with `uint8[F, B, H, W, 3]` BGR: F batches to time.
        """
        self._batches = np.load(frames)
        known = record_from_json(Recipe, recipe, source="recipe")
        _settle(known)
        start = time.perf_counter()
        self._contender = open_contender(known)
        load_ms = 1e3 * (time.perf_counter() - start)
        return {
            "description": self._contender.description,
            "file_mb": sum(path.stat().st_size for path in self._contender.files) / 1e6,
            "load_ms": load_ms,
        }

    def export(self, recipe: dict[str, Any], frames: str) -> dict[str, Any]:
        """Write what a naive row loads."""
        from edgeseg.benchmark.runners.whole_model import write_naive

        known = record_from_json(Recipe, recipe, source="recipe")
        _settle(known)
        write_naive(known, np.load(frames)[0])
        return {}

    def draft(
        self, model: str, folder: str, batch: int, checkpoint: str, factory: str | None
    ) -> dict[str, Any]:
        """Export a bundle anew for another batch."""
        from .rebatching import write_replica

        write_replica(Path(model), Path(folder), batch, Path(checkpoint), factory)
        return {}

    def build(self, recipe: dict[str, Any], model: str) -> dict[str, Any]:
        """Build the engine of a row for such a bundle."""
        from .rebatching import build_replica

        build_replica(Path(model), record_from_json(Recipe, recipe, source="recipe"))
        return {}

    def peaks(self, threads: int, cores: list[int]) -> dict[str, Any]:
        """Measure matrix products; see `peaks.py`."""
        from edgeseg.benchmark.statistics.roofline import measure_peaks

        _pin(cores)
        return {"gmacs_per_s": measure_peaks(threads)}

    def call(self, batch: int, threshold: float, calls: int) -> dict[str, Any]:
        """Time calls with one batch, one after the other."""
        times_ms, stages_ms = [], []
        for _ in range(calls):
            start = time.perf_counter()
            called = self._loaded(list(self._batches[batch]), threshold)
            end = time.perf_counter()
            times_ms.append(1e3 * (end - start))
            stages_ms.append(_stages_ms(start, called, end))
            found = len(called.scores)
            del called
        return {"times_ms": times_ms, "stages_ms": stages_ms, "found": found}

    def scores(self, batch: int) -> dict[str, Any]:
        """Score all that is found in one batch without a threshold, descending."""
        called = self._loaded(list(self._batches[batch]), 0.0)
        return {"scores": sorted(called.scores, reverse=True), "images": len(self._batches[batch])}

    def memory(self) -> dict[str, Any]:
        """Most memory so far."""
        return {"peak_rss_mib": peak_rss_mib(), "device_memory_mib": device_memory_mib()}

    def crowd(self, callers: int, threshold: float, duration_s: float) -> dict[str, Any]:
        """Call from several threads at once, each at least once, for a while."""
        done, failures = [0] * callers, list[BaseException]()
        gate, until = threading.Barrier(callers + 1), time.perf_counter()

        def caller(number: int) -> None:
            gate.wait()
            try:
                while not done[number] or time.perf_counter() < until:
                    batch = self._batches[(number + done[number]) % len(self._batches)]
                    self._loaded(list(batch), threshold)
                    done[number] += 1
            except Exception as exc:  # noqa: BLE001
                failures.append(exc)

        threads = [threading.Thread(target=caller, args=(number,)) for number in range(callers)]
        for thread in threads:
            thread.start()
        start = time.perf_counter()
        until = start + duration_s
        gate.wait()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        images = sum(done) * self._batches.shape[1]
        return {"images_per_s": images / (time.perf_counter() - start)}

    def detect(self, path: str, image_id: int, threshold: float) -> dict[str, Any]:
        """Find instances in an image file."""
        found = self._loaded_contender.detect([read_image(Path(path))], threshold)[0]
        return {"results": found.to_coco(image_id)}

    def close(self) -> dict[str, Any]:
        """Release the row; the process ends by itself."""
        if self._contender is not None:
            self._contender.close()
        return {}

    @property
    def _loaded_contender(self) -> Contender:
        if self._contender is None:
            msg = "asked before anything was opened"
            raise RuntimeError(msg)
        return self._contender

    @property
    def _loaded(self) -> Callable[..., Called]:
        return self._loaded_contender


def _stages_ms(start: float, called: Called, end: float) -> list[float]:
    marks = (start, called.begun_s, called.ended_s, end)
    return [1e3 * (later - earlier) for earlier, later in itertools.pairwise(marks)]


def _settle(recipe: Recipe) -> None:
    """Give every row the same threads and cores."""
    _pin(recipe.cores)
    cv2.setNumThreads(recipe.threads)


def _pin(cores: tuple[int, ...] | list[int]) -> None:
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
