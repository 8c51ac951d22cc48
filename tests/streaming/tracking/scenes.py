"""Objects that move as a test says, and what a tracker makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import cv2
import numpy as np

from edgeseg.streaming.results import Scene
from edgeseg.streaming.tracking import SceneTracker, TrackConfig
from edgeseg.vision.detections import Detections
from edgeseg.vision.frames import Frame
from edgeseg.vision.masks import MaskCrop

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from numpy.typing import NDArray

NAMES = ("__background__", "bolt", "nut", "washer")
SIZE_HW = (480, 640)
FPS = 25.0


class Thing(TypedDict):
    """A disc around a centre, as it is detected."""

    at: tuple[float, float]
    side: float
    label: int
    score: float


def thing(x: float, y: float, *, side: float = 40, label: int = 1, score: float = 0.9) -> Thing:
    """See `Thing`."""
    return {"at": (x, y), "side": side, "label": label, "score": score}


def found(*things: Thing, size_hw: tuple[int, int] = SIZE_HW) -> Detections:
    by_score = sorted(things, key=lambda item: -item["score"])
    boxes = np.array(
        [(item["at"][0] - item["side"] / 2, item["at"][1] - item["side"] / 2) * 2 for item in by_score],
        np.float32,
    ).reshape(-1, 4)
    boxes[:, 2:] += np.array([item["side"] for item in by_score], np.float32)[:, None]
    return Detections(
        boxes_xyxy=boxes,
        scores=np.array([item["score"] for item in by_score], np.float32),
        labels=np.array([item["label"] for item in by_score], np.int32),
        masks=tuple(disc(box) for box in boxes),
        frame_size_hw=size_hw,
        class_names=NAMES,
    )


def disc(box: NDArray[np.float32]) -> MaskCrop:
    left, top, right, bottom = (round(float(value)) for value in box)
    pixels = np.zeros((bottom - top, right - left), np.uint8)
    half = (right - left) // 2, (bottom - top) // 2
    cv2.ellipse(pixels, half, half, 0, 0, 360, 1, -1)
    return MaskCrop(pixels=pixels, left=left, top=top)


class Stage:
    """A tracker, and frames for it at a steady rate."""

    def __init__(self, *, fps: float | None = FPS, threshold: float = 0.5, **config: Any) -> None:
        self.tracker = SceneTracker(TrackConfig(**config), fps=fps)
        self.threshold = threshold
        self.index = 0

    def show(
        self, *things: Thing, size_hw: tuple[int, int] = SIZE_HW, **facts: Any
    ) -> tuple[Detections, Scene]:
        facts = {"time_s": self.index / FPS, **facts}
        frame = Frame(image=np.zeros((1, 1, 3), np.uint8), name="scene", image_id=self.index, **facts)
        self.index += 1
        return self.tracker.update(frame, found(*things, size_hw=size_hw), self.threshold)

    def walk(self, path: Iterable[tuple[float, float]], **kind: Any) -> Scene:
        """Show one object at each place in turn."""
        scene = Scene()
        for x, y in path:
            _, scene = self.show(thing(x, y, **kind))
        return scene


def ids_of(detections: Detections) -> list[int]:
    """Track ids of what has been tracked."""
    assert detections.track_ids is not None
    return [int(number) for number in detections.track_ids]


def ids_at(detections: Detections) -> dict[tuple[int, int], int]:
    """Centre of each box, rounded to 10 pixels, to its id."""
    centres = (detections.boxes_xyxy[:, :2] + detections.boxes_xyxy[:, 2:]) / 2
    return {
        (round(x / 10) * 10, round(y / 10) * 10): number
        for (x, y), number in zip(centres.tolist(), ids_of(detections), strict=True)
    }
