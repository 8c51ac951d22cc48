"""How far a calibration is and how long it will take."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class ProgressClock:
    """Tells the progress, step by step.

    Args:
        steps: What each step does.
        done: Steps that an earlier run did.
        progress: Called with a line at every step.
    """

    def __init__(self, steps: Sequence[str], *, done: int, progress: Callable[[str], None]) -> None:
        self._steps = steps
        self._first = self._done = done
        self._began = time.monotonic()
        self._progress = progress

    def step(self) -> None:
        """Count one step more as done."""
        self._done += 1

    def report(self) -> None:
        """Say what comes next."""
        line = self._steps[self._done]
        if self._done > self._first:
            seconds_per_step = (time.monotonic() - self._began) / (self._done - self._first)
            line += f", {format_duration(seconds_per_step * (len(self._steps) - self._done))} left"
        self._progress(line)


def format_duration(seconds: float) -> str:
    """Write a time for people: `1 min 40 s`."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
