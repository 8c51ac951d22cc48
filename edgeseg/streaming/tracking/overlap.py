"""One object, one detection: what lies on pixels that better detections hold is the same object again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.vision.masks import MaskCrop

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeseg.vision.detections import Detections

MAX_SHARED = 0.6
"""A mask of which better ones hold more than this share is no object of its own. On the conveyor 0.5 to 0.7
count alike, 0.8 lets twins through."""

MAX_AREA_RATIO = 2.0
"""A mask of another class holds no pixels of one this many times smaller: a tie is not its wearer."""


def remove_duplicates(detections: Detections, score_threshold: float) -> Detections:
    """Leave out detections of objects that better ones have already.

    Non-maximum suppression goes by boxes and class by class: it lets through one part found as a nut and as
    a washer, and one mask over two parts. Followed over time each would count as an object.

    Args:
        detections: The best first.
        score_threshold: Only what scores above it holds its pixels.
    """
    accepted: list[_Instance] = []
    kept: list[int] = []
    for row in np.argsort(-detections.scores, kind="stable").tolist():
        one = _instance(detections, row)
        shared = shared_pixels(one.mask, [other.mask for other in accepted if one.may_belong_to(other)])
        if shared > MAX_SHARED * one.area:
            continue
        kept.append(row)
        if detections.scores[row] > score_threshold:
            accepted.append(one)
    return detections if len(kept) == len(detections) else detections[sorted(kept)]


@dataclass(frozen=True, slots=True)
class _Instance:
    """One detection in plain numbers: comparing hundreds of pairs through arrays takes milliseconds."""

    label: int
    mask: MaskCrop
    area: int
    left: float
    top: float
    right: float
    bottom: float

    def may_belong_to(self, other: _Instance) -> bool:
        apart_x = other.left >= self.right or self.left >= other.right
        apart_y = other.top >= self.bottom or self.top >= other.bottom
        if apart_x or apart_y:
            return False
        return self.label == other.label or other.area <= MAX_AREA_RATIO * self.area


def _instance(detections: Detections, row: int) -> _Instance:
    mask = detections.masks[row]
    area = int(np.count_nonzero(mask.pixels))
    return _Instance(int(detections.labels[row]), mask, area, *detections.boxes_xyxy[row].tolist())


def shared_pixels(mask: MaskCrop, others: list[MaskCrop]) -> int:
    """Count the pixels of a mask that any of the rivals has too."""
    if not others:
        return 0
    taken: NDArray[np.uint8] = np.zeros_like(mask.pixels)
    height, width = mask.pixels.shape
    for other_mask in others:
        rival_height, rival_width = other_mask.pixels.shape
        top, bottom = max(mask.top, other_mask.top), min(mask.top + height, other_mask.top + rival_height)
        left, right = max(mask.left, other_mask.left), min(mask.left + width, other_mask.left + rival_width)
        if top < bottom and left < right:
            taken[top - mask.top : bottom - mask.top, left - mask.left : right - mask.left] |= (
                other_mask.pixels[
                    top - other_mask.top : bottom - other_mask.top,
                    left - other_mask.left : right - other_mask.left,
                ]
            )
    return int(np.count_nonzero(taken & mask.pixels))


def mask_iou(one: MaskCrop, other: MaskCrop) -> float:
    """Overlap of two masks: shared pixels over all that either has, 0 for two without pixels."""
    shared = shared_pixels(one, [other])
    either = int(np.count_nonzero(one.pixels)) + int(np.count_nonzero(other.pixels)) - shared
    return shared / either if either else 0.0
