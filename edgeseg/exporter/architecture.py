"""Which Mask R-CNN a checkpoint belongs to, read from the names and shapes of its tensors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign

from edgeseg.errors import InputError

from .backbone import backbone_from_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

RESNET_ANCHOR_SIZES = ((32,), (64,), (128,), (256,), (512,))
MOBILENET_ANCHOR_SIZES = (32, 64, 128, 256, 512)
ASPECT_RATIOS = (0.5, 1.0, 2.0)
# Not visible in any tensor; torchvision's own default.
MASK_POOL_SIDE = 14
USE_FACTORY = "name a function that builds the model with --factory package.module:function"
REQUIRED = (
    "backbone.fpn.inner_blocks.0.0.weight",
    "rpn.head.conv.0.0.weight",
    "rpn.head.cls_logits.weight",
    "roi_heads.box_predictor.cls_score.weight",
    "roi_heads.mask_head.0.0.weight",
    "roi_heads.mask_predictor.conv5_mask.weight",
    "roi_heads.mask_predictor.mask_fcn_logits.weight",
)


def model_from_weights(weights: Mapping[str, Tensor]) -> tuple[str, MaskRCNN]:
    """Build the model that a state_dict belongs to and load it.

    Returns:
        torchvision's name of the architecture, such as `maskrcnn_resnet50_fpn_v2`, and the model.

    Raises:
        InputError: Not a Mask R-CNN that is known; says which tensors are the matter.
    """
    _check_kind(weights)
    backbone_name, backbone = backbone_from_weights(weights)
    levels = len(backbone.fpn.inner_blocks) + 1
    pooled = [str(index) for index in range(levels - 1)]
    channels = backbone.out_channels
    model = MaskRCNN(
        backbone,
        rpn_anchor_generator=_anchors(weights, levels),
        rpn_head=RPNHead(
            channels, _rows(weights, "rpn.head.cls_logits"), conv_depth=_count(weights, "rpn.head.conv")
        ),
        box_roi_pool=MultiScaleRoIAlign(pooled, _box_pool_side(weights, channels), sampling_ratio=2),
        box_head=_box_head(weights, channels),
        box_predictor=_box_predictor(weights),
        mask_roi_pool=MultiScaleRoIAlign(pooled, MASK_POOL_SIDE, sampling_ratio=2),
        mask_head=_mask_head(weights, channels),
        mask_predictor=_mask_predictor(weights),
    )
    load_weights(model, weights)
    normed = "backbone.fpn.inner_blocks.0.1.weight" in weights
    return f"maskrcnn_{backbone_name}_fpn" + ("_v2" if normed else ""), model


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load every tensor of a state_dict and put the model in evaluation.

    Raises:
        InputError: A tensor is missing, left over or of another shape; names the first of each.
    """
    own: dict[str, Tensor] = model.state_dict()
    # Batch norms count batches while training; older checkpoints and frozen norms lack the count.
    missing = [key for key in own if key not in weights and not key.endswith("num_batches_tracked")]
    extra = [key for key in weights if key not in own and not key.endswith("num_batches_tracked")]
    shapes = [
        f"{key} is {list(weights[key].shape)} and must be {list(own[key].shape)}"
        for key in own
        if key in weights and weights[key].shape != own[key].shape
    ]
    faults = [f"{len(missing)} missing such as {missing[0]}"] if missing else []
    faults += [f"{len(extra)} left over such as {extra[0]}"] if extra else []
    faults += shapes[:1]
    if faults:
        msg = f"the checkpoint does not fit {type(model).__name__}: {'; '.join(faults)}; {USE_FACTORY}"
        raise InputError(msg)
    model.load_state_dict({key: value for key, value in weights.items() if key in own}, strict=False)
    model.eval()


def _check_kind(weights: Mapping[str, Tensor]) -> None:
    missing = [key for key in REQUIRED if key not in weights]
    if not missing:
        return
    found = ", ".join(list(weights)[:3])
    kind = "not of a Mask R-CNN over a feature pyramid"
    if all("mask" in key for key in missing):
        kind = "of a Faster R-CNN, which has no mask head"
    msg = f"the checkpoint is {kind}: it lacks {missing[0]} and has {found}, ...; {USE_FACTORY}"
    raise InputError(msg)


def _anchors(weights: Mapping[str, Tensor], levels: int) -> AnchorGenerator:
    """Choose the anchors; tensors tell their number a location and not their sizes."""
    count = _rows(weights, "rpn.head.cls_logits")
    if count == len(ASPECT_RATIOS) and levels == len(RESNET_ANCHOR_SIZES):
        return AnchorGenerator(RESNET_ANCHOR_SIZES, (ASPECT_RATIOS,) * levels)
    if count == len(ASPECT_RATIOS) * len(MOBILENET_ANCHOR_SIZES):
        return AnchorGenerator((MOBILENET_ANCHOR_SIZES,) * levels, (ASPECT_RATIOS,) * levels)
    msg = f"{count} anchors a location on {levels} levels are not torchvision's defaults; {USE_FACTORY}"
    raise InputError(msg)


def _box_pool_side(weights: Mapping[str, Tensor], channels: int) -> int:
    layer = "roi_heads.box_head.fc6.weight"
    if layer not in weights:
        layer = f"roi_heads.box_head.{_count(weights, 'roi_heads.box_head') + 1}.weight"
    inputs = int(weights[layer].shape[1]) if layer in weights else 0
    side = math.isqrt(inputs // channels)
    if side == 0 or side * side * channels != inputs:
        msg = f"{layer} has {inputs} inputs, which are no square crop of {channels} channels; {USE_FACTORY}"
        raise InputError(msg)
    return side


def _box_head(weights: Mapping[str, Tensor], channels: int) -> Any:
    side = _box_pool_side(weights, channels)
    if "roi_heads.box_head.fc6.weight" in weights:
        return TwoMLPHead(channels * side * side, _rows(weights, "roi_heads.box_head.fc6"))
    convolutions = [
        _rows(weights, f"roi_heads.box_head.{index}.0")
        for index in range(_count(weights, "roi_heads.box_head"))
    ]
    dense = [_rows(weights, f"roi_heads.box_head.{len(convolutions) + 1}")]
    return FastRCNNConvFCHead((channels, side, side), convolutions, dense, norm_layer=nn.BatchNorm2d)


def _box_predictor(weights: Mapping[str, Tensor]) -> Any:
    classes, inputs = weights["roi_heads.box_predictor.cls_score.weight"].shape
    return FastRCNNPredictor(int(inputs), int(classes))


def _mask_head(weights: Mapping[str, Tensor], channels: int) -> Any:
    layers = [
        _rows(weights, f"roi_heads.mask_head.{index}.0")
        for index in range(_count(weights, "roi_heads.mask_head"))
    ]
    norm = nn.BatchNorm2d if "roi_heads.mask_head.0.1.weight" in weights else None
    return MaskRCNNHeads(channels, layers, 1, norm_layer=norm)


def _mask_predictor(weights: Mapping[str, Tensor]) -> Any:
    inputs, inner = weights["roi_heads.mask_predictor.conv5_mask.weight"].shape[:2]
    return MaskRCNNPredictor(
        int(inputs), int(inner), _rows(weights, "roi_heads.mask_predictor.mask_fcn_logits")
    )


def _rows(weights: Mapping[str, Tensor], layer: str) -> int:
    return int(weights[f"{layer}.weight"].shape[0])


def _count(weights: Mapping[str, Tensor], prefix: str) -> int:
    """Count the blocks `prefix.0.0`, `prefix.1.0`, ... that have weights."""
    count = 0
    while f"{prefix}.{count}.0.weight" in weights:
        count += 1
    return count
