"""One row while it is measured: its worker process and the measurements so far."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeseg.dataset.average_precision import AveragePrecision

from .row import Row, RowState, Startup
from .runners.spec import RunnerSpec
from .statistics.summary import RoundTime
from .worker.process import RowError, Worker, WorkerProcess
from .worker.requests import CallConcurrently, ListScores, LoadRow, ReadMemory, TimeCalls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .statistics.energy import RowEnergyMeter

# A row's turn takes about as long, so that fast rows have more calls in it than slow ones.
ROUND_TARGET_S = 0.5
MAX_CALLS = 6
# Scores of padding are zero; a threshold of 0 would be that of a graph without any.
FALLBACK_THRESHOLD = 0.5
CONCURRENT_S = 3.0
# A row is warm when so many calls gain no more than this on as many before them, or after most so many.
WARM_CALLS = 3
WARM_GAIN = 0.05
MAX_WARM_CALLS = 24
# A process is measured so many times as long as it took to begin.
MEASURING_TO_STARTUP_RATIO = 2.0


@dataclass(slots=True, kw_only=True)
class RowRun:
    """A row while it is measured.

    Attributes:
        row: The row of the report; its measures are filled in at the end.
        runner_spec: What the worker process is told to load.
        process: Worker process; None before it is opened and after it is closed.
        thresholds: Score threshold of each batch.
        samples_ms: Times of all measured calls, in milliseconds.
        rounds: Measurements by the number of the round.
        stages_ms: Times of the stages of each measured call, in milliseconds.
        detections_per_image: Detections of each round's last call, over its images.
        energy_j: Energy of each measured call, in joules, if the machine reports it.
        results: COCO results by image id, with the label as `category_id`.
        failure: Why the row cannot be measured any further; empty while it can.
        processes: Number of worker processes it has had.
        startup_s: Time that its process took to load and warm up, in seconds.
        measured_s: Time for which its process has been measured, in seconds.
    """

    row: Row
    runner_spec: RunnerSpec
    process: Worker | None = None
    thresholds: list[float] = field(default_factory=list)
    samples_ms: list[float] = field(default_factory=list)
    rounds: dict[int, RoundTime] = field(default_factory=dict)
    stages_ms: list[tuple[float, float, float]] = field(default_factory=list)
    detections_per_image: list[float] = field(default_factory=list)
    energy_j: list[float] = field(default_factory=list)
    results: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    accuracy: AveragePrecision | None = None
    startup: Startup | None = None
    description: str = ""
    file_mb: float | None = None
    concurrent_images_per_s: float | None = None
    notes: list[str] = field(default_factory=list)
    failure: str = ""
    refused: bool = False
    warm_ms: float = math.inf
    processes: int = 0
    startup_s: float = 0.0
    measured_s: float = 0.0

    @property
    def alive(self) -> bool:
        """Whether it is loaded and has not failed."""
        return self.process is not None and not self.failure

    @property
    def needs_new_process(self) -> bool:
        """Whether its process has told enough, and another should be asked."""
        return self.measured_s > MEASURING_TO_STARTUP_RATIO * self.startup_s

    @property
    def live_process(self) -> Worker:
        """Its process.

        Raises:
            RowError: It has none.
        """
        if self.process is None:
            msg = "it was not loaded"
            raise RowError(msg)
        return self.process

    @property
    def state(self) -> RowState:
        """How far it has come."""
        if not self.failure:
            return RowState.OK if self.samples_ms else RowState.PARTIAL
        if self.samples_ms:
            return RowState.PARTIAL
        return RowState.SKIPPED if self.refused else RowState.FAILED

    def fail(self, error: RowError) -> None:
        """Take it out of the run; what it has said stays."""
        self.failure, self.refused = str(error), error.refused
        self.close()

    def close(self) -> None:
        """End its process; harmless if there is none."""
        if self.process is not None:
            self.process.close()
            self.process = None


def start_row(row_run: RowRun, frames: str, *, timeout_s: float) -> None:
    """Start a row's process and load the row in it.

    Args:
        row_run: Without a process.
        frames: File with the batches to time.
        timeout_s: Limit for loading.

    Raises:
        RowError: It cannot run here, or broke.
    """
    start = time.monotonic()
    row_run.process = WorkerProcess()
    row_run.processes += 1
    loaded = row_run.process.ask(LoadRow(runner_spec=row_run.runner_spec, frames=frames), timeout_s=timeout_s)
    row_run.description, row_run.file_mb = loaded.description, loaded.file_mb
    row_run.startup = Startup(load_ms=loaded.load_ms)
    row_run.startup_s, row_run.measured_s = time.monotonic() - start, 0.0


def warm_up(row_run: RowRun, *, batches: int, boxes: int | None, calls: int, timeout_s: float) -> None:
    """Call the row until its calls stop getting faster, choose thresholds and measure the memory.

    PyTorch's calls of a whole Mask R-CNN keep getting faster for about a dozen calls.

    Args:
        row_run: Row whose process is open.
        batches: Number of batches; each is called at least once.
        boxes: Mean detections per image of a batch that the thresholds should leave; None to leave the
            thresholds as they are.
        calls: Least number of further calls of the first batch.
        timeout_s: Limit for one call; the first may compile.

    Raises:
        RowError: It broke.
    """
    start = time.monotonic()
    process, startup = row_run.live_process, row_run.startup
    first_call = TimeCalls(batch=0, threshold=row_run.thresholds[0], calls=1)
    first_ms = process.ask(first_call, timeout_s=timeout_s).times_ms[0]
    if boxes is not None:
        found = [process.ask(ListScores(batch=batch), timeout_s=timeout_s) for batch in range(batches)]
        row_run.thresholds = [threshold_for_count(one.scores, boxes * one.images) for one in found]
    warm_times_ms: list[float] = []
    planned_batches = [*range(batches), *[0] * calls]
    while len(warm_times_ms) < len(planned_batches) or not (
        is_warm(warm_times_ms) or len(warm_times_ms) >= MAX_WARM_CALLS
    ):
        batch = planned_batches[len(warm_times_ms)] if len(warm_times_ms) < len(planned_batches) else 0
        call = TimeCalls(batch=batch, threshold=row_run.thresholds[batch], calls=1)
        warm_times_ms += process.ask(call, timeout_s=timeout_s).times_ms
    row_run.warm_ms = statistics.median(warm_times_ms[-WARM_CALLS:])
    memory = process.ask(ReadMemory())
    row_run.startup = Startup(
        load_ms=startup.load_ms if startup else 0.0,
        first_ms=first_ms,
        peak_rss_mib=memory.peak_rss_mib,
        device_memory_mib=memory.device_memory_mib,
    )
    row_run.startup_s += time.monotonic() - start


def restart_process(row_run: RowRun, frames: str, *, timeout_s: float) -> None:
    """Put another process in the place of one that is spent, with the same thresholds.

    Raises:
        RowError: It broke.
    """
    startup = row_run.startup
    row_run.close()
    start_row(row_run, frames, timeout_s=timeout_s)
    warm_up(row_run, batches=1, boxes=None, calls=0, timeout_s=timeout_s)
    row_run.startup = startup


def is_warm(times_ms: Sequence[float]) -> bool:
    """Whether the last calls are no faster than those before them."""
    previous, last = times_ms[-2 * WARM_CALLS : -WARM_CALLS], times_ms[-WARM_CALLS:]
    has_enough = len(previous) == WARM_CALLS
    return has_enough and statistics.median(last) >= (1 - WARM_GAIN) * statistics.median(previous)


def measure_round(
    row_run: RowRun, round_number: int, batch: int, *, batch_size: int, meter: RowEnergyMeter | None
) -> None:
    """Time a few calls with one batch.

    A row that is called more than once has a call first that does not count: another row has just had the
    caches to itself. A camera calls its model again and again.

    Raises:
        RowError: It broke.
    """
    start = time.monotonic()
    calls = calls_per_round(row_run.warm_ms)
    request = TimeCalls(batch=batch, threshold=row_run.thresholds[batch], calls=calls + (calls > 1))
    before_j = meter.joules() if meter else None
    measured = row_run.live_process.ask(request)
    after_j = meter.joules() if meter else None
    if before_j is not None and after_j is not None:
        row_run.energy_j.append((after_j - before_j) / request.calls / batch_size)
    times_ms = measured.times_ms[-calls:]
    row_run.samples_ms += times_ms
    row_run.rounds[round_number] = RoundTime(statistics.median(times_ms), row_run.processes)
    row_run.stages_ms += measured.stages_ms[-calls:]
    row_run.detections_per_image.append(measured.found / batch_size)
    row_run.measured_s += time.monotonic() - start


def measure_concurrent_throughput(row_run: RowRun, callers: int) -> None:
    """Measure throughput with several callers.

    Raises:
        RowError: It broke.
    """
    threshold = statistics.fmean(row_run.thresholds)
    request = CallConcurrently(callers=callers, threshold=threshold, duration_s=CONCURRENT_S)
    row_run.concurrent_images_per_s = row_run.live_process.ask(request).images_per_s


def calls_per_round(warm_ms: float) -> int:
    """How often to call a row in its turn."""
    return min(max(math.floor(1e3 * ROUND_TARGET_S / warm_ms), 1), MAX_CALLS)


def threshold_for_count(scores: Sequence[float], boxes: int) -> float:
    """Find a threshold with `boxes` of the descending `scores` over it, or all that there are."""
    if boxes >= len(scores):
        return scores[-1] * 0.999 if scores else FALLBACK_THRESHOLD
    return (scores[boxes - 1] + scores[boxes]) / 2
