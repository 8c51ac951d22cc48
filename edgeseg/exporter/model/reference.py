"""torchvision's own model as the reference, given the pixels that the graph is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models.detection.image_list import ImageList

if TYPE_CHECKING:
    from edgeseg.spec import ModelSpec, Preprocess


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDetections:
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
        channels = 1 if spec.preprocess.gray else 3
        self._preprocess = spec.preprocess
        self._mean = torch.tensor(spec.preprocess.mean_rgb[:channels]).view(channels, 1, 1)
        self._std = torch.tensor(spec.preprocess.std_rgb[:channels]).view(channels, 1, 1)
        self._threshold = spec.score_threshold
        self.most_candidates = 0

    def __call__(self, images: NDArray[np.uint8]) -> list[ImageDetections]:
        """Detect in `uint8[B, H, W, 3]` BGR; counts the (box, class) pairs on the way."""
        pixels = tensors_from_frames(images, self._preprocess)
        batch = ImageList((pixels - self._mean) / self._std, [tuple(images.shape[1:3])] * len(images))
        hook = self._model.roi_heads.box_predictor.register_forward_hook(self._count_candidates)
        try:
            with torch.inference_mode():
                features = self._model.backbone(batch.tensors)
                features = {"0": features} if isinstance(features, torch.Tensor) else features
                proposals, _ = self._model.rpn(batch, features)
                self._proposal_counts = [len(boxes) for boxes in proposals]
                detections, _ = self._model.roi_heads(features, proposals, batch.image_sizes)
        finally:
            hook.remove()
        return [_detections_of(image) for image in detections]

    def _count_candidates(self, module: Any, inputs: Any, outputs: tuple[Any, Any]) -> None:
        above_threshold = (outputs[0].softmax(-1)[:, 1:] > self._threshold).sum(1)
        most = max(int(image.sum()) for image in above_threshold.split(self._proposal_counts))
        self.most_candidates = max(self.most_candidates, most)


def tensors_from_frames(images: NDArray[np.uint8], preprocess: Preprocess) -> Tensor:
    """Convert frames to the input of torchvision's model.

    Args:
        images: `uint8[B, H, W, 3]`, BGR.
        preprocess: Says whether the model's images are gray.

    Returns:
        `float32[B, 3, H, W]` RGB in `[0, 1]`, or `float32[B, 1, H, W]` for a gray model.
    """
    rgb = torch.from_numpy(images[..., ::-1].copy()).permute(0, 3, 1, 2).to(torch.float32)
    return (gray_from_rgb(rgb) if preprocess.gray else rgb) / 255


def gray_from_rgb(rgb: Tensor) -> Tensor:
    """Brightness of `float32[B, 3, H, W]` in 0 to 255 as whole numbers `float32[B, 1, H, W]`.

    Source:
        ITU-R 601, as Pillow's `convert("L")` and OpenCV's `COLOR_BGR2GRAY` have it.
    """
    red, green, blue = rgb.split(1, 1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).round()


def _detections_of(image: dict[str, Any]) -> ImageDetections:
    return ImageDetections(
        boxes_xyxy=image["boxes"].numpy(),
        scores=image["scores"].numpy(),
        labels=image["labels"].numpy(),
        masks=image["masks"][:, 0].numpy(),
    )
