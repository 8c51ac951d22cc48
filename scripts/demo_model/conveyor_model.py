"""The demonstration's Mask R-CNN: MobileNetV2 with a feature pyramid and narrow heads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torchvision.models import mobilenet_v2
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import _mobilenet_extractor
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.misc import FrozenBatchNorm2d

if TYPE_CHECKING:
    from pathlib import Path

SIZE_HW = (384, 512)
"""Network input, in pixels; the scene's 480x640 fits it exactly at a scale of 0.8."""

# What bounds the cost of a training step on a CPU: fewer sampled anchors and proposals than torchvision's.
SAMPLING = {
    "rpn_batch_size_per_image": 128,
    "rpn_pre_nms_top_n_train": 600,
    "rpn_post_nms_top_n_train": 300,
    "box_batch_size_per_image": 64,
}


def build_model(num_classes: int, backbone_weights: Path | None = None) -> MaskRCNN:
    """Build the network.

    Args:
        num_classes: Number of classes with the background.
        backbone_weights: State dict of torchvision's `mobilenet_v2`; None leaves the body random, for a
            checkpoint to fill.

    Returns:
        A model whose architecture can be read from its state dict's shapes: torchvision's own anchors for a
        MobileNet (15 a location), levels at strides 8, 16, 32 and 64.
    """
    body = mobilenet_v2(weights=None, norm_layer=FrozenBatchNorm2d)
    if backbone_weights is not None:
        body.load_state_dict(
            torch.load(backbone_weights, map_location="cpu", weights_only=True), strict=False
        )
    levels = ["0", "1", "2"]
    return MaskRCNN(
        _mobilenet_extractor(body, True, 6, returned_layers=[2, 3, 4]),
        None,
        min_size=SIZE_HW[0],
        max_size=SIZE_HW[1],
        rpn_anchor_generator=AnchorGenerator(((32, 64, 128, 256, 512),) * 4, ((0.5, 1.0, 2.0),) * 4),
        box_roi_pool=MultiScaleRoIAlign(levels, 7, 2),
        box_head=TwoMLPHead(256 * 7 * 7, 256),
        box_predictor=FastRCNNPredictor(256, num_classes),
        mask_roi_pool=MultiScaleRoIAlign(levels, 14, 2),
        mask_head=MaskRCNNHeads(256, (128, 128, 128), 1),
        mask_predictor=MaskRCNNPredictor(128, 128, num_classes),
        **SAMPLING,
    )


def tensor_from_frame(image_bgr: object) -> torch.Tensor:
    """Convert `uint8[H, W, 3]` BGR to `float32[3, H, W]` RGB in 0 to 1, as torchvision's models take it."""
    return torch.as_tensor(image_bgr).flip(-1).permute(2, 0, 1).float() / 255
