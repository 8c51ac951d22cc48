"""Quantities as a reader meets them: three digits that count, and a dash where nothing was measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeseg.benchmark.row import Ratio

NOTHING = "\N{EN DASH}"
THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"
TIMES = "\N{MULTIPLICATION SIGN}"
DIGITS = 3


def number(value: float | None) -> str:
    """Write a quantity with three digits, whole from 100 on, in groups from 10 000 on."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if not value:
        return "0"
    # What rounds up to the next power of ten needs a decimal less: 99.97 is 100, not 100.0.
    whole_digits = math.floor(math.log10(abs(float(f"{value:.{DIGITS - 1}e}")))) + 1
    text = f"{value:,.{min(max(DIGITS - whole_digits, 0), 6)}f}"
    return text.replace(",", THIN_SPACE if abs(value) >= 9999.5 else "")


def tick(value: float) -> str:
    """Write a quantity of an axis: no zeros at its end."""
    return f"{value:,.6g}".replace(",", THIN_SPACE if abs(value) >= 10000 else "")


def points(value: float | None) -> str:
    """Write an average precision, 0 to 1, in points of 100."""
    return NOTHING if value is None else f"{100 * value:.2f}"


def percent(value: float | None) -> str:
    """Write a share, 0 to 1, in percent."""
    return NOTHING if value is None else f"{100 * value:.{1 if abs(value) < 0.0995 else 0}f}{THIN_SPACE}%"


def times(ratio: Ratio | None) -> str:
    """Write how many times as fast."""
    return NOTHING if ratio is None else f"{number(ratio.value)}{TIMES}"


def interval(ratio: Ratio | None) -> str:
    """Write both ends of a ratio's confidence interval; nothing of a single turn, which tells of none."""
    return "" if ratio is None or ratio.turns < 2 else f"{number(ratio.low)} to {number(ratio.high)}"


def size(size_hw: tuple[int, int]) -> str:
    """Write height and width as the rest of the package does."""
    return f"{size_hw[0]}x{size_hw[1]}"
