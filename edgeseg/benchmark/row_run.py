"""One row while it is measured: its process, and what it has said so far."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeseg.dataset.average_precision import AveragePrecision
from edgeseg.records import json_from_record

from .row import Row, RowState, Startup
from .runners.spec import Recipe
from .statistics.summary import Turn
from .worker.process import Process, RowError, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .statistics.energy import Meter

# A row's turn takes about as long, so that fast rows have more calls in it than slow ones.
BURST_S = 0.5
MOST_CALLS = 6
# Scores of padding are zero; a threshold of 0 would be that of a graph without any.
ABOVE_ALL = 0.5
CROWD_S = 3.0
# A row is warm when so many calls gain no more than this on as many before them, or after most so many.
WARM_CALLS = 3
WARM_GAIN = 0.05
MOST_WARM_CALLS = 24
# A process is measured so many times as long as it took to begin.
WORTH = 2.0


@dataclass(slots=True, kw_only=True)
class Lane:
    """A row on its way.

    Attributes:
        row: What it is; its measures are filled in at the end.
        recipe: How to open it.
        process: None before it is opened and after it is closed.
        thresholds: Of each batch.
        samples_ms: All measured calls.
        turns: What it took, by number of the turn.
        stages_ms: Of each measured call.
        found: Detections of each turn's last call, over its images.
        energy_j: Of each measured call, where the machine tells.
        results: Image id to COCO results, the label as `category_id`.
        failure: Why it goes no further; empty while it does.
        processes: How many it has had.
        begun_s: What its process took to load and to grow warm.
        measured_s: How long its process has been measured.
    """

    row: Row
    recipe: Recipe
    process: Process | None = None
    thresholds: list[float] = field(default_factory=list)
    samples_ms: list[float] = field(default_factory=list)
    turns: dict[int, Turn] = field(default_factory=dict)
    stages_ms: list[list[float]] = field(default_factory=list)
    found: list[float] = field(default_factory=list)
    energy_j: list[float] = field(default_factory=list)
    results: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    accuracy: AveragePrecision | None = None
    startup: Startup | None = None
    description: str = ""
    file_mb: float | None = None
    images_per_s_crowded: float | None = None
    notes: list[str] = field(default_factory=list)
    failure: str = ""
    refused: bool = False
    warm_ms: float = math.inf
    processes: int = 0
    begun_s: float = 0.0
    measured_s: float = 0.0

    @property
    def alive(self) -> bool:
        """Whether it is loaded and has not failed."""
        return self.process is not None and not self.failure

    @property
    def spent(self) -> bool:
        """Whether its process has told enough, and another should be asked."""
        return self.measured_s > WORTH * self.begun_s

    @property
    def asked(self) -> Process:
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


def open_lane(lane: Lane, frames: str, *, timeout_s: float) -> None:
    """Start a row's process and load the row in it.

    Args:
        lane: Without a process.
        frames: File with the batches to time.
        timeout_s: Limit for loading.

    Raises:
        RowError: It cannot run here, or broke.
    """
    start = time.monotonic()
    lane.process = WorkerProcess()
    lane.processes += 1
    opened = lane.process.ask(
        "open", recipe=json_from_record(lane.recipe), frames=frames, timeout_s=timeout_s
    )
    lane.description, lane.file_mb = opened["description"], opened["file_mb"]
    lane.startup = Startup(load_ms=opened["load_ms"])
    lane.begun_s, lane.measured_s = time.monotonic() - start, 0.0


def warm_up(lane: Lane, *, batches: int, boxes: int | None, calls: int, timeout_s: float) -> None:
    """Make the first calls until they grow no faster, choose thresholds and see how much memory it takes.

    PyTorch's calls of a whole Mask R-CNN grow faster for a dozen of them.

    Args:
        lane: Opened.
        batches: How many there are; each is called once at least.
        boxes: Detections of an image, in the mean of a batch, that the thresholds shall leave; None to leave
            them as they are.
        calls: Further calls of the first batch, at least.
        timeout_s: Limit for one call; the first may compile.

    Raises:
        RowError: It broke.
    """
    start = time.monotonic()
    process, startup = lane.asked, lane.startup
    first = process.ask("call", batch=0, threshold=lane.thresholds[0], calls=1, timeout_s=timeout_s)
    if boxes is not None:
        found = [process.ask("scores", batch=batch, timeout_s=timeout_s) for batch in range(batches)]
        lane.thresholds = [threshold_over(one["scores"], boxes * one["images"]) for one in found]
    warm: list[float] = []
    planned = [*range(batches), *[0] * calls]
    while len(warm) < len(planned) or not (is_warm(warm) or len(warm) >= MOST_WARM_CALLS):
        batch = planned[len(warm)] if len(warm) < len(planned) else 0
        told = process.ask(
            "call", batch=batch, threshold=lane.thresholds[batch], calls=1, timeout_s=timeout_s
        )
        warm += told["times_ms"]
    lane.warm_ms = statistics.median(warm[-WARM_CALLS:])
    memory = process.ask("memory")
    load_ms = startup.load_ms if startup else 0.0
    lane.startup = Startup(load_ms=load_ms, first_ms=first["times_ms"][0], **memory)
    lane.begun_s += time.monotonic() - start


def renew(lane: Lane, frames: str, *, timeout_s: float) -> None:
    """Put another process in the place of one that is spent, with the same thresholds.

    Raises:
        RowError: It broke.
    """
    startup = lane.startup
    lane.close()
    open_lane(lane, frames, timeout_s=timeout_s)
    warm_up(lane, batches=1, boxes=None, calls=0, timeout_s=timeout_s)
    lane.startup = startup


def is_warm(times_ms: Sequence[float]) -> bool:
    """Whether the last calls are no faster than those before them."""
    before, last = times_ms[-2 * WARM_CALLS : -WARM_CALLS], times_ms[-WARM_CALLS:]
    enough = len(before) == WARM_CALLS
    return enough and statistics.median(last) >= (1 - WARM_GAIN) * statistics.median(before)


def take_turn(lane: Lane, turn: int, batch: int, *, batch_size: int, meter: Meter | None) -> None:
    """Time a few calls with one batch.

    A row that is called more than once has a call first that does not count: another row has just had the
    caches to itself. A camera calls its model again and again.

    Raises:
        RowError: It broke.
    """
    start = time.monotonic()
    calls = calls_in_turn(lane.warm_ms)
    before_j = meter.joules() if meter else None
    threshold = lane.thresholds[batch]
    told = lane.asked.ask("call", batch=batch, threshold=threshold, calls=calls + (calls > 1))
    after_j = meter.joules() if meter else None
    if before_j is not None and after_j is not None:
        lane.energy_j.append((after_j - before_j) / (calls + (calls > 1)) / batch_size)
    times_ms = told["times_ms"][-calls:]
    lane.samples_ms += times_ms
    lane.turns[turn] = Turn(statistics.median(times_ms), lane.processes)
    lane.stages_ms += told["stages_ms"][-calls:]
    lane.found.append(told["found"] / batch_size)
    lane.measured_s += time.monotonic() - start


def crowd(lane: Lane, callers: int) -> None:
    """Measure throughput with several callers.

    Raises:
        RowError: It broke.
    """
    threshold = statistics.fmean(lane.thresholds)
    told = lane.asked.ask("crowd", callers=callers, threshold=threshold, duration_s=CROWD_S)
    lane.images_per_s_crowded = told["images_per_s"]


def calls_in_turn(warm_ms: float) -> int:
    """How often to call a row in its turn."""
    return min(max(math.floor(1e3 * BURST_S / warm_ms), 1), MOST_CALLS)


def threshold_over(scores: Sequence[float], boxes: int) -> float:
    """Find a threshold with `boxes` of the descending `scores` over it, or all that there are."""
    if boxes >= len(scores):
        return scores[-1] * 0.999 if scores else ABOVE_ALL
    return (scores[boxes - 1] + scores[boxes]) / 2
