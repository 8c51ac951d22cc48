"""One object, one detection: what lies on pixels that better detections hold is the same object again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..detections import Detections
    from ..masks import MaskCrop

HELD = 0.6
"""A mask of which better ones hold more than this share is no object of its own. On the conveyor 0.5 to 0.7
count alike, 0.8 lets twins through."""

LARGER = 2.0
"""A mask of another class holds no pixels of one this many times smaller: a tie is not its wearer."""


def distinct(detections: Detections, score_threshold: float) -> Detections:
    """Leave out detections of objects that better ones have already.

    Non-maximum suppression goes by boxes and class by class: it lets through one part found as a nut and as
    a washer, and one mask over two parts. Followed over time each would count as an object.

    Args:
        detections: The best first.
        score_threshold: Only what scores above it holds its pixels.
    """
    holders: list[int] = []
    kept: list[int] = []
    areas = [int(np.count_nonzero(mask.pixels)) for mask in detections.masks]
    for row in np.argsort(-detections.scores, kind="stable").tolist():
        rivals = [other for other in holders if _comparable(detections, areas, row, other)]
        held = held_pixels(detections.masks[row], [detections.masks[other] for other in rivals])
        if held > HELD * areas[row]:
            continue
        kept.append(row)
        if detections.scores[row] > score_threshold:
            holders.append(row)
    return detections if len(kept) == len(detections) else detections[sorted(kept)]


def _comparable(detections: Detections, areas: list[int], row: int, other: int) -> bool:
    x1, y1, x2, y2 = detections.boxes_xyxy[row]
    left, top, right, bottom = detections.boxes_xyxy[other]
    if left >= x2 or x1 >= right or top >= y2 or y1 >= bottom:
        return False
    return bool(detections.labels[row] == detections.labels[other]) or areas[other] <= LARGER * areas[row]


def held_pixels(mask: MaskCrop, rivals: list[MaskCrop]) -> int:
    """Count the pixels of a mask that any of the rivals has too."""
    if not rivals:
        return 0
    taken: NDArray[np.uint8] = np.zeros_like(mask.pixels)
    height, width = mask.pixels.shape
    for rival in rivals:
        rival_height, rival_width = rival.pixels.shape
        top, bottom = max(mask.top, rival.top), min(mask.top + height, rival.top + rival_height)
        left, right = max(mask.left, rival.left), min(mask.left + width, rival.left + rival_width)
        if top < bottom and left < right:
            taken[top - mask.top : bottom - mask.top, left - mask.left : right - mask.left] |= rival.pixels[
                top - rival.top : bottom - rival.top, left - rival.left : right - rival.left
            ]
    return int(np.count_nonzero(taken & mask.pixels))


def mask_iou(one: MaskCrop, other: MaskCrop) -> float:
    """Overlap of two masks: shared pixels over all that either has, 0 for two without pixels."""
    shared = held_pixels(one, [other])
    either = int(np.count_nonzero(one.pixels)) + int(np.count_nonzero(other.pixels)) - shared
    return shared / either if either else 0.0
