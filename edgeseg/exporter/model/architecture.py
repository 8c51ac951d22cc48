"""Which Mask R-CNN a checkpoint belongs to, read from the names and shapes of its tensors."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from edgeseg.errors import InputError
from edgeseg.settings import ModelSettings, Origin, resolve_settings

from .backbone import backbone_from_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

ANCHOR_SIZES = (32, 64, 128, 256, 512)
ASPECT_RATIOS = (0.5, 1.0, 2.0)
FACTORY_HINT = "name a function that builds the model with --factory package.module:function"
SETTINGS_HINT = (
    "say them with --settings FILE.json, save the checkpoint with `edgeseg.save_checkpoint`, or "
    f"{FACTORY_HINT}"
)
# What must be there, and of how many dimensions.
REQUIRED = MappingProxyType(
    {
        "backbone.fpn.inner_blocks.0.0.weight": 4,
        "rpn.head.conv.0.0.weight": 4,
        "rpn.head.cls_logits.weight": 4,
        "roi_heads.box_predictor.cls_score.weight": 2,
        "roi_heads.mask_head.0.0.weight": 4,
        "roi_heads.mask_predictor.conv5_mask.weight": 4,
        "roi_heads.mask_predictor.mask_fcn_logits.weight": 4,
    }
)


# What tensors of other frameworks are called.
FRAMEWORKS = MappingProxyType(
    {
        "proposal_generator.rpn_head": "detectron2",
        "roi_head.mask_head": "MMDetection",
        "rpn_head.rpn_cls": "MMDetection",
        "model.0.conv.weight": "YOLO",
        "pixel_level_module": "Transformers",
        "class_embed": "a DETR",
    }
)


def model_from_weights(
    weights: Mapping[str, Tensor], settings: ModelSettings | None = None
) -> tuple[str, MaskRCNN]:
    """Build the model that a state_dict belongs to and load it.

    Args:
        weights: Tensors by torchvision's current names.
        settings: Settings that tensors do not show; None for torchvision's defaults.

    Returns:
        torchvision's name of the architecture, such as `maskrcnn_resnet50_fpn_v2`, and the model.

    Raises:
        InputError: The weights are not of a known Mask R-CNN; the message names the tensors.
    """
    if settings is None:
        settings, _ = resolve_settings([(Origin.ASSUMED, default_settings(weights))])
    name, model = _build(weights, settings)
    load_weights(model, weights)
    return name, model


def empty_model(weights: Mapping[str, Tensor], settings: ModelSettings) -> MaskRCNN:
    """Build the model that a state_dict belongs to without memory for its weights.

    Raises:
        InputError: As in `model_from_weights`.
    """
    with torch.device("meta"):
        return _build(weights, settings)[1]


def default_settings(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Choose torchvision's anchors by their number per location; no tensor has their sizes.

    Returns:
        `anchor_sizes` and `anchor_aspect_ratios`, with one size a level where the number is another.

    Raises:
        InputError: Not the weights of a Mask R-CNN.
    """
    _check_kind(weights)
    levels = _levels(weights)
    has_all_sizes = _output_count(weights, "rpn.head.cls_logits") == len(ASPECT_RATIOS) * len(ANCHOR_SIZES)
    sizes = (ANCHOR_SIZES,) * levels if has_all_sizes else tuple((size,) for size in ANCHOR_SIZES)
    return {"anchor_sizes": sizes, "anchor_aspect_ratios": (ASPECT_RATIOS,) * levels}


def class_count(model: MaskRCNN) -> int:
    """Count the classes of a model's classifier, background included.

    Raises:
        InputError: There is no classifier, or the mask head has fewer classes.
    """
    heads = model.roi_heads
    with torch.no_grad():
        crops = torch.zeros(1, model.backbone.out_channels, *heads.box_roi_pool.output_size)
        classes = int(heads.box_predictor(heads.box_head(crops))[0].shape[-1])
    _check_classes(classes, int(heads.mask_predictor.mask_fcn_logits.weight.shape[0]))
    return classes


def _build(weights: Mapping[str, Tensor], settings: ModelSettings) -> tuple[str, MaskRCNN]:
    _check_kind(weights)
    try:
        return _assemble(weights, settings)
    except (ValueError, IndexError, KeyError, RuntimeError, ZeroDivisionError) as exc:
        msg = f"the shapes of the checkpoint's tensors do not go together: {exc}; {FACTORY_HINT}"
        raise InputError(msg) from exc


def _assemble(weights: Mapping[str, Tensor], settings: ModelSettings) -> tuple[str, MaskRCNN]:
    backbone_name, backbone = backbone_from_weights(weights)
    levels = _levels(weights)
    pooled = [str(index) for index in range(levels - 1)]
    channels = backbone.out_channels
    model = MaskRCNN(
        backbone,
        min_size=settings.min_size,
        max_size=settings.max_size,
        image_mean=list(settings.image_mean),
        image_std=list(settings.image_std),
        rpn_anchor_generator=_anchors(weights, levels, settings),
        rpn_head=RPNHead(
            channels,
            _output_count(weights, "rpn.head.cls_logits"),
            conv_depth=_block_count(weights, "rpn.head.conv"),
        ),
        rpn_pre_nms_top_n_test=settings.rpn_pre_nms_top_n_test,
        rpn_post_nms_top_n_test=settings.rpn_post_nms_top_n_test,
        rpn_nms_thresh=settings.rpn_nms_thresh,
        rpn_score_thresh=settings.rpn_score_thresh,
        box_roi_pool=MultiScaleRoIAlign(
            pooled, _box_pool_side(weights, channels), sampling_ratio=settings.box_sampling_ratio
        ),
        box_head=_box_head(weights, channels),
        box_predictor=_box_predictor(weights),
        box_score_thresh=settings.box_score_thresh,
        box_nms_thresh=settings.box_nms_thresh,
        box_detections_per_img=settings.box_detections_per_img,
        bbox_reg_weights=settings.bbox_reg_weights,
        mask_roi_pool=MultiScaleRoIAlign(
            pooled, settings.mask_pool_size, sampling_ratio=settings.mask_sampling_ratio
        ),
        mask_head=_mask_head(weights, channels),
        mask_predictor=_mask_predictor(weights),
    )
    set_eps(model, settings)
    normed = "backbone.fpn.inner_blocks.0.1.weight" in weights
    return f"maskrcnn_{backbone_name}_fpn" + ("_v2" if normed else ""), model


def set_eps(model: nn.Module, settings: ModelSettings) -> None:
    """Give every batch norm of a model the `eps` that it was trained with."""
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d):
            module.eps = settings.eps_of(name)


def freeze_zero_eps(model: nn.Module) -> None:
    """Replace each `BatchNorm2d` with an `eps` of 0 by a frozen one, which computes the same in evaluation.

    PyTorch refuses to run the former; models made by older releases have them.
    """
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d) and child.eps == 0:
                frozen = FrozenBatchNorm2d(child.num_features, eps=0.0)
                state = child.state_dict()
                frozen.load_state_dict(
                    {key: state.get(key, value) for key, value in frozen.state_dict().items()}
                )
                setattr(parent, name, frozen.train(child.training))


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load every tensor of a state_dict and put the model in evaluation.

    Raises:
        InputError: A tensor is missing, left over or of another shape; the message names the first of each.
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
    problems = [f"{len(missing)} missing such as {missing[0]}"] if missing else []
    problems += [f"{len(extra)} left over such as {extra[0]}"] if extra else []
    problems += shapes[:1]
    if problems:
        msg = f"the checkpoint does not fit {type(model).__name__}: {'; '.join(problems)}; {FACTORY_HINT}"
        raise InputError(msg)
    model.load_state_dict({key: value for key, value in weights.items() if key in own}, strict=False)
    model.eval()


def _check_kind(weights: Mapping[str, Tensor]) -> None:
    missing = [key for key in REQUIRED if key not in weights]
    if not missing:
        for key, dimensions in REQUIRED.items():
            if weights[key].ndim != dimensions:
                msg = f"{key} must have {dimensions} dimensions and has the shape {list(weights[key].shape)}"
                raise InputError(msg)
        classes, masks = (
            _output_count(weights, "roi_heads.box_predictor.cls_score"),
            "roi_heads.mask_predictor",
        )
        _check_classes(classes, _output_count(weights, f"{masks}.mask_fcn_logits"))
        return
    found = ", ".join(list(weights)[:3])
    kind = "not of a Mask R-CNN over a feature pyramid"
    if all("mask" in key for key in missing):
        kind = "of a Faster R-CNN, which has no mask head"
    for signature, framework in FRAMEWORKS.items():
        if any(signature in key for key in weights):
            kind = f"of {framework}, and edgeseg takes torchvision's Mask R-CNN"
    msg = f"the checkpoint is {kind}: it lacks {missing[0]} and has {found}, ...; {FACTORY_HINT}"
    raise InputError(msg)


def _levels(weights: Mapping[str, Tensor]) -> int:
    """Count the levels of the pyramid: one a block, and one that is pooled from the last."""
    return _block_count(weights, "backbone.fpn.inner_blocks") + 1


def _anchors(weights: Mapping[str, Tensor], levels: int, settings: ModelSettings) -> AnchorGenerator:
    count = _output_count(weights, "rpn.head.cls_logits")
    sizes, ratios = settings.anchor_sizes, settings.anchor_aspect_ratios
    anchors_per_level = [len(one) * len(other) for one, other in zip(sizes, ratios, strict=False)]
    if len(sizes) != levels or len(ratios) != levels or set(anchors_per_level) != {count}:
        msg = (
            f"the checkpoint has {count} anchors a location on {levels} levels; anchor_sizes {_shown(sizes)} "
            f"and anchor_aspect_ratios {_shown(ratios)} are others; {SETTINGS_HINT}"
        )
        raise InputError(msg)
    return AnchorGenerator(sizes, ratios)


def _shown(rows: tuple[tuple[float, ...], ...]) -> str:
    return " ".join("(" + ", ".join(f"{number:g}" for number in row) + ")" for row in rows)


def _box_pool_side(weights: Mapping[str, Tensor], channels: int) -> int:
    layer = "roi_heads.box_head.fc6.weight"
    if layer not in weights:
        layer = f"roi_heads.box_head.{_block_count(weights, 'roi_heads.box_head') + 1}.weight"
    inputs = int(weights[layer].shape[1]) if layer in weights else 0
    side = math.isqrt(inputs // channels)
    if side == 0 or side * side * channels != inputs:
        msg = f"{layer} has {inputs} inputs, which are no square crop of {channels} channels; {FACTORY_HINT}"
        raise InputError(msg)
    return side


def _box_head(weights: Mapping[str, Tensor], channels: int) -> Any:
    side = _box_pool_side(weights, channels)
    if "roi_heads.box_head.fc6.weight" in weights:
        return TwoMLPHead(channels * side * side, _output_count(weights, "roi_heads.box_head.fc6"))
    convolutions = [
        _output_count(weights, f"roi_heads.box_head.{index}.0")
        for index in range(_block_count(weights, "roi_heads.box_head"))
    ]
    dense = [_output_count(weights, f"roi_heads.box_head.{len(convolutions) + 1}")]
    return FastRCNNConvFCHead((channels, side, side), convolutions, dense, norm_layer=nn.BatchNorm2d)


def _box_predictor(weights: Mapping[str, Tensor]) -> Any:
    classes, inputs = weights["roi_heads.box_predictor.cls_score.weight"].shape
    return FastRCNNPredictor(int(inputs), int(classes))


def _mask_head(weights: Mapping[str, Tensor], channels: int) -> Any:
    layers = [
        _output_count(weights, f"roi_heads.mask_head.{index}.0")
        for index in range(_block_count(weights, "roi_heads.mask_head"))
    ]
    norm = nn.BatchNorm2d if "roi_heads.mask_head.0.1.weight" in weights else None
    return MaskRCNNHeads(channels, layers, 1, norm_layer=norm)


def _mask_predictor(weights: Mapping[str, Tensor]) -> Any:
    inputs, inner = weights["roi_heads.mask_predictor.conv5_mask.weight"].shape[:2]
    return MaskRCNNPredictor(
        int(inputs), int(inner), _output_count(weights, "roi_heads.mask_predictor.mask_fcn_logits")
    )


def _check_classes(classes: int, masks: int) -> None:
    if classes < 2:
        msg = (
            f"the classifier (box_predictor.cls_score) has {classes} output, the background alone; it "
            "can find nothing; torchvision counts the background: train with num_classes = your classes + 1"
        )
        raise InputError(msg)
    if masks < classes:
        msg = (
            f"the classifier has {classes} classes with the background and the mask head "
            f"(mask_predictor.mask_fcn_logits) only {masks}, so that some have no mask; replace "
            "roi_heads.mask_predictor too and train again"
        )
        raise InputError(msg)


def _output_count(weights: Mapping[str, Tensor], layer: str) -> int:
    return int(weights[f"{layer}.weight"].shape[0])


def _block_count(weights: Mapping[str, Tensor], prefix: str) -> int:
    """Count the blocks `prefix.0.0`, `prefix.1.0`, ... that have weights."""
    count = 0
    while f"{prefix}.{count}.0.weight" in weights:
        count += 1
    return count
