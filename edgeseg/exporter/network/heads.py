"""Box selection and mask prediction: the parts of the Mask R-CNN heads that are rewritten for export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .boxes import clip_boxes, decode_boxes, gather_rows, look_up, quotient, shortest_side
from .operators import ABSENT

if TYPE_CHECKING:
    from edgeseg.spec import ModelSpec

    from .operators import Operators

# torchvision drops detections thinner than this many pixels.
MIN_DETECTION_SIZE = 1e-2


class BoxSelector(nn.Module):
    """Select the K best detections from class scores and box offsets of all proposals.

    Source:
        torchvision `RoIHeads.postprocess_detections`.
    """

    def __init__(self, roi_heads: Any, spec: ModelSpec) -> None:
        super().__init__()
        self.classes = len(spec.class_names)
        self.size_hw = spec.input_size_hw
        self.candidates = min(spec.max_candidates, spec.max_proposals * (self.classes - 1))
        self.count = min(spec.max_detections, self.candidates)
        self.pad = spec.max_detections - self.count
        self.nms_threshold = spec.nms_threshold
        self.weights = roi_heads.box_coder.weights

    def forward(
        self,
        logits: Tensor,
        deltas: Tensor,
        proposals: Tensor,
        threshold: Tensor | float,
        operators: Operators,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Pick the detections.

        Args:
            logits: `float32[B, R, classes]`; rows without a proposal are certain to be background.
            deltas: `float32[B, R, classes * 4]`, box offsets for each class.
            proposals: `float32[B, R, 4]`, xyxy in input pixels.
            threshold: Scores must be above this.
            operators: Operators of the lowering.

        Returns:
            Boxes `float32[B, K, 4]` (xyxy in input pixels), scores `float32[B, K]` in descending order, and
            labels `int64[B, K]`; rows without a detection are zero.
        """
        scores = logits.softmax(-1)[..., 1:].flatten(1)
        best, pair = scores.topk(self.candidates)
        row = quotient(pair, self.classes - 1)
        labels = pair - row * (self.classes - 1) + 1
        offsets = gather_rows(deltas.reshape(deltas.shape[0], -1, 4), row * self.classes + labels)
        boxes = clip_boxes(decode_boxes(offsets, gather_rows(proposals, row), self.weights), self.size_hw)
        usable = (best > threshold) & (shortest_side(boxes) >= MIN_DETECTION_SIZE)
        usable_scores = torch.where(usable, best, ABSENT)
        keep = operators.nms(boxes, usable_scores, labels, self.nms_threshold)
        kept, index = torch.where(keep, usable_scores, ABSENT).topk(self.count)
        kept = nn.functional.pad(kept, (0, self.pad), value=ABSENT)
        index = nn.functional.pad(index, (0, self.pad))
        present = kept > 0.5 * ABSENT
        return (
            gather_rows(boxes, index) * present.unsqueeze(-1),
            kept * present,
            labels.gather(1, index) * present,
        )


class MaskPredictor(nn.Module):
    """The last layers of the mask head, for the predicted class only.

    The 2x2 transposed convolution of stride 2 is computed as a 1x1 convolution with four times the channels,
    one set for each of the four pixels. The class weights are applied before the pixels are rearranged, so
    only one channel of the large map is moved instead of all.

    Source:
        torchvision `MaskRCNNPredictor`.
    """

    class_weight: Tensor
    class_bias: Tensor

    def __init__(self, predictor: Any) -> None:
        super().__init__()
        up, logits = predictor.conv5_mask, predictor.mask_fcn_logits
        inner = up.weight.shape[1]
        self.pixels = nn.Conv2d(up.weight.shape[0], 4 * inner, 1)
        weight = up.weight.detach().permute(2, 3, 1, 0).reshape(4 * inner, -1, 1, 1)
        self.pixels.load_state_dict({"weight": weight, "bias": up.bias.detach().repeat(4)})
        self.register_buffer("class_weight", logits.weight.data.flatten(1).clone())
        self.register_buffer("class_bias", logits.bias.data.clone())

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Predict masks `float32[M, 2 * S, 2 * S]` of `labels` (`int64[M]`) from `float[M, C, S, S]`."""
        side = features.shape[-1]
        pixels = self.pixels(features).relu().reshape(-1, 4, self.class_weight.shape[1], side * side)
        logits = look_up(self.class_weight, labels).unsqueeze(1).unsqueeze(1) @ pixels
        logits = logits.squeeze(2) + look_up(self.class_bias, labels).view(-1, 1, 1)
        logits = logits.to(torch.float32).reshape(-1, 4, side, side)
        return nn.functional.pixel_shuffle(logits, 2).squeeze(1).sigmoid()
