"""The time of frames as tracking needs it: always going forward."""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeseg.vision.frames import Frame

DEFAULT_FPS = 30.0
REMEMBERED_STEPS = 9


class FrameClock:
    """Seconds since the first frame, by the frames' own times where they have any.

    A time that is missing, repeated or earlier than the last (a camera that was opened again, a clip from
    its beginning) counts as the next frame at the usual rate.

    Args:
        fps: Usual frames per second of the source; None or nonsense for 30.
    """

    def __init__(self, fps: float | None) -> None:
        self.fps = fps if fps and math.isfinite(fps) and fps > 0 else DEFAULT_FPS
        self.now_s = 0.0
        self._last_s: float | None = None
        self._steps: deque[float] = deque(maxlen=REMEMBERED_STEPS)

    @property
    def interval_s(self) -> float:
        """Between frames lately: a median, so that one pause does not count."""
        return median(self._steps) if self._steps else 1 / self.fps

    def advance(self, frame: Frame) -> float:
        """Go to the time of the next frame and give it."""
        time_s = frame.time_s if frame.captured_s is None else frame.captured_s
        if time_s is not None and not math.isfinite(time_s):
            time_s = None
        step = time_s - self._last_s if time_s is not None and self._last_s is not None else 0.0
        if step <= 0:
            step = 1 / self.fps
        self._last_s = time_s
        self._steps.append(step)
        self.now_s += step
        return self.now_s
