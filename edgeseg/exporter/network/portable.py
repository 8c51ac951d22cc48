"""The `portable` lowering: ONNX's own NonMaxSuppression and RoiAlign, for ONNX Runtime and OpenVINO.

Each is a custom PyTorch operator with a fixed output shape, so that `torch.export` sees no data-dependent
shape, and a translation to ONNX operators.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - the exporter reads the annotations
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
import torchvision
from onnxscript import opset18
from torch import Tensor

from .operators import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from .operators import Pyramid, Rois

# Boxes whose top edges lie in the same strip of this height, in input pixels, are cropped left to right.
STRIP_PX = 64
# Typed as Any, because its type signatures are narrower than what it accepts.
op: Any = opset18


class PortableOperators:
    """Native operators; the mask head runs only on the rows that hold a detection.

    Args:
        classes: Number of classes without the background.
    """

    def __init__(self, classes: int) -> None:
        self._classes = classes

    def nms(self, boxes_xyxy: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float) -> Tensor:
        """See `Operators.nms`; since the rows are sorted, ranks are used in place of scores.

        ONNX Runtime's sigmoid is not monotonic to the last bit, so its scores could reorder near ties.
        """
        places = torch.arange(scores.shape[1], 0, -1, dtype=scores.dtype)
        classes = torch.where(scores > 0.5 * ABSENT, places, ABSENT).unsqueeze(1)
        if labels is not None:
            # One row of scores per class is exact, whereas offsets on the coordinates would round them.
            of_class = torch.arange(1, self._classes + 1).view(1, -1, 1) == labels.unsqueeze(1)
            classes = torch.where(of_class, classes, ABSENT)
        keep: Tensor = nms_keep(boxes_xyxy, classes, iou_threshold)
        return keep

    def extra_outputs(self, batch: int) -> list[Tensor]:
        """See `Operators.extra_outputs`: none."""
        return []

    def roi_align(self, pyramid: Pyramid, rois: Rois, side: int) -> Tensor:
        """See `Operators.roi_align`."""
        boxes, images, levels = rois.boxes_xyxy, rois.images, rois.levels
        return roi_align_levels(
            pyramid.maps, boxes, images, levels, pyramid.scales, side, pyramid.sampling_ratio
        )

    def on_present(self, head: Callable[[Tensor | slice], Tensor], present: Tensor) -> Tensor:
        """See `Operators.on_present`."""
        rows = present.nonzero().squeeze(1)
        values = head(rows)
        return values.new_zeros(present.shape[0], *values.shape[1:]).index_put((rows,), values)


@torch.library.custom_op("edgeseg::nms_keep", mutates_args=())
def nms_keep(boxes_xyxy: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Mark the boxes that NMS keeps, `bool[G, N]`; boxes `[G, N, 4]`, scores `[G, C, N]` or `ABSENT`."""
    keep = torch.zeros(scores.shape[0], scores.shape[2], dtype=torch.bool)
    for group, class_scores in enumerate(scores):
        for row in class_scores:
            of_class = (row > 0.5 * ABSENT).nonzero().squeeze(1)
            kept = torchvision.ops.nms(boxes_xyxy[group, of_class], row[of_class], iou_threshold)
            keep[group, of_class[kept]] = True
    return keep


@nms_keep.register_fake
def _(boxes_xyxy: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return torch.empty(scores.shape[0], scores.shape[2], dtype=torch.bool)


@torch.library.custom_op("edgeseg::roi_align_levels", mutates_args=())
def roi_align_levels(
    maps: list[Tensor],
    boxes_xyxy: Tensor,
    images: Tensor,
    levels: Tensor,
    scales: list[float],
    side: int,
    sampling_ratio: int,
) -> Tensor:
    """Crop each box from its level's map."""
    crops = boxes_xyxy.new_zeros(boxes_xyxy.shape[0], maps[0].shape[1], side, side)
    for level, (features, scale) in enumerate(zip(maps, scales, strict=True)):
        rows = (levels == level).nonzero().squeeze(1)
        rois = torch.cat((images[rows, None].to(boxes_xyxy.dtype), boxes_xyxy[rows]), 1)
        crops[rows] = torchvision.ops.roi_align(features, rois, side, scale, sampling_ratio)
    return crops


@roi_align_levels.register_fake
def _(
    maps: list[Tensor],
    boxes_xyxy: Tensor,
    images: Tensor,
    levels: Tensor,
    scales: list[float],
    side: int,
    sampling_ratio: int,
) -> Tensor:
    return boxes_xyxy.new_empty(boxes_xyxy.shape[0], maps[0].shape[1], side, side)


def _onnx_nms_keep(boxes_xyxy: Any, scores: Any, iou_threshold: float) -> Any:
    """Translate `nms_keep` to ONNX."""
    limit = op.Constant(value_int=2**31 - 1)
    kept = op.NonMaxSuppression(
        boxes_xyxy,
        scores,
        limit,
        op.Constant(value_float=iou_threshold),
        op.Constant(value_float=0.5 * ABSENT),
    )
    where = op.Gather(kept, op.Constant(value_ints=[0, 2]), axis=1)
    shape = op.Gather(op.Shape(scores), op.Constant(value_ints=[0, 2]))
    none = op.ConstantOfShape(shape)
    count = op.Gather(op.Shape(kept), op.Constant(value_ints=[0]))
    ones = op.Expand(op.Constant(value_floats=[1.0]), count)
    return op.Cast(op.ScatterND(none, where, ones), to=9)


def _onnx_roi_align_levels(
    maps: Sequence[Any],
    boxes_xyxy: Any,
    images: Any,
    levels: Any,
    scales: Sequence[float],
    side: int,
    sampling_ratio: int,
) -> Any:
    """Translate `roi_align_levels` to ONNX: one RoiAlign per level, with the crops put back in order.

    Neighbouring boxes are cropped one after the other, so that shared parts of the map are cached.
    """
    nearby = _onnx_order_by_place(boxes_xyxy)
    boxes, images, levels = (op.Gather(rows, nearby) for rows in (boxes_xyxy, images, levels))
    crops, orders = [], []
    for level, (features, scale) in enumerate(zip(maps, scales, strict=True)):
        rows = op.Squeeze(
            op.NonZero(op.Equal(levels, op.Constant(value_int=level))), op.Constant(value_ints=[0])
        )
        crops.append(
            op.RoiAlign(
                features,
                op.Gather(boxes, rows),
                op.Gather(images, rows),
                coordinate_transformation_mode="output_half_pixel",
                output_height=side,
                output_width=side,
                sampling_ratio=sampling_ratio,
                spatial_scale=scale,
            )
        )
        orders.append(op.Gather(nearby, rows))
    order = op.Concat(*orders, axis=0)
    count = op.Shape(order)
    position = op.Range(op.Constant(value_int=0), op.Squeeze(count), op.Constant(value_int=1))
    inverse = op.ScatterElements(order, order, position, axis=0)
    return op.Gather(op.Concat(*crops, axis=0), inverse, axis=0)


def _onnx_order_by_place(boxes_xyxy: Any) -> Any:
    """Order boxes by strips of `STRIP_PX` rows and from left to right within them: `int64[R]`."""
    left = op.Gather(boxes_xyxy, op.Constant(value_int=0), axis=1)
    top = op.Gather(boxes_xyxy, op.Constant(value_int=1), axis=1)
    strip = op.Floor(op.Mul(top, op.Constant(value_float=1 / STRIP_PX)))
    place = op.Add(op.Mul(strip, op.Constant(value_float=float(2**15))), left)
    _, order = op.TopK(place, op.Shape(place), largest=0)
    return order


TRANSLATIONS = MappingProxyType(
    {
        torch.ops.edgeseg.nms_keep.default: _onnx_nms_keep,
        torch.ops.edgeseg.roi_align_levels.default: _onnx_roi_align_levels,
    }
)
