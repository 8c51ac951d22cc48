"""Measure all rows in interleaved rounds, so that drift of the machine affects all of them alike."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

from .report_rows import ratio_margins
from .row_run import measure_round
from .worker.process import RowError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .row_run import RowRun
    from .statistics.energy import RowEnergyMeter
    from .statistics.noise import NoiseMonitor

# Threads that wait for more work by spinning have gone to sleep by then.
PAUSE_S = 0.03


class RoundPlan(NamedTuple):
    """How long to go on: at least so many turns, at least so long, and until ratios are known.

    Attributes:
        margin: How far the 95 % interval of a ratio may reach from it, as a share of it.
        most_s: No turn begins for the sake of `margin` after so long.
    """

    turns: int
    duration_s: float
    batches: int
    batch_size: int
    margin: float = math.inf
    most_s: float = math.inf


class RoundsResult(NamedTuple):
    """What became of it.

    Attributes:
        interrupted: Stopped by Ctrl-C.
    """

    turns: int
    duration_s: float
    interrupted: bool


def run_rounds(
    row_runs: Sequence[RowRun],
    plan: RoundPlan,
    *,
    noise_monitor: NoiseMonitor,
    restart_process: Callable[[RowRun], None] = lambda row_run: None,
    meter: RowEnergyMeter | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> RoundsResult:
    """Give every row that is alive its calls in each turn, each turn with the next batch.

    Each turn begins with another row, so that none is always measured behind the same one. A row that breaks
    drops out with what it has; the others go on.

    Args:
        row_runs: Rows, warm.
        plan: How long.
        noise_monitor: Looks at the machine once a turn.
        restart_process: Gives a row whose process is spent another one.
        meter: Of energy; None where the machine tells nothing.
        progress: Called with a line before each turn.
    """
    start = time.monotonic()
    round_number = 0
    try:
        while any(row_run.alive for row_run in row_runs):
            if _is_finished(row_runs, plan, round_number, time.monotonic() - start):
                break
            progress(f"turn {round_number + 1} of {max(plan.turns, round_number + 1)}")
            for row_run in row_runs:
                _restart_if_needed(row_run, restart_process)
            _measure_round(row_runs, round_number, plan, meter, noise_monitor)
            round_number += 1
    except KeyboardInterrupt:
        return RoundsResult(round_number, time.monotonic() - start, interrupted=True)
    return RoundsResult(round_number, time.monotonic() - start, interrupted=False)


def _is_finished(row_runs: Sequence[RowRun], plan: RoundPlan, turns: int, elapsed_s: float) -> bool:
    if turns < plan.turns or elapsed_s < plan.duration_s:
        return False
    return elapsed_s >= plan.most_s or all(
        margin <= plan.margin for margin in ratio_margins(row_runs).values()
    )


def _restart_if_needed(row_run: RowRun, restart_process: Callable[[RowRun], None]) -> None:
    if not row_run.alive or not row_run.needs_new_process:
        return
    try:
        restart_process(row_run)
    except RowError as exc:
        row_run.fail(exc)


def _measure_round(
    row_runs: Sequence[RowRun],
    round_number: int,
    plan: RoundPlan,
    meter: RowEnergyMeter | None,
    noise_monitor: NoiseMonitor,
) -> None:
    first = round_number % len(row_runs)
    for row_run in (*row_runs[first:], *row_runs[:first]):
        if not row_run.alive:
            continue
        time.sleep(PAUSE_S)
        try:
            measure_round(
                row_run, round_number, round_number % plan.batches, batch_size=plan.batch_size, meter=meter
            )
        except RowError as exc:
            row_run.fail(exc)
    noise_monitor.probe()
