"""Times of frames that always go forward, whatever the file says."""

from __future__ import annotations

import math
from collections import deque
from statistics import median_low

FALLBACK_FPS = 25.0
# Containers without a rate make FFmpeg give the ticks of their clock: 1000 or 90000 a second.
MAX_FPS = 960.0
REMEMBERED_GAPS = 9
# A time that goes back by more frames begins a new count, as where two recordings were joined.
RESTART_FRAMES = 3
MIN_GAP_S = 0.001


def plausible_rate(fps: float) -> float | None:
    """Frames a second as a file states them, or None where that is no rate."""
    return fps if math.isfinite(fps) and 0 < fps < MAX_FPS else None


class FrameTimes:
    """Makes a rising time of each frame's own.

    Args:
        fps: Rate of the file, for frames that have no time; None for 25.
    """

    def __init__(self, fps: float | None) -> None:
        self._default_step_s = 1 / (fps or FALLBACK_FPS)
        self._gaps_s: deque[float] = deque(maxlen=REMEMBERED_GAPS)
        self._now_s = -math.inf
        self._last_s = math.nan
        self._shift_s = 0.0

    def advance(self, stated_s: float) -> float:
        """Go to the next frame.

        Args:
            stated_s: Its time in the file; what is no number counts as the one before.

        Returns:
            Seconds since the file's beginning.
        """
        if not math.isfinite(self._now_s):
            self._now_s = max(0.0, stated_s) if math.isfinite(stated_s) else 0.0
            self._last_s = self._now_s
            return self._now_s
        step_s = median_low(self._gaps_s) if self._gaps_s else self._default_step_s
        if not math.isfinite(stated_s):
            self._now_s += step_s
            return self._now_s
        gap_s, self._last_s = stated_s - self._last_s, stated_s
        if gap_s > 0:
            self._gaps_s.append(gap_s)
            step_s = MIN_GAP_S
        elif gap_s < -RESTART_FRAMES * step_s:
            self._shift_s = self._now_s + step_s - stated_s
        elif self._gaps_s:
            # A frame that repeats a time comes between its neighbours; where all do, there are no times.
            step_s = min(self._gaps_s) / 2
        self._now_s = max(self._now_s + step_s, stated_s + self._shift_s)
        return self._now_s
