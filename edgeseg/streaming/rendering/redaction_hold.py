"""What is to be hidden stays hidden for a moment when it is not found, for detectors blink."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeseg.vision.boxes import pairwise_iou
from edgeseg.vision.detections import Detections

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeseg.vision.frames import Frame

# Half a second is more frames than a detector misses in a row, and less than a place takes to look wrong.
HOLD_S = 0.5
# What overlaps so much with something that is found is that.
SAME_IOU = 0.3


class RedactionHold:
    """Keeps what was hidden in the frames of one source hidden for a moment longer."""

    def __init__(self) -> None:
        self._held: Detections | None = None
        self._seen_s: NDArray[np.float64] = np.zeros(0)

    def update(self, frame: Frame, found: Detections) -> Detections:
        """Add to what is to be hidden in a frame what was there a moment ago.

        Args:
            frame: Frames of a video or camera follow each other; an image has nothing before it.
            found: To be hidden, in pixels of the frame.

        Returns:
            These, and each instance seen in the last half second that none of them overlaps.
        """
        if frame.time_s is None:
            return found
        now_s = np.full(len(found), frame.time_s)
        held = self._held
        if held is None or held.frame_size_hw != found.frame_size_hw:
            self._held, self._seen_s = found, now_s
            return found
        recent = np.abs(frame.time_s - self._seen_s) <= HOLD_S
        missed = recent & (pairwise_iou(held.boxes_xyxy, found.boxes_xyxy).max(1, initial=0) < SAME_IOU)
        self._held = concatenate_detections(found, held[missed])
        self._seen_s = np.concatenate((now_s, self._seen_s[missed]))
        return self._held


def concatenate_detections(first: Detections, second: Detections) -> Detections:
    """Put detections of one frame behind each other; track ids are left out."""
    return Detections(
        boxes_xyxy=np.concatenate((first.boxes_xyxy, second.boxes_xyxy)),
        scores=np.concatenate((first.scores, second.scores)),
        labels=np.concatenate((first.labels, second.labels)),
        masks=(*first.masks, *second.masks),
        frame_size_hw=first.frame_size_hw,
        class_names=first.class_names,
    )
