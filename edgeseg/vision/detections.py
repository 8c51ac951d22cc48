"""Detections: the instances found in one frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeseg.errors import InputError
from edgeseg.optional import require

from .masks import MaskCrop, dense_masks
from .rle import rle_from_crops

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detections:
    """N instances found in one frame, in descending order of score.

    Attributes:
        boxes_xyxy: `float32[N, 4]`, in pixels of the frame.
        scores: `float32[N]`, from 0 to 1.
        labels: `int32[N]`, indices into `class_names`; 0 is the background and does not occur.
        masks: N masks, each cropped to its box; `dense_masks()` gives them as full frames.
        frame_size_hw: Height and width of the frame, in pixels.
        class_names: Name of each class, by label.
        track_ids: `int64[N]`, a number from 1 that an object keeps in all frames, or 0 for an object that was
            not seen often enough to have one. None if nothing is tracked.

    Example:
        >>> import cv2, edgeseg
        >>> detections = edgeseg.load("edgeseg-model")(cv2.imread("parts.png"))
        >>> len(detections), detections.names, detections.labels.tolist()
        (3, ['bolt', 'nut', 'washer'], [1, 2, 3])
        >>> detections.boxes_xyxy[0].tolist(), detections.masks[0].pixels.shape
        ([4.0, 6.0, 20.0, 30.0], (26, 18))
        >>> detections[detections.scores > 0.65].names
        ['bolt', 'nut']
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int32]
    masks: tuple[MaskCrop, ...]
    frame_size_hw: tuple[int, int]
    class_names: tuple[str, ...]
    track_ids: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        count = len(self.scores)
        shapes = {
            "boxes_xyxy": (self.boxes_xyxy.shape, (count, 4)),
            "scores": (self.scores.shape, (count,)),
            "labels": (self.labels.shape, (count,)),
            "masks": ((len(self.masks),), (count,)),
        }
        if self.track_ids is not None:
            shapes["track_ids"] = (self.track_ids.shape, (count,))
        for name, (found, expected) in shapes.items():
            if found != expected:
                msg = f"{name} must have shape {expected} for {count} scores, got {found}"
                raise InputError(msg)
        known = len(self.class_names)
        if count and not 0 < int(self.labels.min()) <= int(self.labels.max()) < known:
            msg = f"labels must be 1 to {known - 1}, got {self.labels.min()} to {self.labels.max()}"
            raise InputError(msg)

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Detections]:
        """Iterate over the instances, each as `Detections` with N = 1."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, rows: int | slice | list[int] | NDArray[Any]) -> Detections:
        """Select instances by an index, a slice, indices `int[M]` or a condition `bool[N]`.

        Example:
            >>> import cv2, edgeseg
            >>> detections = edgeseg.load("edgeseg-model")(cv2.imread("parts.png"))
            >>> detections[0].names, detections[1:].names, detections[[2, 0]].names
            (['bolt'], ['nut', 'washer'], ['washer', 'bolt'])
        """
        index = np.atleast_1d(np.arange(len(self))[rows])
        return Detections(
            boxes_xyxy=self.boxes_xyxy[index],
            scores=self.scores[index],
            labels=self.labels[index],
            masks=tuple(self.masks[i] for i in index.tolist()),
            frame_size_hw=self.frame_size_hw,
            class_names=self.class_names,
            track_ids=None if self.track_ids is None else self.track_ids[index],
        )

    @property
    def names(self) -> list[str]:
        """Class name of each instance, in the order of `labels`."""
        return [self.class_names[label] for label in self.labels]

    def dense_masks(self) -> NDArray[np.bool_]:
        """Return the masks as full frames: `bool[N, H, W]`, which takes 2 MB per instance at 1920x1080.

        Example:
            >>> import cv2, edgeseg
            >>> detections = edgeseg.load("edgeseg-model")(cv2.imread("parts.png"))
            >>> masks = detections.dense_masks()
            >>> masks.shape, masks.dtype.name, int(masks[0].sum())
            ((3, 64, 96), 'bool', 80)
        """
        return dense_masks(self.masks, self.frame_size_hw)

    def polygons(self) -> list[list[NDArray[np.int32]]]:
        """Trace the outer outline of each connected part of each mask.

        Returns:
            For each instance, one `int32[P, 2]` for each part of its mask: P points x, y in pixels of the
            frame. An empty mask has none.

        Example:
            >>> import cv2, edgeseg
            >>> detections = edgeseg.load("edgeseg-model")(cv2.imread("parts.png"))
            >>> [[outline.shape for outline in outlines] for outlines in detections.polygons()]
            [[(16, 2)], [(40, 2)], [(48, 2)]]
        """
        found = []
        for crop in self.masks:
            outlines = (
                cv2.findContours(
                    crop.pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(crop.left, crop.top)
                )[0]
                if crop.pixels.size
                else ()
            )
            found.append([outline.reshape(-1, 2).astype(np.int32) for outline in outlines])
        return found

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """Convert to COCO results: image_id, category_id (the label), bbox xywh, score, segmentation as RLE.

        If objects are tracked, each result also has a `track_id`, which COCO's own tools ignore.

        Example:
            >>> import cv2, edgeseg, json
            >>> detections = edgeseg.load("edgeseg-model")(cv2.imread("parts.png"))
            >>> result = detections.to_coco(image_id=7)[0]
            >>> json.dumps({key: result[key] for key in ("image_id", "category_id", "bbox", "score")})
            '{"image_id": 7, "category_id": 1, "bbox": [4.0, 6.0, 16.0, 24.0], "score": 0.9}'
            >>> result["segmentation"]["size"]
            [64, 96]
        """
        boxes = self.boxes_xyxy.astype(float)
        masks = rle_from_crops(self.masks, self.frame_size_hw)
        boxes[:, 2:] -= boxes[:, :2]
        rows = zip(self.labels, boxes, self.scores, masks, strict=True)
        results: list[dict[str, Any]] = [
            {
                "image_id": image_id,
                "category_id": int(label),
                "bbox": [round(value, 3) for value in box],
                "score": round(float(score), 6),
                "segmentation": segmentation,
            }
            for label, box, score, segmentation in rows
        ]
        return self._with_track_ids(results)

    def to_json(self) -> list[dict[str, Any]]:
        """Convert to JSON's types: class, label, score, box in frame pixels, mask area and track id.

        Example:
            >>> import cv2, edgeseg
            >>> detections = edgeseg.load("edgeseg-model")(cv2.imread("parts.png"))
            >>> detections.to_json()[0]
            {'class': 'bolt', 'label': 1, 'score': 0.9, 'box_xyxy': [4.0, 6.0, 20.0, 30.0], 'area_px': 80}
        """
        rows = zip(self.names, self.labels, self.scores, self.boxes_xyxy, self.masks, strict=True)
        instances: list[dict[str, Any]] = [
            {
                "class": name,
                "label": int(label),
                "score": round(float(score), 6),
                "box_xyxy": [round(float(value), 3) for value in box],
                "area_px": int(np.count_nonzero(mask.pixels)),
            }
            for name, label, score, box, mask in rows
        ]
        return self._with_track_ids(instances)

    def to_supervision(self) -> Any:
        """Convert to `supervision.Detections`, with dense masks.

        Raises:
            DependencyError: supervision is not installed.

        Example:
            >>> import cv2, edgeseg
            >>> detections = edgeseg.load("edgeseg-model")(cv2.imread("parts.png"))
            >>> converted = detections.to_supervision()
            >>> converted.class_id.tolist(), converted.mask.shape
            ([1, 2, 3], (3, 64, 96))
        """
        supervision = require("supervision", purpose="convert detections")
        return supervision.Detections(
            xyxy=self.boxes_xyxy,
            mask=self.dense_masks(),
            confidence=self.scores,
            class_id=self.labels.astype(int),
            data={"class_name": np.array(self.names, dtype=str)},
            tracker_id=None if self.track_ids is None else self.track_ids.astype(int),
        )

    def draw(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Draw masks, outlines and names over a copy of the frame; both are `uint8[H, W, 3]`, BGR.

        Raises:
            InputError: The frame is not of `frame_size_hw` or not `uint8`.

        Example:
            >>> import cv2, edgeseg
            >>> frame = cv2.imread("parts.png")
            >>> detections = edgeseg.load("edgeseg-model")(frame)
            >>> cv2.imwrite("drawn.png", detections.draw(frame))
            True
        """
        from .drawing import draw_detections

        return draw_detections(self, frame)

    def _with_track_ids(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.track_ids is not None:
            for row, track_id in zip(rows, self.track_ids.tolist(), strict=True):
                row["track_id"] = track_id or None
        return rows
