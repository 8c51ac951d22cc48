"""How much a detection looks like an object that is followed: where its box lies, and its mask."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.vision.masks import MaskCrop

from .overlap import mask_iou
from .polygons import Point

if TYPE_CHECKING:
    from collections.abc import Sequence

Overlaps = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observation:
    """What was found in a frame.

    Attributes:
        boxes_xyxy: `float64[N, 4]` in pixels of the first frame.
        scores: `float32[N]`.
        masks: N, in pixels of this frame.
        scale_xy: How much larger this frame is than the first.
        size_hw: Of the first frame.
    """

    boxes_xyxy: NDArray[np.float64]
    scores: NDArray[np.float32]
    masks: tuple[MaskCrop, ...]
    scale_xy: Point
    size_hw: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _LastMask:
    """An object's last mask, the box it had and the scale of that frame."""

    mask: MaskCrop
    box_xyxy: NDArray[np.float64]
    scale_xy: Point


class Similarity:
    """Overlap of boxes plus overlap of masks, as a metric of the package `trackers`.

    Boxes alone say what may belong together; among neighbours that touch, masks settle which. The package
    hands over boxes only: which object and which detection each is of, its numbers tell.

    Args:
        boxes: Overlap of boxes, `float64[T, N]` of `float64[T, 4]` and `float64[N, 4]`.
    """

    def __init__(self, boxes: Overlaps) -> None:
        self._boxes = boxes
        self._last: dict[Hashable, _LastMask] = {}
        self._tracks: Sequence[Any] = ()
        self._observation: Observation | None = None
        self._row_of: dict[bytes, int] = {}

    def begin(self, tracks: Sequence[Any], observation: Observation) -> None:
        """Take what is followed and what was found before they are compared."""
        self._tracks, self._observation = tracks, observation
        self._row_of = {box.tobytes(): row for row, box in enumerate(observation.boxes_xyxy)}

    def end(self, rows: Mapping[Hashable, int], unseen: Sequence[Hashable]) -> None:
        """Remember the masks of the objects that are left: those with a row, and those unseen."""
        observation, self._tracks, self._observation = self._observation, (), None
        known = {key: self._last[key] for key in unseen if key in self._last}
        if observation is not None:
            for key, row in rows.items():
                known[key] = _LastMask(
                    mask=observation.masks[row],
                    box_xyxy=observation.boxes_xyxy[row],
                    scale_xy=observation.scale_xy,
                )
        self._last = known

    def compute(self, boxes_1: NDArray[np.float64], boxes_2: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compare objects and detections.

        Args:
            boxes_1: `float64[T, 4]`, where objects are expected.
            boxes_2: `float64[N, 4]`, detections.

        Returns:
            `float64[T, N]`, 0 to 2.
        """
        overlaps = np.array(self._boxes(boxes_1, boxes_2), np.float64)
        track_of = {_bytes(track.get_state_bbox()): track for track in self._tracks}
        for row, column in zip(*(part.tolist() for part in np.nonzero(overlaps > 0)), strict=True):
            last = self._last.get(track_of.get(_bytes(boxes_1[row])))
            found = self._row_of.get(_bytes(boxes_2[column]))
            if last is not None and found is not None:
                overlaps[row, column] += self._masks(last, boxes_1[row], found)
        return overlaps

    def _masks(self, last: _LastMask, expected_xyxy: NDArray[np.float64], row: int) -> float:
        """Overlap of an object's last mask, moved to where it is expected, and a detection's."""
        observation = self._observation
        if observation is None or observation.scale_xy != last.scale_xy:
            return 0.0
        x1, y1, x2, y2 = (expected_xyxy - last.box_xyxy).tolist()
        left = last.mask.left + round((x1 + x2) / 2 * observation.scale_xy[0])
        top = last.mask.top + round((y1 + y2) / 2 * observation.scale_xy[1])
        return mask_iou(MaskCrop(pixels=last.mask.pixels, left=left, top=top), observation.masks[row])


def _bytes(box_xyxy: NDArray[np.float64]) -> bytes:
    return np.asarray(box_xyxy, np.float64).tobytes()
