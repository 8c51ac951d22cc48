"""The operations that the two graphs write differently: NMS, RoIAlign, and which rows get a mask.

Both forms are exact. They differ in which operators a backend has and whether a shape may depend on data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

# Marks a row that holds nothing; below every real score, which is never negative.
ABSENT = -1.0


class Operators(Protocol):
    """What the shared network asks of a lowering."""

    def nms(self, boxes_xyxy: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float) -> Tensor:
        """Mark the boxes that greedy NMS keeps.

        Args:
            boxes_xyxy: `float32[G, N, 4]`, G independent groups.
            scores: `float32[G, N]`, descending but for rows of score `ABSENT`, which are never kept.
            labels: `int64[G, N]` from 1, so that boxes suppress only their own class; None for one class.
            iou_threshold: Overlap above which the weaker box goes.

        Returns:
            `bool[G, N]`.
        """

    def extra_outputs(self, batch: int) -> list[Tensor]:
        """Give what the graph puts out besides detections, once everything else was computed."""

    def roi_align(self, pyramid: Pyramid, rois: Rois, side: int) -> Tensor:
        """Crop every box from the feature map of its level: `float32[R, C, side, side]`."""

    def on_present(self, head: Callable[[Tensor | slice], Tensor], present: Tensor) -> Tensor:
        """Run a head on the rows that hold a detection.

        Args:
            head: Takes row indices `int64[M]`, or a slice for all rows; gives `float32[M, ...]`.
            present: `bool[R]`.

        Returns:
            `float32[R, ...]`, zero where nothing is present.
        """


class Pyramid:
    """Feature maps for RoIAlign.

    Attributes:
        maps: `float32[B, C, H_l, W_l]` for each level, finest first.
        scales: Feature pixels an input pixel, for each level.
        sampling_ratio: Samples a bin, along each axis.
    """

    def __init__(self, maps: list[Tensor], scales: list[float], sampling_ratio: int) -> None:
        self.maps = maps
        self.scales = scales
        self.sampling_ratio = sampling_ratio


class Rois:
    """Boxes to crop.

    Attributes:
        boxes_xyxy: `float32[R, 4]` in input pixels.
        levels: `int64[R]`, index into the pyramid.
        images: `int64[R]`, index into the batch, ascending; equally many rows an image where R is fixed.
    """

    def __init__(self, boxes_xyxy: Tensor, levels: Tensor, images: Tensor) -> None:
        self.boxes_xyxy = boxes_xyxy
        self.levels = levels
        self.images = images
