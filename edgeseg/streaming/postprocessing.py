"""From what the network found to what is shown: the threshold, tracking, and what must be hidden."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .rendering.redaction import REDACT_SCORE
from .rendering.redaction_hold import RedactionHold
from .tracking import LOWEST_SCORE, SceneTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .results import FrameResult
    from .tracking import TrackConfig


class PostProcessor:
    """Makes a frame's result of what the network found in it; sees the frames of each source in order.

    Args:
        rates_fps: Of the sources, by `Frame.source`; None where it is not known.
        track: How objects are followed; None leaves them without numbers.
        hidden_labels: Classes to be made unrecognisable in pictures.
        note: Called with a sentence for each line and zone that counts nothing; see `SceneTracker`.

    Raises:
        DependencyError: A package that tracking needs is missing.
    """

    def __init__(
        self,
        rates_fps: Sequence[float | None] = (),
        *,
        track: TrackConfig | None = None,
        hidden_labels: Sequence[int] = (),
        note: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._trackers = (
            [] if track is None else [SceneTracker(track, fps=fps, note=note) for fps in rates_fps]
        )
        self._hidden_labels = list(hidden_labels)
        self._holds: defaultdict[int, RedactionHold] = defaultdict(RedactionHold)

    def lowest_score(self, score_threshold: float) -> float:
        """Say down to which score it needs detections, to show those above a threshold."""
        lowest = [score_threshold]
        if self._trackers:
            lowest.append(LOWEST_SCORE)
        if self._hidden_labels:
            lowest.append(REDACT_SCORE)
        return min(lowest)

    def __call__(self, result: FrameResult, score_threshold: float) -> FrameResult:
        """Turn a result with all detections down to the lowest score into the one that is shown.

        Args:
            result: As the network gave it.
            score_threshold: Only instances above it are shown.
        """
        found = result.detections
        if self._hidden_labels:
            # Whatever scores enough for the one or the other: a low threshold must not show more.
            to_hide = found[np.isin(found.labels, self._hidden_labels)]
            hold = self._holds[result.frame.source]
            result = replace(result, hidden=hold.update(result.frame, to_hide))
        if self._trackers:
            tracker = self._trackers[result.frame.source]
            shown, scene = tracker.update(result.frame, found, score_threshold)
            return replace(result, detections=shown, scene=scene)
        # Compared as the graph compares, or a score that is equal could pass one and not the other.
        return replace(result, detections=found[found.scores > np.float32(score_threshold)])
