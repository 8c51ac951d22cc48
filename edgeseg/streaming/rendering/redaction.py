"""Making instances of chosen classes unrecognisable in pictures."""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgeseg.dataset.categories import UNUSED_NAME
from edgeseg.errors import ConfigError
from edgeseg.vision.drawing import check_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgeseg.vision.detections import Detections
    from edgeseg.vision.masks import MaskCrop

# Whatever scores so much is redacted, whatever is shown: what is hidden must not depend on a slider.
REDACT_SCORE = 0.2
# Cells along the longer side of an instance. Faces of 8 x 8 cells and more have been recognised by networks
# (McPherson, Shokri and Shmatikov 2016, "Defeating image obfuscation with deep learning").
CELLS = 4
MIN_CELL_PX = 4
# The network gives masks of 28 x 28: an edge may be out by one of these.
GROWTH_PER_SIDE = 1 / 28
MIN_GROWTH_PX = 3
# A mask that fills less of its box has failed.
MIN_FILLED = 0.1
FILL_LEVEL = 128


class Redaction(str, Enum):
    """How instances are made unrecognisable."""

    BLUR = "blur"
    PIXELATE = "pixelate"
    FILL = "fill"


def redact(
    frame: NDArray[np.uint8], detections: Detections, mode: Redaction = Redaction.BLUR
) -> NDArray[np.uint8]:
    """Make all instances unrecognisable in a copy of a frame.

    Masks are grown by a 28th of the instance's longer side, at least 3 pixels, and their holes are filled.
    Where a mask is empty or fills less than a tenth of its box, the whole box is made unrecognisable. `BLUR`
    and `PIXELATE` keep the mean colours of at most 4 x 4 cells an instance, `FILL` keeps nothing.

    Args:
        frame: `uint8[H, W, 3]`, BGR; stays as it is.
        detections: What to redact, in pixels of this frame.
        mode: How.

    Returns:
        `uint8[H, W, 3]`, BGR.

    Raises:
        InputError: The frame is of another size than the detections, or of another type.
    """
    check_frame(detections, frame)
    redacted = frame.copy(order="C")
    for mask, box in zip(detections.masks, detections.boxes_xyxy.tolist(), strict=True):
        covered, left, top = _grown(mask, box, detections.frame_size_hw)
        if not covered.size:
            continue
        height, width = covered.shape
        part = redacted[top : top + height, left : left + width]
        cv2.copyTo(_unrecognisable(part, mode), covered, part)
    return redacted


def labels_from_names(names: Sequence[str], class_names: Sequence[str]) -> list[int]:
    """Find the labels of classes by their names, whatever their case.

    Args:
        names: Of classes.
        class_names: Index is the label; 0 is the background.

    Raises:
        ConfigError: A name is none of the classes.
    """
    known = {label: name for label, name in enumerate(class_names) if label and name != UNUSED_NAME}
    labels: set[int] = set()
    for name in names:
        found = {label for label, other in known.items() if _normalized_name(other) == _normalized_name(name)}
        if not found:
            listed = ", ".join(map(repr, known.values()))
            msg = f"{name!r} is no class of this model; give one of: {listed}"
            raise ConfigError(msg)
        labels |= found
    return sorted(labels)


def _normalized_name(name: str) -> str:
    return name.strip().casefold()


def _grown(mask: MaskCrop, box: list[float], size_hw: tuple[int, int]) -> tuple[NDArray[np.uint8], int, int]:
    """What of the frame an instance may touch: `uint8[h, w]` of 0 and 1, and its left and top."""
    pixels, left, top = _trusted(mask, box, size_hw)
    height, width = pixels.shape
    growth_px = max(MIN_GROWTH_PX, math.ceil(max(height, width) * GROWTH_PER_SIDE))
    bottom, right = min(top + height + growth_px, size_hw[0]), min(left + width + growth_px, size_hw[1])
    new_left, new_top = max(left - growth_px, 0), max(top - growth_px, 0)
    if not pixels.size:
        return pixels, left, top
    covered = np.zeros((bottom - new_top, right - new_left), np.uint8)
    # Without its holes: what shows through an arm akimbo shows something of the arm.
    outlines = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    cv2.fillPoly(covered, outlines, 1, offset=(left - new_left, top - new_top))
    # A square, for it takes the same time whatever its size.
    grown = cv2.dilate(covered, np.ones((2 * growth_px + 1, 2 * growth_px + 1), np.uint8))
    return np.asarray(grown, np.uint8), new_left, new_top


def _trusted(
    mask: MaskCrop, box: list[float], size_hw: tuple[int, int]
) -> tuple[NDArray[np.uint8], int, int]:
    """The mask, or all of the box where the mask is empty or nearly so."""
    left, top = (max(math.floor(value), 0) for value in box[:2])
    right, bottom = min(math.ceil(box[2]), size_hw[1]), min(math.ceil(box[3]), size_hw[0])
    area = max(right - left, 0) * max(bottom - top, 0)
    filled = int(np.count_nonzero(mask.pixels))
    if filled >= MIN_FILLED * area:
        return mask.pixels, mask.left, mask.top
    return np.ones((max(bottom - top, 0), max(right - left, 0)), np.uint8), left, top


def _unrecognisable(part: NDArray[np.uint8], mode: Redaction) -> NDArray[np.uint8]:
    height, width = part.shape[:2]
    if mode is Redaction.FILL:
        return np.full_like(part, FILL_LEVEL)
    cell = max(max(height, width) / CELLS, MIN_CELL_PX)
    # A blur alone could be undone in part; the mean of a cell cannot.
    cells = cv2.resize(
        part, (math.ceil(width / cell), math.ceil(height / cell)), interpolation=cv2.INTER_AREA
    )
    smooth = cv2.INTER_LINEAR if mode is Redaction.BLUR else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(cells, (width, height), interpolation=smooth), np.uint8)
