"""COCO average precision of a model on scenes it has not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from conveyor_model import tensor_from_frame
from torch import nn

from edgeseg.dataset.average_precision import average_precision
from edgeseg.demo.truth import coco_from_frames, rle_from_mask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgeseg.demo.conveyor import ConveyorFrame


@torch.inference_mode()
def score_model(model: nn.Module, frames: list[ConveyorFrame]) -> dict[str, float]:
    """Measure a torchvision detection model.

    Args:
        model: Takes a list of `float32[3, H, W]` RGB images; put in evaluation mode here.
        frames: Frames with truth.

    Returns:
        `box_ap`, `box_ap50`, `mask_ap`, `mask_ap50` in 0 to 1, at most 100 detections an image, and the mask
        AP of each class that a frame shows as `mask_ap_<name>`.
    """
    model.eval()
    results: list[dict[str, Any]] = []
    for image_id, frame in enumerate(frames, start=1):
        output = model([tensor_from_frame(frame.image)])[0]
        results += _coco_results({name: value.float().numpy() for name, value in output.items()}, image_id)
    scores = average_precision(coco_from_frames(frames), results)
    overall = {name: getattr(scores, name) for name in ("box_ap", "box_ap50", "mask_ap", "mask_ap50")}
    return overall | {f"mask_ap_{name}": value for name, value in scores.mask_ap_by_class.items()}


def _coco_results(output: dict[str, NDArray[np.float32]], image_id: int) -> list[dict[str, Any]]:
    rows = zip(output["boxes"], output["scores"], output["labels"], output["masks"], strict=True)
    return [
        {
            "image_id": image_id,
            "category_id": int(label),
            "bbox": [float(x) for x in (box[0], box[1], box[2] - box[0], box[3] - box[1])],
            "score": float(score),
            "segmentation": rle_from_mask(mask[0] >= 0.5),
        }
        for box, score, label, mask in rows
    ]
