"""Mask R-CNN as one network with static shapes, built around the checkpoint's own modules."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from edgeseg.exporter.model.backbone import first_convolution
from edgeseg.exporter.model.reference import gray_from_rgb

from .folding import fold_batch_norms
from .heads import BoxSelector, MaskPredictor
from .operators import Pyramid, Rois
from .proposals import Proposals

if TYPE_CHECKING:
    from edgeseg.spec import ModelSpec

    from .operators import Operators

# Side of the blank image that shows which norm follows which convolution: two pixels at stride 64.
PROBE_SIDE = 128


class LevelOfBox(nn.Module):
    """Computes the pyramid level that a box is cropped from.

    Source:
        torchvision `LevelMapper`, equation 1 of the FPN paper.
    """

    def __init__(self, pooler: Any, scales: list[float]) -> None:
        super().__init__()
        self.lowest, self.highest = (round(-math.log2(scale)) for scale in (scales[0], scales[-1]))
        self.canonical_level = pooler.canonical_level
        self.canonical_scale = pooler.canonical_scale

    def forward(self, boxes_xyxy: Tensor) -> Tensor:
        """Return the levels, `int64[R]`, of boxes `float32[R, 4]` in xyxy input pixels."""
        low, high = boxes_xyxy.split(2, -1)
        # No product over the axis, because ONNX Runtime 1.31 keeps the axis if there are no boxes.
        width, height = (high - low).split(1, -1)
        side = (width * height).squeeze(-1).sqrt()
        level = torch.floor(self.canonical_level + torch.log2(side / self.canonical_scale) + 1e-6)
        return level.clamp(self.lowest, self.highest).to(torch.int64) - self.lowest


class ExportedNetwork(nn.Module):
    """The network that is exported: takes `uint8` images and returns detections with masks.

    Args:
        model: torchvision `MaskRCNN` in evaluation mode.
        spec: Sizes, counts and thresholds.
        operators: Operators of the lowering.
        precision: Type of the backbone and the heads. Normalisation, boxes, coordinates, softmax, sigmoid,
            ranking and comparisons stay in `float32`, as small errors there would move or lose detections.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, model: Any, spec: ModelSpec, operators: Operators, precision: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.spec = spec
        self.operators = operators
        self.precision = precision
        channels = first_convolution(model.backbone).in_channels
        self.register_buffer("mean", _channelwise(spec.preprocess.mean_rgb, channels))
        self.register_buffer("std", _channelwise(spec.preprocess.std_rgb, channels))
        heads = model.roi_heads
        self.box_pool, self.mask_pool = heads.box_roi_pool, heads.mask_roi_pool
        sizes = _feature_sizes(model.backbone, channels, spec.input_size_hw)
        self.backbone = fold_batch_norms(model.backbone, torch.zeros(1, channels, PROBE_SIDE, PROBE_SIDE))
        self.rpn_head = copy.deepcopy(model.rpn.head)
        self.box_head = fold_batch_norms(heads.box_head, _crop_like(model.backbone, self.box_pool))
        self.box_predictor = copy.deepcopy(heads.box_predictor)
        self.mask_head = fold_batch_norms(heads.mask_head, _crop_like(model.backbone, self.mask_pool))
        self.mask_predictor = MaskPredictor(heads.mask_predictor)
        # Parts added after this loop (anchors and box arithmetic) stay in float32.
        for part in self.children():
            part.to(precision)
        self.proposals = Proposals(model.rpn, spec, list(sizes.values()))
        self.detector = BoxSelector(heads, spec)
        self.pyramid_names = [name for name in self.box_pool.featmap_names if name in sizes]
        height = spec.input_size_hw[0]
        self.scales = [2.0 ** round(math.log2(sizes[name][0] / height)) for name in self.pyramid_names]
        self.level_of_box = LevelOfBox(self.box_pool, self.scales)

    def forward(self, images: Tensor, score_threshold: Tensor | None = None) -> tuple[Tensor, ...]:
        """Detect objects in a batch of images.

        Args:
            images: `uint8[B, H, W, 3]`, BGR.
            score_threshold: `float32[]`; None for the threshold in the spec.

        Returns:
            In the order of `edgeseg.ports.OUTPUTS`: `int32[B]`, `float32[B, K, 4]`, `float32[B, K]`,
            `int32[B, K]`, `float32[B, K, S, S]`.
        """
        features = self._features(images)
        logits, deltas = self.rpn_head(list(features.values()))
        proposals, present = self.proposals(logits, deltas, self.operators)
        maps = [features[name] for name in self.pyramid_names]
        threshold = self.spec.score_threshold if score_threshold is None else score_threshold
        boxes, scores, labels = self._detect(maps, proposals, present, threshold)
        masks = self._masks(maps, boxes, labels, scores > 0)
        count = (scores > 0).sum(1).to(torch.int32)
        return (
            count,
            boxes,
            scores,
            labels.to(torch.int32),
            masks,
            *self.operators.extra_outputs(images.shape[0]),
        )

    def _features(self, images: Tensor) -> dict[str, Tensor]:
        pixels = images.to(torch.float32).permute(0, 3, 1, 2).flip(1)
        if self.spec.preprocess.gray:
            pixels = gray_from_rgb(pixels)
        return _levels(self.backbone(((pixels - self.mean) / self.std).to(self.precision)))

    def _detect(
        self, maps: list[Tensor], proposals: Tensor, present: Tensor, threshold: Tensor | float
    ) -> tuple[Tensor, Tensor, Tensor]:
        crops = self._crop(maps, self.box_pool, proposals, slice(None))
        logits, deltas = (part.to(torch.float32) for part in self.box_predictor(self.box_head(crops)))
        batch, count = present.shape
        logits = logits.reshape(batch, count, -1)
        # Rows without a proposal become certain background, so that they give no detections.
        background = torch.full_like(logits[:1, :1], -100.0)
        background[..., 0] = 100.0
        logits = torch.where(present.unsqueeze(-1), logits, background)
        return self.detector(logits, deltas.reshape(batch, count, -1), proposals, threshold, self.operators)

    def _masks(self, maps: list[Tensor], boxes: Tensor, labels: Tensor, present: Tensor) -> Tensor:
        def head(rows: Tensor | slice) -> Tensor:
            crops = self._crop(maps, self.mask_pool, boxes, rows)
            return self.mask_predictor(self.mask_head(crops), labels.flatten()[rows])

        masks = self.operators.on_present(head, present.flatten())
        return masks.reshape(*present.shape, *masks.shape[1:])

    def _crop(self, maps: list[Tensor], pool: Any, boxes: Tensor, rows: Tensor | slice) -> Tensor:
        batch, count = boxes.shape[:2]
        images = torch.arange(batch).unsqueeze(1).expand(batch, count).flatten()[rows]
        flat = boxes.flatten(0, 1)[rows]
        rois = Rois(flat, self.level_of_box(flat), images)
        pyramid = Pyramid(maps, self.scales, pool.sampling_ratio)
        return self.operators.roi_align(pyramid, rois, pool.output_size[0])


def _levels(features: Any) -> dict[str, Tensor]:
    return {"0": features} if isinstance(features, Tensor) else features


def _channelwise(values: tuple[float, ...], channels: int) -> Tensor:
    return 255 * torch.tensor(values[:channels]).view(1, channels, 1, 1)


def _feature_sizes(backbone: Any, channels: int, size_hw: tuple[int, int]) -> dict[str, tuple[int, int]]:
    with torch.no_grad():
        features = _levels(backbone(torch.zeros(1, channels, *size_hw)))
    return {name: (level.shape[2], level.shape[3]) for name, level in features.items()}


def _crop_like(backbone: Any, pool: Any) -> Tensor:
    return torch.zeros(1, backbone.out_channels, *pool.output_size)
