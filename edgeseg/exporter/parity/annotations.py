"""Annotations beside the images of the parity check: what PyTorch itself finds with the chosen settings.

The check compares graphs with PyTorch, and both are built with the same settings: a wrong one shows only in
what is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.dataset.annotations import read_annotations
from edgeseg.errors import InputError
from edgeseg.vision.boxes import pairwise_iou
from edgeseg.vision.matching import SAME_OBJECT_IOU

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edgeseg.exporter.model.reference import ImageDetections
    from edgeseg.vision.letterbox import Letterbox


@dataclass(slots=True)
class Recall:
    """Number of annotated objects that were found, with any class."""

    annotated: int = 0
    found: int = 0

    def add(self, truth_xyxy: NDArray[np.float32], found: ImageDetections, letterbox: Letterbox) -> None:
        """Count one image.

        Args:
            truth_xyxy: `float32[N, 4]`, in pixels of the image.
            found: In pixels of the input.
            letterbox: Where the image lies in the input.
        """
        self.annotated += len(truth_xyxy)
        if len(truth_xyxy) and len(found.boxes_xyxy):
            overlap = pairwise_iou(truth_xyxy, letterbox.to_frame(found.boxes_xyxy))
            self.found += int((overlap.max(1) >= SAME_OBJECT_IOU).sum())


def annotated_boxes(folder: Path, paths: Sequence[Path]) -> list[NDArray[np.float32]]:
    """Find the boxes of images in COCO annotations (`*.json`) that lie in their folder.

    Args:
        folder: Other JSON files in it are passed over.
        paths: The images.

    Returns:
        `float32[N, 4]` xyxy for each image, in its pixels; N is 0 where nothing is annotated.
    """
    boxes: dict[str, list[list[float]]] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            annotations = read_annotations(path)
        except InputError:
            continue
        names = {image.image_id: image.file_name.rpartition("/")[2] for image in annotations.images}
        for item in annotations.instances:
            if not item["iscrowd"]:
                x, y, width, height = item["bbox"]
                boxes.setdefault(names[item["image_id"]], []).append([x, y, x + width, y + height])
    return [np.array(boxes.get(path.name, []), np.float32).reshape(-1, 4) for path in paths]
