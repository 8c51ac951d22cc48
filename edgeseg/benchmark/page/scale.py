"""Axes: from a quantity to a place across the drawing, in percent of its width."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# An axis of 300 px, as on a phone, has room for so many numbers.
MOST_TICKS = 7
FEWEST_TICKS = 3
# Steps that people count in, and what divides a power of ten in steps that look even on a logarithmic axis.
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
DECADE_PARTS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))
# A logarithm needs something above nothing; no call takes less than a microsecond.
LEAST = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisScale:
    """One axis.

    Attributes:
        low: Quantity at 0 %.
        high: Quantity at 100 %.
        logarithmic: Equal ratios are equally far apart.
        ticks: Round quantities between the two.
    """

    low: float
    high: float
    logarithmic: bool
    ticks: tuple[float, ...]

    def percent(self, value: float) -> float:
        """Say how far from the lower end a quantity lies, 0 to 100; what is outside is put on the edge."""
        low, high, at = self.low, self.high, value
        if self.logarithmic:
            low, high, at = math.log(low), math.log(high), math.log(max(value, LEAST))
        return round(100 * min(max((at - low) / (high - low), 0.0), 1.0), 2)


def log_scale(values: Sequence[float], *, margin: float = 1.15) -> AxisScale:
    """Make a logarithmic axis on which all values lie.

    Args:
        values: At least one; below `LEAST` counts as `LEAST`.
        margin: By which factor it goes on beyond the least and the greatest.
    """
    low, high = max(min(values), LEAST) / margin, max(*values, LEAST) * margin
    # The finest division that there is room for, else even steps.
    for parts in reversed(DECADE_PARTS):
        ticks = [tick for tick in _decade_ticks(low, high, parts) if low <= tick <= high]
        if FEWEST_TICKS <= len(ticks) <= MOST_TICKS:
            return AxisScale(low=low, high=high, logarithmic=True, ticks=tuple(ticks))
    return AxisScale(low=low, high=high, logarithmic=True, ticks=_even_ticks(low, high))


def linear_scale(low: float, high: float) -> AxisScale:
    """Make a linear axis from `low` to `high`, which must be more."""
    return AxisScale(low=low, high=high, logarithmic=False, ticks=_even_ticks(low, high))


def _decade_ticks(low: float, high: float, parts: Sequence[float]) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = [exponent for exponent in range(first, last + 1)]
    return [part * 10.0**power for power in powers for part in parts]


def _even_ticks(low: float, high: float) -> tuple[float, ...]:
    rough = (high - low) / (MOST_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in STEPS if step * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(count * step for count in range(first, last + 1))
