"""What may be changed while a run goes on."""

from __future__ import annotations

import math
from threading import Event

from edgeseg.errors import ConfigError


class Controls:
    """Handles of a run, for a window, a page or a program; every thread may use them.

    Args:
        score_threshold: To begin with.

    Attributes:
        stopping: Set to end the run after the frame in hand.
    """

    def __init__(self, score_threshold: float = 0.5) -> None:
        self.stopping = Event()
        self.score_threshold = score_threshold

    @property
    def score_threshold(self) -> float:
        """Only instances above it are shown and written, from the next frame on."""
        return self._score_threshold

    @score_threshold.setter
    def score_threshold(self, value: float) -> None:
        if math.isnan(value) or not 0 <= value <= 1:
            msg = f"score_threshold must be within 0 and 1, got {value}"
            raise ConfigError(msg)
        self._score_threshold = float(value)
