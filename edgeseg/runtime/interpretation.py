"""From what the network found to what is shown: the threshold, tracking, and what must be hidden."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .results import FrameResult


class Interpretation:
    """Keeps what scores above the threshold, and knows nothing else."""

    def lowest_score(self, score_threshold: float) -> float:
        """See `Interpreter.lowest_score`."""
        return score_threshold

    def __call__(self, result: FrameResult, score_threshold: float) -> FrameResult:
        """See `Interpreter.__call__`."""
        detections = result.detections
        # Compared as the graph compares, or a score that is equal could pass one and not the other.
        return replace(result, detections=detections[detections.scores > np.float32(score_threshold)])
