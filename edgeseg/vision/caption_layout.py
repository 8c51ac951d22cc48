"""Where short texts stand in a picture, so that none hides another and few hide an object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

# How much of all objects together a place may hide, 1 being one object: no matter, and at most.
FREE_OVERLAP = 0.25
MAX_OVERLAP = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Occupied:
    """What is in the frame before captions are placed, in pixels.

    Attributes:
        objects: `float32[M, 4]`, boxes of objects, which had better not be hidden.
        captions: `float32[K, 4]`, boxes of captions, which must not be hidden.
    """

    objects: NDArray[np.float32]
    captions: NDArray[np.float32]


def place_captions(
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
    positions, has_room = _positions(boxes_xyxy, sizes_wh, size_hw)
    cost = _overlap_cost(positions, occupied.objects)
    cost[~has_room | (cost > MAX_OVERLAP)] = np.inf
    cost[_overlaps(positions[..., None], occupied.captions.T).any(-1)] = np.inf
    cost[cost <= FREE_OVERLAP] = 0
    placed = np.zeros_like(boxes_xyxy)
    for row in range(len(placed)):
        # The first of those that are equally good.
        choice = cost[row].argmin()
        if cost[row, choice] < np.inf:
            placed[row] = positions[:, row, choice]
            later = slice(row + 1, None)
            np.putmask(cost[later], _overlaps(positions[:, later], placed[row].tolist()), np.inf)
    return placed


def _positions(
    boxes: NDArray[np.float32], sizes_wh: NDArray[np.float32], size_hw: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where captions may stand, the preferred first, xyxy `float32[4, N, 8]`; and where there is room."""
    (x1, y1, x2, y2), (width, height) = np.rint(boxes).T, sizes_wh.T
    preferred = (
        *((left, top) for top in (y1 - height, y2) for left in (x1, x2 - width)),
        *((left, y1) for left in (x2, x1 - width)),
        *((x1, top) for top in (y1, y2 - height)),
    )
    lefts, tops = (np.stack(values, -1) for values in zip(*preferred, strict=True))
    in_lefts = lefts.clip(0, (size_hw[1] - width)[:, None])
    in_tops = tops.clip(0, (size_hw[0] - height)[:, None])
    # Above and below may be shifted sideways, beside upwards or downwards, inside as it must be.
    has_room = np.ones(lefts.shape, np.bool_)
    has_room[:, :4] = (in_tops == tops)[:, :4]
    has_room[:, 4:6] = (in_lefts == lefts)[:, 4:6]
    positions = np.stack((in_lefts, in_tops, in_lefts + width[:, None], in_tops + height[:, None]))
    return positions, has_room


def _overlaps(positions: NDArray[np.float32], box: Sequence[Any] | NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which positions share a pixel with a box; xyxy is the first axis of both, others broadcast."""
    (left, top, right, bottom), (x1, y1, x2, y2) = positions, box
    overlapping: NDArray[np.bool_] = (left < x2) & (right > x1) & (top < y2) & (bottom > y1)
    return overlapping


def _overlap_cost(positions: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add up the shares of all boxes that each position would cover: `float32[N, 8]`."""
    sides = []
    for axis in (0, 1):
        first = np.maximum(positions[axis, :, :, None], boxes[:, axis])
        side = np.minimum(positions[2 + axis, :, :, None], boxes[:, 2 + axis]) - first
        sides.append(np.maximum(side, 0, out=side))
    areas = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(-1), 1)
    hidden: NDArray[np.float32] = sides[0] * sides[1] @ (1 / areas)
    return hidden
