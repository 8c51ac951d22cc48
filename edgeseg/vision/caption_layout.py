"""Placement of captions in a picture, so that none hides another and few hide an object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

# The hidden shares of all objects, added up (1 is one whole object): up to the first no position is worse
# than another; beyond the second a position is not used.
FREE_OVERLAP = 0.25
MAX_OVERLAP = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Occupied:
    """Parts of the frame that are taken before captions are placed.

    Attributes:
        objects: `float32[M, 4]`, boxes xyxy of objects in pixels, which should not be hidden.
        captions: `float32[K, 4]`, boxes xyxy of captions in pixels, which must not be hidden.
    """

    objects: NDArray[np.float32]
    captions: NDArray[np.float32]


def place_captions(
    boxes_xyxy: NDArray[np.float32],
    sizes_wh: NDArray[np.float32],
    size_hw: tuple[int, ...],
    occupied: Occupied,
) -> NDArray[np.float32]:
    """Choose a position for each caption: above, below, beside or inside its box.

    Args:
        boxes_xyxy: `float32[N, 4]`, boxes that the captions belong to, in pixels of the frame.
        sizes_wh: `float32[N, 2]`, width and height of the captions in whole pixels, none larger than the
            frame.
        size_hw: Height and width of the frame, in pixels.
        occupied: Objects and captions to keep clear of.

    Returns:
        `float32[N, 4]`, boxes xyxy in whole pixels of the frame. All zero for a caption that in every
        position would cover an earlier caption or too much of the objects.

    Example:
        >>> box, size = np.array([(10, 30, 60, 60)], np.float32), np.array([(40, 12)], np.float32)
        >>> occupied = Occupied(objects=box, captions=np.zeros((0, 4), np.float32))
        >>> place_captions(box, size, (64, 96), occupied).tolist()
        [[10.0, 18.0, 50.0, 30.0]]
    """
    positions, has_room = _positions(boxes_xyxy, sizes_wh, size_hw)
    cost = _overlap_cost(positions, occupied.objects)
    cost[~has_room | (cost > MAX_OVERLAP)] = np.inf
    cost[_overlaps(positions[..., None], occupied.captions.T).any(-1)] = np.inf
    cost[cost <= FREE_OVERLAP] = 0
    placed = np.zeros_like(boxes_xyxy)
    for row in range(len(placed)):
        # `argmin` takes the first of equally good positions, which is the preferred one.
        choice = cost[row].argmin()
        if cost[row, choice] < np.inf:
            placed[row] = positions[:, row, choice]
            later = slice(row + 1, None)
            np.putmask(cost[later], _overlaps(positions[:, later], placed[row].tolist()), np.inf)
    return placed


def _positions(
    boxes: NDArray[np.float32], sizes_wh: NDArray[np.float32], size_hw: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """List the 8 positions of each caption, preferred first: xyxy `float32[4, N, 8]`, and which have room."""
    (x1, y1, x2, y2), (width, height) = np.rint(boxes).T, sizes_wh.T
    preferred = (
        *((left, top) for top in (y1 - height, y2) for left in (x1, x2 - width)),
        *((left, y1) for left in (x2, x1 - width)),
        *((x1, top) for top in (y1, y2 - height)),
    )
    lefts, tops = (np.stack(values, -1) for values in zip(*preferred, strict=True))
    in_lefts = lefts.clip(0, (size_hw[1] - width)[:, None])
    in_tops = tops.clip(0, (size_hw[0] - height)[:, None])
    # To stay in the frame, a caption above or below its box may move sideways, one beside it up or down, and
    # one inside it in any direction.
    has_room = np.ones(lefts.shape, np.bool_)
    has_room[:, :4] = (in_tops == tops)[:, :4]
    has_room[:, 4:6] = (in_lefts == lefts)[:, 4:6]
    positions = np.stack((in_lefts, in_tops, in_lefts + width[:, None], in_tops + height[:, None]))
    return positions, has_room


def _overlaps(positions: NDArray[np.float32], box: Sequence[Any] | NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which positions share a pixel with a box; the first axis of both is xyxy, the others broadcast."""
    (left, top, right, bottom), (x1, y1, x2, y2) = positions, box
    overlapping: NDArray[np.bool_] = (left < x2) & (right > x1) & (top < y2) & (bottom > y1)
    return overlapping


def _overlap_cost(positions: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add up, for each position, the shares of all boxes that it would cover: `float32[N, 8]`."""
    sides = []
    for axis in (0, 1):
        first = np.maximum(positions[axis, :, :, None], boxes[:, axis])
        side = np.minimum(positions[2 + axis, :, :, None], boxes[:, 2 + axis]) - first
        sides.append(np.maximum(side, 0, out=side))
    areas = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(-1), 1)
    hidden: NDArray[np.float32] = sides[0] * sides[1] @ (1 / areas)
    return hidden
