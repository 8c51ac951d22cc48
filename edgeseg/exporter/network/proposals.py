"""Post-processing of the region proposal network: anchors, top-k, decoding and NMS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .boxes import clip_boxes, decode_boxes, gather_rows, look_up, quotient, shortest_side
from .operators import ABSENT

if TYPE_CHECKING:
    from edgeseg.spec import ModelSpec

    from .operators import Operators


class LevelAnchors(nn.Module):
    """Anchors of one level, computed from their index to avoid a table of 200,000 boxes in the graph."""

    base_xyxy: Tensor

    def __init__(self, base_xyxy: Tensor, size_hw: tuple[int, int], stride_hw: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("base_xyxy", base_xyxy)
        self.width = size_hw[1]
        self.stride_hw = stride_hw

    def forward(self, index: Tensor) -> Tensor:
        """Return xyxy boxes `float32[..., 4]` of anchors `int64[...]`, indexed by row, column, then shape."""
        shapes = self.base_xyxy.shape[0]
        cell = quotient(index, shapes)
        row = quotient(cell, self.width)
        column = cell - row * self.width
        corner = torch.stack((column * self.stride_hw[1], row * self.stride_hw[0]), -1).to(torch.float32)
        return look_up(self.base_xyxy, index - cell * shapes) + torch.cat((corner, corner), -1)


class Proposals(nn.Module):
    """Turns RPN outputs into the proposals for the box head.

    Args:
        rpn: torchvision `RegionProposalNetwork`, for its anchors, counts and thresholds.
        spec: Input size and number of proposals.
        sizes_hw: Height and width of each feature map.

    Source:
        torchvision `RegionProposalNetwork.filter_proposals` in evaluation.
    """

    def __init__(self, rpn: Any, spec: ModelSpec, sizes_hw: list[tuple[int, int]]) -> None:
        super().__init__()
        size_hw = spec.input_size_hw
        bases = rpn.anchor_generator.cell_anchors
        strides = [(size_hw[0] // height, size_hw[1] // width) for height, width in sizes_hw]
        self.anchors = nn.ModuleList(
            LevelAnchors(base.clone(), size, stride)
            for base, size, stride in zip(bases, sizes_hw, strides, strict=True)
        )
        self.size_hw = size_hw
        self.count = spec.max_proposals
        self.candidates = rpn._pre_nms_top_n["testing"]
        self.nms_threshold = rpn.nms_thresh
        self.min_size = rpn.min_size
        self.score_threshold = rpn.score_thresh
        self.weights = rpn.box_coder.weights

    def forward(
        self, logits: list[Tensor], deltas: list[Tensor], operators: Operators
    ) -> tuple[Tensor, Tensor]:
        """Pick the proposals.

        Args:
            logits: `float[B, A, H_l, W_l]` for each level.
            deltas: `float[B, 4 * A, H_l, W_l]` for each level.
            operators: The lowering.

        Returns:
            Boxes `float32[B, count, 4]`, best first, and their presence `bool[B, count]`.
        """
        levels = [self._level(*level) for level in zip(self.anchors, logits, deltas, strict=True)]
        boxes = torch.stack([boxes for boxes, _ in levels], 1)
        scores = torch.stack([scores for _, scores in levels], 1)
        keep = operators.nms(boxes.flatten(0, 1), scores.flatten(0, 1), None, self.nms_threshold)
        kept = torch.where(keep.reshape(scores.shape), scores, ABSENT).flatten(1)
        best, index = kept.topk(self.count)
        present = best > 0.5 * ABSENT
        return gather_rows(boxes.flatten(1, 2), index) * present.unsqueeze(-1), present

    def _level(self, anchors: nn.Module, logits: Tensor, deltas: Tensor) -> tuple[Tensor, Tensor]:
        flat = logits.to(torch.float32).permute(0, 2, 3, 1).flatten(1)
        best, index = flat.topk(min(self.candidates, flat.shape[1]))
        batch, _, height, width = deltas.shape
        rows = deltas.view(batch, -1, 4, height, width).permute(0, 3, 4, 1, 2).reshape(batch, -1, 4)
        offsets = gather_rows(rows, index).to(torch.float32)
        boxes = clip_boxes(decode_boxes(offsets, anchors(index), self.weights), self.size_hw)
        scores = best.sigmoid()
        usable = (shortest_side(boxes) >= self.min_size) & (scores >= self.score_threshold)
        short = self.candidates - index.shape[1]
        scores = nn.functional.pad(torch.where(usable, scores, ABSENT), (0, short), value=ABSENT)
        return nn.functional.pad(boxes, (0, 0, 0, short)), scores
