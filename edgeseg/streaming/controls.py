"""Settings that can be changed during a run."""

from __future__ import annotations

import math
from threading import Event

from edgeseg.errors import ConfigError


class Controls:
    """Thread-safe controls of a run, for a window, a page or a program.

    Args:
        score_threshold: Initial score threshold, 0 to 1.

    Attributes:
        stopping: Set it to end the run after the current frame.

    Raises:
        ConfigError: `score_threshold` is out of range.
    """

    def __init__(self, score_threshold: float = 0.5) -> None:
        self.stopping = Event()
        self.score_threshold = score_threshold

    @property
    def score_threshold(self) -> float:
        """Score that instances must exceed to be shown and written, from the next frame on."""
        return self._score_threshold

    @score_threshold.setter
    def score_threshold(self, value: float) -> None:
        if math.isnan(value) or not 0 <= value <= 1:
            msg = f"score_threshold must be within 0 and 1, got {value}"
            raise ConfigError(msg)
        self._score_threshold = float(value)
