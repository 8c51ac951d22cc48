"""Power and energy, the one from the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

# Counters move a thousand times a second at most, some ten times.
MIN_SPAN_S = 0.5


class Reading(NamedTuple):
    """Power in watts, and energy in joules since the meter was made; None where it is not known."""

    power_w: float | None = None
    energy_j: float | None = None


class Meter(Protocol):
    """Measures power and energy of a part of the machine."""

    def read(self, now_s: float) -> Reading:
        """Measure; `now_s` is from a clock that does not go back."""


class PowerMeter:
    """Adds up power that is measured now and then; energy is as exact as readings are frequent.

    Args:
        watts: Measures the power.
    """

    def __init__(self, watts: Callable[[], float | None]) -> None:
        self._watts = watts
        self._last: tuple[float, float] | None = None
        self._total_j = 0.0

    def read(self, now_s: float) -> Reading:
        """See `Meter.read`."""
        power_w = self._watts()
        if power_w is not None:
            if self._last is not None:
                last_s, last_w = self._last
                self._total_j += (now_s - last_s) * (power_w + last_w) / 2
            self._last = now_s, power_w
        return Reading(power_w=power_w, energy_j=None if self._last is None else self._total_j)


class EnergyMeter:
    """Reads a counter of energy; power is the mean over the time since readings that are not too near.

    Args:
        joules: Reads the counter.
        range_j: Where it begins again at 0; None for never.
    """

    def __init__(self, joules: Callable[[], float | None], range_j: float | None = None) -> None:
        self._joules, self._range_j = joules, range_j
        self._last_j: float | None = None
        self._total_j = 0.0
        self._power_w: float | None = None
        self._since: tuple[float, float] | None = None

    def read(self, now_s: float) -> Reading:
        """See `Meter.read`."""
        counted_j = self._joules()
        if counted_j is None:
            return Reading(energy_j=None if self._last_j is None else self._total_j)
        if self._last_j is not None:
            step_j = counted_j - self._last_j
            # A counter that was set back to 0 tells nothing of what was before.
            self._total_j += step_j if step_j >= 0 else max(step_j + (self._range_j or 0.0), 0.0)
        self._last_j = counted_j
        since_s, since_j = self._since or (now_s, self._total_j)
        if self._since is None or now_s - since_s >= MIN_SPAN_S:
            if now_s > since_s:
                self._power_w = (self._total_j - since_j) / (now_s - since_s)
            self._since = now_s, self._total_j
        return Reading(power_w=self._power_w, energy_j=self._total_j)
