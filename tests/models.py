"""Mask R-CNNs with random weights that still detect, for tests and measurements."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import mobilenet_backbone, resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList
from torchvision.models.resnet import BasicBlock, Bottleneck

from edgeseg.spec import ModelSpec, Preprocess

if TYPE_CHECKING:
    import numpy as np

MOBILENET_ANCHORS = AnchorGenerator(((32, 64, 128, 256, 512),) * 3, ((0.5, 1.0, 2.0),) * 3)


def build(name: str, classes: int) -> Any:
    """Build one of the architectures that the design lists, with random weights."""
    torch.manual_seed(1)
    if name in ("maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2"):
        return getattr(detection, name)(weights=None, weights_backbone=None, num_classes=classes)
    if name.startswith("mobilenet"):
        backbone = mobilenet_backbone(backbone_name=name, weights=None, fpn=True)
        return detection.MaskRCNN(backbone, classes, rpn_anchor_generator=MOBILENET_ANCHORS)
    return detection.MaskRCNN(resnet_fpn_backbone(backbone_name=name, weights=None), classes)


def spec_of(model: Any, size_hw: tuple[int, int], **changes: Any) -> ModelSpec:
    """Make the spec that an export of `model` has."""
    classes = model.roi_heads.mask_predictor.mask_fcn_logits.weight.shape[0]
    facts: dict[str, Any] = {
        "class_names": tuple(f"class_{label}" for label in range(classes)),
        "input_size_hw": size_hw,
        "architecture": "test",
        "checkpoint": "test.pth",
        "checkpoint_sha256": "0" * 64,
        "versions": {},
    }
    return ModelSpec(**{**facts, **changes})


def detecting(model: Any, images: np.ndarray, *, pairs: int = 30) -> Any:
    """Scale random weights so that the model finds some dozen objects of several classes on real images.

    Args:
        model: torchvision `MaskRCNN` with random weights; changed.
        images: `uint8[B, H, W, 3]`, BGR; several, or other images give all or nothing.
        pairs: How many (proposal, class) pairs score above 0.05 on each, at least; NMS leaves a part.
    """
    model.eval()
    with torch.no_grad():
        batch = _normalised(images)
        _calm(model.backbone)
        features = _settled(model.backbone, batch.tensors)
        features = features if isinstance(features, dict) else OrderedDict([("0", features)])
        _settle_proposals(model.rpn.head, list(features.values()))
        proposals, _ = model.rpn(batch, features)
        _settle_boxes(model.roi_heads, features, proposals, batch.image_sizes, pairs)
        _settle_masks(model.roi_heads, features, proposals, batch.image_sizes)
    return model


def _calm(backbone: nn.Module) -> None:
    """Weaken the residual branches: a hundred random ones in a row blow rounding errors up a thousandfold."""
    for block in backbone.modules():
        if isinstance(block, Bottleneck | BasicBlock):
            last = block.bn3 if isinstance(block, Bottleneck) else block.bn2
            last.weight.mul_(0.3)


def _normalised(images: np.ndarray) -> ImageList:
    rgb = torch.from_numpy(images[..., ::-1].copy()).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (Preprocess().mean_rgb, Preprocess().std_rgb))
    return ImageList((rgb - mean) / std, [tuple(images.shape[1:3])] * len(images))


def _settle_proposals(head: Any, features: list[torch.Tensor]) -> None:
    logits, deltas = _settled(head, features)
    _rescale(head.cls_logits, torch.cat([level.flatten() for level in logits]), 2.0)
    _rescale(head.bbox_pred, torch.cat([level.flatten() for level in deltas]), 0.15)


def _settle_boxes(heads: Any, features: Any, proposals: Any, sizes: Any, pairs: int) -> None:
    vectors = _settled(heads.box_head, heads.box_roi_pool(features, proposals, sizes))
    # A random network tells images apart better than what is in them: make the classifier blind to that.
    means = torch.stack([rows.mean(0) for rows in vectors.split([len(boxes) for boxes in proposals])])
    between = torch.linalg.qr((means - means.mean(0)).T)[0][:, : len(means) - 1]
    weight = heads.box_predictor.cls_score.weight
    weight -= weight @ between @ between.T
    logits, deltas = heads.box_predictor(vectors)
    _rescale(heads.box_predictor.cls_score, logits - logits.mean(0), 2.5)
    heads.box_predictor.cls_score.bias -= heads.box_predictor(vectors)[0].mean(0)
    _rescale(heads.box_predictor.bbox_pred, deltas, 0.5)
    logits = heads.box_predictor(vectors)[0]
    low, high = -20.0, 40.0
    for _ in range(30):
        middle = (low + high) / 2
        shifted = logits.clone()
        shifted[:, 0] += middle
        above = (shifted.softmax(-1)[:, 1:] > 0.05).sum(1).split([len(boxes) for boxes in proposals])
        low, high = (middle, high) if min(map(sum, above)) > pairs else (low, middle)
    heads.box_predictor.cls_score.bias[0] += high


def _settle_masks(heads: Any, features: Any, proposals: Any, sizes: Any) -> None:
    crops = heads.mask_roi_pool(features, [boxes[:10] for boxes in proposals], sizes)
    masks = heads.mask_predictor(_settled(heads.mask_head, crops))
    _rescale(heads.mask_predictor.mask_fcn_logits, masks - masks.mean(), 3.0)


def _settled(module: nn.Module, inputs: Any) -> Any:
    """Run a module while each of its batch norms takes the statistics of what it is given."""
    norms = [child for child in module.modules() if hasattr(child, "running_mean")]
    hooks = [norm.register_forward_pre_hook(_take_statistics) for norm in norms]
    output = module(inputs)
    for hook in hooks:
        hook.remove()
    return output


def _take_statistics(norm: Any, inputs: tuple[torch.Tensor]) -> None:
    norm.running_mean.copy_(inputs[0].mean((0, 2, 3)))
    norm.running_var.copy_(inputs[0].var((0, 2, 3)) + 1e-3)


def _rescale(layer: Any, output: torch.Tensor, target: float) -> None:
    layer.weight.mul_(target / output.std())
