"""Search PyTorch's speed options for the fastest variant that works."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .row_run import RowRun, start_row, warm_up
from .worker.process import RowError
from .worker.requests import TimeCalls

if TYPE_CHECKING:
    from .runners.spec import RunnerSpec

# Two variants are called in turn, so often at least; then until one is clearly faster, at most so long.
MIN_CALLS = 12
COMPARISON_S = 60.0
# Standard errors of the difference.
CLEAR_STANDARD_ERRORS = 3
FLOAT_PRECISIONS = ("fp32", "bf16")
OPTIONS = ("channels_last", "bfloat16 autocast", "torch.compile")


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantSearch:
    """How variants are tried.

    Attributes:
        frames: File with the batches to time.
        batches: How many.
        boxes: As `BenchmarkConfig.boxes`.
        thresholds: Of each batch, to begin with.
        timeout_s: Limit for loading, and for a call.
        compile: Try `torch.compile`.
        progress: Called with a line before each.
    """

    frames: str
    batches: int
    boxes: int | None
    thresholds: list[float]
    timeout_s: float
    compile: bool
    progress: Callable[[str], None]


def open_best_variant(row_run: RowRun, search: VariantSearch) -> None:
    """Load the fastest variant; the notes of the row name every one that was tried.

    Args:
        row_run: The row, without a process; becomes the variant that won.
        search: On what and for how long.

    Raises:
        RowError: None of them works; the last one's reason.
    """
    winner: RowRun | None = None
    tried: list[RowRun] = []
    try:
        for number in range(len(FLOAT_PRECISIONS) + search.compile):
            variant = _load_variant(row_run, _next_variant(row_run.runner_spec, number, winner), search)
            tried.append(variant)
            if winner is not None and variant.alive:
                _compare((winner, variant), search)
            alive = [one for one in (winner, variant) if one is not None and one.alive]
            winner = min(alive, key=lambda one: one.warm_ms, default=None)
            for one in alive:
                if one is not winner:
                    one.close()
    except BaseException:
        for variant in tried:
            variant.close()
        raise
    notes = [_note(variant) for variant in tried]
    if winner is None:
        raise RowError("; ".join(notes))
    if not search.compile:
        notes.append("torch.compile was not tried, as asked")
    row_run.row = replace(row_run.row, precision=winner.runner_spec.precision)
    row_run.runner_spec, row_run.process, row_run.thresholds = (
        winner.runner_spec,
        winner.process,
        winner.thresholds,
    )
    row_run.description, row_run.file_mb = winner.description, winner.file_mb
    row_run.startup, row_run.warm_ms = winner.startup, winner.warm_ms
    row_run.processes, row_run.startup_s = winner.processes, winner.startup_s
    row_run.notes += notes


def _next_variant(runner_spec: RunnerSpec, number: int, winner: RowRun | None) -> RunnerSpec:
    """Channels last; in bfloat16 too; and whichever of these is faster, compiled."""
    if number < len(FLOAT_PRECISIONS):
        return replace(runner_spec, channels_last=True, precision=FLOAT_PRECISIONS[number])
    return replace(runner_spec if winner is None else winner.runner_spec, channels_last=True, compiled=True)


def _load_variant(row_run: RowRun, runner_spec: RunnerSpec, search: VariantSearch) -> RowRun:
    """Load one and call it; it is not alive if it does not work."""
    search.progress(f"{row_run.row.label}: trying {_variant_name(runner_spec)}")
    variant = RowRun(row=row_run.row, runner_spec=runner_spec, thresholds=[*search.thresholds])
    try:
        start_row(variant, search.frames, timeout_s=search.timeout_s)
        warm_up(variant, batches=search.batches, boxes=search.boxes, calls=0, timeout_s=search.timeout_s)
    except RowError as exc:
        variant.fail(exc)
    except BaseException:
        variant.close()
        raise
    return variant


def _compare(variants: tuple[RowRun, RowRun], search: VariantSearch) -> None:
    """Time two in turn, so that a machine that drifts does not decide; sets their `warm_ms`.

    One that breaks has lost, and is not alive.
    """
    times_ms: tuple[list[float], list[float]] = ([], [])
    start_s = time.perf_counter()
    while len(times_ms[0]) < MIN_CALLS or (
        time.perf_counter() - start_s < COMPARISON_S and not _differ_clearly(*times_ms)
    ):
        for variant, times in zip(variants, times_ms, strict=True):
            try:
                request = TimeCalls(batch=0, threshold=variant.thresholds[0], calls=1)
                measured = variant.live_process.ask(request, timeout_s=search.timeout_s)
            except RowError as exc:
                variant.fail(exc)
                return
            times += measured.times_ms
    for variant, times in zip(variants, times_ms, strict=True):
        variant.warm_ms = statistics.median(times)


def _differ_clearly(first_ms: list[float], second_ms: list[float]) -> bool:
    """Whether two variants that were called in turn differ by more than chance."""
    ratios = [math.log(first / second) for first, second in zip(first_ms, second_ms, strict=True)]
    return abs(statistics.fmean(ratios)) > CLEAR_STANDARD_ERRORS * statistics.stdev(ratios) / math.sqrt(
        len(ratios)
    )


def _note(variant: RowRun) -> str:
    name = _variant_name(variant.runner_spec)
    if variant.failure:
        return f"{name} does not work here: {variant.failure}"
    first = variant.startup.first_ms if variant.startup else None
    took = f", the first call {first / 1e3:.1f} s" if variant.runner_spec.compiled and first else ""
    return f"{name}: {variant.warm_ms:.0f} ms{took}"


def _variant_name(runner_spec: RunnerSpec) -> str:
    used = (runner_spec.channels_last, runner_spec.precision == "bf16", runner_spec.compiled)
    return " + ".join(option for option, on in zip(OPTIONS, used, strict=True) if on)
