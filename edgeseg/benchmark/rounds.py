"""Turn by turn through all rows, so that a machine that drifts hurts all alike."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

from .report_rows import margins
from .row_run import take_turn
from .worker.process import RowError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .row_run import Lane
    from .statistics.energy import Meter
    from .statistics.noise import Watch

# Threads that wait for more work by spinning have gone to sleep by then.
PAUSE_S = 0.03


class Plan(NamedTuple):
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


class Taken(NamedTuple):
    """What became of it.

    Attributes:
        interrupted: Stopped by Ctrl-C.
    """

    turns: int
    duration_s: float
    interrupted: bool


def take_turns(
    lanes: Sequence[Lane],
    plan: Plan,
    *,
    watch: Watch,
    renew: Callable[[Lane], None] = lambda lane: None,
    meter: Meter | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Taken:
    """Give every row that is alive its calls in each turn, each turn with the next batch.

    Each turn begins with another row, so that none is always measured behind the same one. A row that breaks
    drops out with what it has; the others go on.

    Args:
        lanes: Rows, warm.
        plan: How long.
        watch: Looks at the machine once a turn.
        renew: Gives a row whose process is spent another one.
        meter: Of energy; None where the machine tells nothing.
        progress: Called with a line before each turn.
    """
    start = time.monotonic()
    turn = 0
    try:
        while any(lane.alive for lane in lanes):
            if _enough(lanes, plan, turn, time.monotonic() - start):
                break
            progress(f"turn {turn + 1} of {max(plan.turns, turn + 1)}")
            for lane in lanes:
                _renew(lane, renew)
            _turn(lanes, turn, plan, meter, watch)
            turn += 1
    except KeyboardInterrupt:
        return Taken(turn, time.monotonic() - start, interrupted=True)
    return Taken(turn, time.monotonic() - start, interrupted=False)


def _enough(lanes: Sequence[Lane], plan: Plan, turns: int, elapsed_s: float) -> bool:
    if turns < plan.turns or elapsed_s < plan.duration_s:
        return False
    return elapsed_s >= plan.most_s or all(margin <= plan.margin for margin in margins(lanes).values())


def _renew(lane: Lane, renew: Callable[[Lane], None]) -> None:
    if not lane.alive or not lane.spent:
        return
    try:
        renew(lane)
    except RowError as exc:
        lane.fail(exc)


def _turn(lanes: Sequence[Lane], turn: int, plan: Plan, meter: Meter | None, watch: Watch) -> None:
    first = turn % len(lanes)
    for lane in (*lanes[first:], *lanes[:first]):
        if not lane.alive:
            continue
        time.sleep(PAUSE_S)
        try:
            take_turn(lane, turn, turn % plan.batches, batch_size=plan.batch_size, meter=meter)
        except RowError as exc:
            lane.fail(exc)
    watch.probe()
