"""Mask R-CNNs with random weights that still detect, for tests and measurements."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torchvision.models import detection


def detecting(model: Any, image: torch.Tensor, *, classes_above: float = 3.0, seed: int = 0) -> Any:
    """Scale random weights so that the model finds a few dozen objects of several classes on a real image.

    Args:
        model: torchvision `MaskRCNN` with random weights.
        image: `float32[3, H, W]`, RGB in 0 to 1.
        classes_above: Gain on class logits; larger finds more.
        seed: Of the noise in batch-norm gains.
    """
    torch.manual_seed(seed)
    model.eval()
    normal = (image - image.mean((1, 2), keepdim=True)) / image.std((1, 2), keepdim=True)
    hooks = [
        module.register_forward_pre_hook(_settle)
        for module in model.modules()
        if hasattr(module, "running_mean")
    ]
    with torch.no_grad():
        features = model.backbone(normal[None])
        for hook in hooks:
            hook.remove()
        for name, level in features.items():
            features[name] = level
        head = model.rpn.head
        logits, deltas = head(list(features.values()))
        _rescale(head.cls_logits, torch.cat([x.flatten() for x in logits]), 2.0)
        _rescale(head.bbox_pred, torch.cat([x.flatten() for x in deltas]), 0.15)
        _settle_heads(model, features, normal, classes_above)
    return model


def _settle_heads(model: Any, features: Any, image: torch.Tensor, gain: float) -> None:
    heads = model.roi_heads
    images = detection.image_list.ImageList(image[None], [tuple(image.shape[1:])])
    proposals, _ = model.rpn(images, features)
    hooks = [m.register_forward_pre_hook(_settle) for m in heads.modules() if hasattr(m, "running_mean")]
    crops = heads.box_roi_pool(features, proposals, images.image_sizes)
    logits, deltas = heads.box_predictor(heads.box_head(crops))
    _rescale(heads.box_predictor.cls_score, logits - logits.mean(0), gain)
    heads.box_predictor.cls_score.bias -= heads.box_predictor(heads.box_head(crops))[0].mean(0)
    heads.box_predictor.cls_score.bias[0] += 2.0
    _rescale(heads.box_predictor.bbox_pred, deltas, 0.5)
    crops = heads.mask_roi_pool(features, [proposals[0][:20]], images.image_sizes)
    masks = heads.mask_predictor(heads.mask_head(crops))
    _rescale(heads.mask_predictor.mask_fcn_logits, masks, 3.0)
    for hook in hooks:
        hook.remove()


def _settle(module: Any, inputs: tuple[torch.Tensor]) -> None:
    (x,) = inputs
    module.running_mean.copy_(x.mean((0, 2, 3)))
    module.running_var.copy_(x.var((0, 2, 3)) + 1e-3)


def _rescale(layer: nn.Module, output: torch.Tensor, target: float) -> None:
    layer.weight.mul_(target / output.std())
