"""Counting and timing while a run goes on."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

from .job import RunConfig, RunSummary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..errors import EdgeSegError
    from .detections import Detections
    from .frames import Skipped


class Tally:
    """What has been done so far, and what ended it.

    Attributes:
        frames: Number of frames whose results are written.
        skipped: Inputs that could not be read.
        interrupted: Ctrl-C was pressed.
        error: What stopped the run.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.skipped: list[Skipped] = []
        self.interrupted = False
        self.error: EdgeSegError | None = None
        self._by_class: Counter[str] = Counter()
        self._seconds = {"read": 0.0, "detect": 0.0, "write": 0.0}

    def add(self, detections: Detections) -> None:
        """Count a frame."""
        self.frames += 1
        self._by_class.update(detections.names)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time that a block takes to a stage: `read`, `detect` or `write`."""
        start = perf_counter()
        yield
        self._seconds[stage] += perf_counter() - start

    def summary(self, config: RunConfig, computed_by: str, outputs: dict[str, str]) -> RunSummary:
        """Put it into a record."""
        return RunSummary(
            source=config.source_name,
            model=str(config.model),
            computed_by=computed_by,
            score_threshold=config.score_threshold,
            frames=self.frames,
            instances=self._by_class.total(),
            instances_by_class=dict(self._by_class.most_common()),
            skipped=tuple(self.skipped),
            read_ms=self._mean_ms("read"),
            detect_ms=self._mean_ms("detect"),
            write_ms=self._mean_ms("write"),
            outputs=outputs,
            interrupted=self.interrupted,
            error=None if self.error is None else str(self.error),
        )

    def _mean_ms(self, stage: str) -> float:
        return round(1000 * self._seconds[stage] / max(1, self.frames), 2)
