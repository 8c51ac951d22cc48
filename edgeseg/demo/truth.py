"""The scene's exact ground truth in COCO's annotation format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .conveyor import PART_NAMES, ConveyorFrame

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


def coco_from_frames(
    frames: Iterable[ConveyorFrame], *, file_pattern: str = "{image_id:06d}.png"
) -> dict[str, Any]:
    """Describe frames as a COCO annotation file.

    Args:
        frames: Frames of one or several scenes; read once, so a generator will do.
        file_pattern: Format string of the images' names; it may use `image_id` and the frame's `index`.

    Returns:
        A JSON-ready dictionary with `info`, `images`, `annotations` and `categories`. Images are numbered
        from 1 in the order given, category `i` is `PART_NAMES[i - 1]`. Masks are run-length encoded, boxes
        are xywh in pixels; `track_id` is the part's number in its own scene.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, frame in enumerate(frames, start=1):
        height, width = frame.image.shape[:2]
        name = file_pattern.format(image_id=image_id, index=frame.index)
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        for row in range(len(frame.labels)):
            annotations.append(_annotation(frame, row, image_id, len(annotations) + 1))
    return {
        "info": {"description": "edgeseg synthetic conveyor, exact ground truth"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(PART_NAMES, start=1)],
    }


def rle_from_mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Encode one mask.

    Args:
        mask: `bool[H, W]`.

    Returns:
        COCO's compressed run-length encoding: `size` as `[H, W]` and `counts` as text.
    """
    from pycocotools import mask as coco_mask

    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def _annotation(frame: ConveyorFrame, row: int, image_id: int, annotation_id: int) -> dict[str, Any]:
    x1, y1, x2, y2 = (float(side) for side in frame.boxes_xyxy[row])
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": int(frame.labels[row]),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": int(frame.masks[row].sum()),
        "segmentation": rle_from_mask(frame.masks[row]),
        "iscrowd": 0,
        "track_id": int(frame.track_ids[row]),
    }
