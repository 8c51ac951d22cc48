"""Where short texts stand in a picture, so that none hides another and few hide an object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# How much of all objects together a place may hide, 1 being one object: no matter, and at most.
HIDDEN_EASILY = 0.25
HIDDEN_AT_MOST = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Occupied:
    """What is in the frame before captions are placed, in pixels.

    Attributes:
        objects: `float32[M, 4]`, boxes of objects, which had better not be hidden.
        captions: `float32[K, 4]`, boxes of captions, which must not be hidden.
    """

    objects: NDArray[np.float32]
    captions: NDArray[np.float32]


def caption_places(
    boxes_xyxy: NDArray[np.float32],
    sizes_wh: NDArray[np.float32],
    size_hw: tuple[int, ...],
    occupied: Occupied,
) -> NDArray[np.float32]:
    """Choose a place for each caption: above its box, below, beside or inside it.

    Args:
        boxes_xyxy: `float32[N, 4]`, what captions belong to, in pixels of the frame.
        sizes_wh: `float32[N, 2]`, whole pixels, none larger than the frame.
        size_hw: Height and width of the frame.
        occupied: What they should keep clear of.

    Returns:
        `float32[N, 4]`, whole pixels of the frame. All zero for one that would cover a caption before it or
        too much of what is in the frame, wherever it stood.
    """
    corners, has_room = _candidates(boxes_xyxy, sizes_wh, size_hw)
    ends = corners + sizes_wh[:, None]
    hidden = _hidden(corners, ends, occupied.objects)
    free = has_room & (hidden <= HIDDEN_AT_MOST)
    for box in occupied.captions:
        free &= _apart(corners, ends, box)
    places = np.zeros_like(boxes_xyxy)
    for row in range(len(places)):
        if not free[row].any():
            continue
        easy = free[row] & (hidden[row] <= HIDDEN_EASILY)
        choice = easy.argmax() if easy.any() else np.where(free[row], hidden[row], np.inf).argmin()
        places[row] = *corners[row, choice], *ends[row, choice]
        later = slice(row + 1, None)
        free[later] &= _apart(corners[later], ends[later], places[row])
    return places


def _candidates(
    boxes: NDArray[np.float32], sizes_wh: NDArray[np.float32], size_hw: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Left and top of the places of each caption, the preferred first, `[N, 8, 2]`, and which have room."""
    (x1, y1, x2, y2), (width, height) = np.rint(boxes).T, sizes_wh.T
    corners = np.stack(
        [
            *(np.stack((left, top), -1) for top in (y1 - height, y2) for left in (x1, x2 - width)),
            *(np.stack((left, y1), -1) for left in (x2, x1 - width)),
            *(np.stack((x1, top), -1) for top in (y1, y2 - height)),
        ],
        1,
    )
    room = np.array(size_hw[::-1], np.float32) - sizes_wh
    moved = np.clip(corners, 0, room[:, None])
    # Above and below may be shifted sideways, beside upwards or downwards, inside as it must be.
    has_room = np.ones(corners.shape[:2], np.bool_)
    has_room[:, :4] = (moved == corners)[:, :4, 1]
    has_room[:, 4:6] = (moved == corners)[:, 4:6, 0]
    return moved, has_room


def _apart(
    corners: NDArray[np.float32], ends: NDArray[np.float32], box: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Which places have no pixel in common with a box: `bool[N, 8]`."""
    apart: NDArray[np.bool_] = (corners >= box[2:]) | (ends <= box[:2])
    return apart[..., 0] | apart[..., 1]


def _hidden(
    corners: NDArray[np.float32], ends: NDArray[np.float32], boxes: NDArray[np.float32]
) -> NDArray[np.float32]:
    """How much each place would hide: the shares of all boxes that it covers, added up; `float32[N, 8]`."""
    sides = []
    for axis in (0, 1):
        first = np.maximum(corners[..., axis, None], boxes[:, axis])
        side = np.minimum(ends[..., axis, None], boxes[:, 2 + axis]) - first
        sides.append(np.maximum(side, 0, out=side))
    areas = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(-1), 1)
    hidden: NDArray[np.float32] = sides[0] * sides[1] @ (1 / areas)
    return hidden
