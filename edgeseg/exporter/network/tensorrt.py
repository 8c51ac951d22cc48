"""The `tensorrt` lowering: no operator and no shape that TensorRT cannot compile into one static engine."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from .boxes import look_up
from .operators import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from .operators import Pyramid, Rois

# NMS converges in 7 to 20 rounds on real images with 1000 boxes; the extra output says if it did not.
NMS_ITERATIONS = 32
# A GridSample position far from the atlas, which reads zero.
OUTSIDE = -3.0


class TensorRTOperators:
    """NMS as a fixed point of matrix products, RoIAlign as GridSample; every row is computed.

    Args:
        precision: Of the matrix products of NMS. They add up to 1000 ones, which half precision can count
            and which Turing's kernels need; `float32` is as exact.

    Attributes:
        changed: `float[G]` for each call of `nms`: zero where its last round changed nothing.
    """

    def __init__(self, precision: torch.dtype = torch.float32) -> None:
        self.precision = precision
        self.changed: list[Tensor] = []

    def nms(self, boxes_xyxy: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float) -> Tensor:
        """See `Operators.nms`; repeatedly drop boxes that overlap a better box, until nothing changes."""
        stronger = torch.ones(scores.shape[1], scores.shape[1]).tril(-1).bool()
        suppresses = (pairwise_iou(boxes_xyxy) > iou_threshold) & stronger
        if labels is not None:
            suppresses = suppresses & (labels.unsqueeze(1) == labels.unsqueeze(2))
        matrix = suppresses.to(self.precision)
        present = (scores > 0.5 * ABSENT).to(self.precision).unsqueeze(-1)
        keep = before = present
        for _ in range(NMS_ITERATIONS):
            # The product counts the kept boxes that suppress one; all values are whole, so this is exact.
            before, keep = keep, (present - matrix @ keep).relu()
        self.changed.append((keep - before).abs().amax((1, 2)))
        return keep.squeeze(-1) > 0.5

    def extra_outputs(self, batch: int) -> list[Tensor]:
        """See `Operators.extra_outputs`; one output `int32[B]`, 1 if every NMS of the image converged."""
        changed = [call.reshape(batch, -1).amax(1) for call in self.changed]
        return [(torch.stack(changed).amax(0) < 0.5).to(torch.int32)]

    def roi_align(self, pyramid: Pyramid, rois: Rois, side: int) -> Tensor:
        """See `Operators.roi_align`: bilinear samples of the atlas, averaged in each bin."""
        batch, channels = pyramid.maps[0].shape[:2]
        samples = side * pyramid.sampling_ratio
        atlas = Atlas(pyramid)
        grid = atlas.sample_grid(rois, samples).reshape(batch, -1, samples, 2)
        # TensorRT wants one type of both inputs, and half a step of a half position is a tenth of a pixel.
        features = atlas.features.to(grid.dtype)
        values = nn.functional.grid_sample(features, grid, padding_mode="zeros", align_corners=True)
        bins = nn.functional.avg_pool2d(values, pyramid.sampling_ratio).to(atlas.features.dtype)
        return bins.reshape(batch, channels, -1, side, side).transpose(1, 2).reshape(-1, channels, side, side)

    def on_present(self, head: Callable[[Tensor | slice], Tensor], present: Tensor) -> Tensor:
        """See `Operators.on_present`."""
        values = head(slice(None))
        return values * present.to(values.dtype).view(-1, *[1] * (values.dim() - 1))


class Atlas:
    """All levels of a pyramid in one feature map: the finest at the left, the others stacked beside it.

    Every level is followed by one replicated pixel right and below, so that bilinear sampling between the
    last pixel and the border reads the last pixel, as torchvision does.

    Attributes:
        features: `float[B, C, H, W]`.
    """

    def __init__(self, pyramid: Pyramid) -> None:
        padded_maps = [nn.functional.pad(level, (0, 1, 0, 1), mode="replicate") for level in pyramid.maps]
        heights, widths = zip(*(level.shape[-2:] for level in padded_maps), strict=True)
        tops = [0, *itertools.accumulate(heights[1:-1], initial=0)][: len(padded_maps)]
        lefts = [0] + [widths[0]] * (len(padded_maps) - 1)
        self._top_left = torch.tensor([tops, lefts]).T
        self._last = torch.tensor([heights, widths]).T - 1
        self._scales = torch.tensor(pyramid.scales)
        extent = max(heights[0], sum(heights[1:]))
        column = [_padded(level, level.shape[-2], max(widths[1:])) for level in padded_maps[1:]]
        columns = [padded_maps[0], torch.cat(column, -2)] if column else padded_maps
        self.features = torch.cat([_padded(part, extent, part.shape[-1]) for part in columns], -1)

    def sample_grid(self, rois: Rois, samples: int) -> Tensor:
        """Return sample positions of each box: `float32[R, samples, samples, 2]`, GridSample's x, y."""
        scaled = rois.boxes_xyxy * look_up(self._scales, rois.levels).unsqueeze(-1)
        x1, y1, x2, y2 = scaled.split(1, -1)
        last_y, last_x = look_up(self._last, rois.levels).to(scaled.dtype).split(1, -1)
        top, left = look_up(self._top_left, rois.levels).to(scaled.dtype).split(1, -1)
        height, width = self.features.shape[-2:]
        x = _axis_positions(AtlasAxis(x1, x2, last_x, left, width), samples)
        y = _axis_positions(AtlasAxis(y1, y2, last_y, top, height), samples)
        x, y = x.unsqueeze(1).expand(-1, samples, -1), y.unsqueeze(2).expand(-1, -1, samples)
        return torch.stack((x, y), -1)


class AtlasAxis(NamedTuple):
    """Boxes along one axis of the atlas, `float32[R, 1]` in feature pixels.

    Attributes:
        low: Start of the box in its level.
        high: End of the box in its level.
        last: Where the level ends.
        offset: Where the level starts in the atlas.
        extent: Length of the atlas.
    """

    low: Tensor
    high: Tensor
    last: Tensor
    offset: Tensor
    extent: int


def pairwise_iou(boxes_xyxy: Tensor) -> Tensor:
    """Intersection over union of all pairs in each group: `[G, N, 4]` to `[G, N, N]`."""
    x1, y1, x2, y2 = boxes_xyxy.split(1, -1)
    area = (x2 - x1) * (y2 - y1)
    width = torch.minimum(x2, x2.mT) - torch.maximum(x1, x1.mT)
    height = torch.minimum(y2, y2.mT) - torch.maximum(y1, y1.mT)
    shared = width.relu() * height.relu()
    # The floor keeps 0/0 of two empty boxes, which are absent rows, from becoming NaN.
    return shared / (area + area.mT - shared).clamp(min=1e-9)


def _padded(level: Tensor, height: int, width: int) -> Tensor:
    return nn.functional.pad(level, (0, width - level.shape[-1], 0, height - level.shape[-2]))


def _axis_positions(axis: AtlasAxis, samples: int) -> Tensor:
    """Sample positions, `float32[R, samples]` in GridSample's -1 to 1; beyond the border they read zero.

    Source:
        torchvision `roi_align` with `aligned=False`: a box is at least one feature pixel long, a sample is
        clamped to the last pixel, and one beyond the border is zero.
    """
    step = (axis.high - axis.low).clamp(min=1.0) / samples
    position = axis.low + (torch.arange(samples, dtype=torch.float32) + 0.5) * step
    in_atlas = (position + axis.offset) * (2.0 / (axis.extent - 1)) - 1.0
    return torch.where(position <= axis.last, in_atlas, OUTSIDE)
