"""Operations that differ between the lowerings: NMS, RoIAlign, and the rows that get a mask.

Both implementations are exact. They differ in the ONNX operators that they use and in whether shapes may
depend on data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

# Score of a row without a detection; real scores are never negative.
ABSENT = -1.0


class Operators(Protocol):
    """Operations that the shared network needs from a lowering."""

    def nms(self, boxes_xyxy: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float) -> Tensor:
        """Mark the boxes that greedy NMS keeps.

        Args:
            boxes_xyxy: `float32[G, N, 4]`, boxes of G independent groups, in input pixels.
            scores: `float32[G, N]`, descending except for rows of score `ABSENT`, which are never kept.
            labels: `int64[G, N]` from 1; boxes only suppress boxes of the same label. None for one class.
            iou_threshold: IoU above which the box with the lower score is dropped.

        Returns:
            `bool[G, N]`, true for the boxes that are kept.
        """

    def extra_outputs(self, batch: int) -> list[Tensor]:
        """Return additional outputs of the graph; called after everything else was computed."""

    def roi_align(self, pyramid: Pyramid, rois: Rois, side: int) -> Tensor:
        """Crop every box from the feature map of its level: `float32[R, C, side, side]`."""

    def on_present(self, head: Callable[[Tensor | slice], Tensor], present: Tensor) -> Tensor:
        """Run a head on the rows that hold a detection.

        Args:
            head: Function from row indices `int64[M]`, or a slice for all rows, to `float32[M, ...]`.
            present: `bool[R]`.

        Returns:
            `float32[R, ...]`, zero where nothing is present.
        """


class Pyramid:
    """Feature maps for RoIAlign.

    Attributes:
        maps: `float32[B, C, H_l, W_l]` for each level, finest first.
        scales: Feature pixels per input pixel, for each level.
        sampling_ratio: Samples per bin along each axis.
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
        images: `int64[R]`, index into the batch, ascending; equally many per image if R is fixed.
    """

    def __init__(self, boxes_xyxy: Tensor, levels: Tensor, images: Tensor) -> None:
        self.boxes_xyxy = boxes_xyxy
        self.levels = levels
        self.images = images
