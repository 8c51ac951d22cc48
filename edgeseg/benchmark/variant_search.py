"""PyTorch at its best: what it has for speed is tried, and the fastest that works is measured."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .row_run import Lane, open_lane, warm_up
from .worker.process import RowError

if TYPE_CHECKING:
    from .runners.spec import Recipe

# Two variants are called in turn, so often at least; then until one is clearly faster, at most so long.
LEAST_CALLS = 12
RACE_S = 60.0
# Standard errors of the difference.
CLEAR = 3
FLOATS = ("fp32", "bf16")
OPTIONS = ("channels_last", "bfloat16 autocast", "torch.compile")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tryout:
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


def open_best(lane: Lane, tryout: Tryout) -> None:
    """Load the fastest variant; the notes of the row name every one that was tried.

    Args:
        lane: The row, without a process; becomes the variant that won.
        tryout: On what and for how long.

    Raises:
        RowError: None of them works; the last one's reason.
    """
    winner: Lane | None = None
    tried: list[Lane] = []
    try:
        for number in range(len(FLOATS) + tryout.compile):
            variant = _tried(lane, _variant(lane.recipe, number, winner), tryout)
            tried.append(variant)
            if winner is not None and variant.alive:
                _race((winner, variant), tryout)
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
    if not tryout.compile:
        notes.append("torch.compile was not tried, as asked")
    lane.row = replace(lane.row, precision=winner.recipe.precision)
    lane.recipe, lane.process, lane.thresholds = winner.recipe, winner.process, winner.thresholds
    lane.description, lane.file_mb = winner.description, winner.file_mb
    lane.startup, lane.warm_ms = winner.startup, winner.warm_ms
    lane.processes, lane.begun_s = winner.processes, winner.begun_s
    lane.notes += notes


def _variant(recipe: Recipe, number: int, winner: Lane | None) -> Recipe:
    """Channels last; in bfloat16 too; and whichever of these is faster, compiled."""
    if number < len(FLOATS):
        return replace(recipe, channels_last=True, precision=FLOATS[number])
    return replace(recipe if winner is None else winner.recipe, channels_last=True, compiled=True)


def _tried(lane: Lane, recipe: Recipe, tryout: Tryout) -> Lane:
    """Load one and call it; it is not alive if it does not work."""
    tryout.progress(f"{lane.row.label}: trying {_name(recipe)}")
    variant = Lane(row=lane.row, recipe=recipe, thresholds=[*tryout.thresholds])
    try:
        open_lane(variant, tryout.frames, timeout_s=tryout.timeout_s)
        warm_up(variant, batches=tryout.batches, boxes=tryout.boxes, calls=0, timeout_s=tryout.timeout_s)
    except RowError as exc:
        variant.fail(exc)
    except BaseException:
        variant.close()
        raise
    return variant


def _race(variants: tuple[Lane, Lane], tryout: Tryout) -> None:
    """Time two in turn, so that a machine that drifts does not decide; sets their `warm_ms`.

    One that breaks has lost, and is not alive.
    """
    times_ms: tuple[list[float], list[float]] = ([], [])
    begun_s = time.perf_counter()
    while len(times_ms[0]) < LEAST_CALLS or (
        time.perf_counter() - begun_s < RACE_S and not _is_clear(*times_ms)
    ):
        for variant, times in zip(variants, times_ms, strict=True):
            try:
                told = variant.asked.ask(
                    "call", batch=0, threshold=variant.thresholds[0], calls=1, timeout_s=tryout.timeout_s
                )
            except RowError as exc:
                variant.fail(exc)
                return
            times += told["times_ms"]
    for variant, times in zip(variants, times_ms, strict=True):
        variant.warm_ms = statistics.median(times)


def _is_clear(first_ms: list[float], second_ms: list[float]) -> bool:
    """Whether two variants that were called in turn differ by more than chance."""
    ratios = [math.log(first / second) for first, second in zip(first_ms, second_ms, strict=True)]
    return abs(statistics.fmean(ratios)) > CLEAR * statistics.stdev(ratios) / math.sqrt(len(ratios))


def _note(variant: Lane) -> str:
    name = _name(variant.recipe)
    if variant.failure:
        return f"{name} does not work here: {variant.failure}"
    first = variant.startup.first_ms if variant.startup else None
    took = f", the first call {first / 1e3:.1f} s" if variant.recipe.compiled and first else ""
    return f"{name}: {variant.warm_ms:.0f} ms{took}"


def _name(recipe: Recipe) -> str:
    used = (recipe.channels_last, recipe.precision == "bf16", recipe.compiled)
    return " + ".join(option for option, on in zip(OPTIONS, used, strict=True) if on)
