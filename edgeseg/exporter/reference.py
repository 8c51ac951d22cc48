"""torchvision's own model as the reference, given the pixels that the graph is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.models.detection.image_list import ImageList

if TYPE_CHECKING:
    from edgeseg.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Detections of one image as a network gives them, in input pixels.

    Attributes:
        boxes_xyxy: `float32[N, 4]`.
        scores: `float32[N]`, descending.
        labels: `int64[N]`.
        masks: `float32[N, S, S]`, probabilities.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: NDArray[np.float32]


class Reference:
    """torchvision's eager `MaskRCNN` without its own resizing, so that only the network is compared.

    Args:
        model: torchvision `MaskRCNN` in evaluation, its counts and thresholds as in `spec`.
        spec: Preprocessing.
    """

    def __init__(self, model: Any, spec: ModelSpec) -> None:
        self._model = model
        self._mean = torch.tensor(spec.preprocess.mean_rgb).view(3, 1, 1)
        self._std = torch.tensor(spec.preprocess.std_rgb).view(3, 1, 1)
        self._threshold = spec.score_threshold
        self.most_candidates = 0

    def __call__(self, images: NDArray[np.uint8]) -> list[Found]:
        """Detect in `uint8[B, H, W, 3]` BGR; counts the (box, class) pairs on the way."""
        rgb = torch.from_numpy(images[..., ::-1].copy()).permute(0, 3, 1, 2).to(torch.float32) / 255
        batch = ImageList((rgb - self._mean) / self._std, [tuple(images.shape[1:3])] * len(images))
        hook = self._model.roi_heads.box_predictor.register_forward_hook(self._count_candidates)
        try:
            with torch.inference_mode():
                features = self._model.backbone(batch.tensors)
                features = {"0": features} if isinstance(features, torch.Tensor) else features
                proposals, _ = self._model.rpn(batch, features)
                self._rows = [len(boxes) for boxes in proposals]
                detections, _ = self._model.roi_heads(features, proposals, batch.image_sizes)
        finally:
            hook.remove()
        return [_found(image) for image in detections]

    def _count_candidates(self, module: Any, inputs: Any, outputs: tuple[Any, Any]) -> None:
        above = (outputs[0].softmax(-1)[:, 1:] > self._threshold).sum(1)
        most = max(int(image.sum()) for image in above.split(self._rows))
        self.most_candidates = max(self.most_candidates, most)


def _found(image: dict[str, Any]) -> Found:
    return Found(
        boxes_xyxy=image["boxes"].numpy(),
        scores=image["scores"].numpy(),
        labels=image["labels"].numpy(),
        masks=image["masks"][:, 0].numpy(),
    )
