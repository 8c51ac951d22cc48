"""How far a calibration is and how long it will take."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Tells the progress, batch by batch and pass by pass.

    Args:
        images: How many there are.
        batch: How many of them at once.
        passes: How often the graph is run on each.
        done: Batches of all passes that an earlier run did.
        progress: Called with a line at every batch.
    """

    def __init__(
        self, *, images: int, batch: int, passes: int, done: int, progress: Callable[[str], None]
    ) -> None:
        self._images, self._batch, self._passes = images, batch, passes
        self._batches = math.ceil(images / batch)
        self._first = self._done = done
        self._began = time.monotonic()
        self._progress = progress

    def step(self) -> None:
        """Count one batch more as done."""
        self._done += 1

    def tell(self) -> None:
        """Say which image comes next."""
        number, index = divmod(self._done, self._batches)
        line = f"calibrating: image {index * self._batch + 1} of {self._images}"
        if self._passes > 1:
            line += f", pass {number + 1} of {self._passes}"
        if self._done > self._first:
            each = (time.monotonic() - self._began) / (self._done - self._first)
            line += f", {duration(each * (self._batches * self._passes - self._done))} left"
        self._progress(line)


def duration(seconds: float) -> str:
    """Write a time for people: `1 min 40 s`."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
