"""Frames and detections made by hand, for what writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeseg.runtime.host.health import Health
from edgeseg.streaming.results import FrameResult, RenderedFrame, Status
from edgeseg.vision.detections import Detections
from edgeseg.vision.frames import Frame, Skipped
from edgeseg.vision.masks import MaskCrop

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

NAMES = ("__background__", "bolt", "nut")


def make_frame(name: str = "a.png", size_hw: tuple[int, int] = (40, 60), **facts: Any) -> Frame:
    return Frame(image=np.full((*size_hw, 3), 90, np.uint8), name=name, **{"image_id": 1, **facts})


def make_detections(count: int = 2, size_hw: tuple[int, int] = (40, 60)) -> Detections:
    """Squares of 10 pixels one beside the other, labelled 1 and 2 by turns."""
    lefts = 12 * np.arange(count, dtype=np.float32)
    tops = np.full_like(lefts, 3)
    return Detections(
        boxes_xyxy=np.stack([lefts, tops, lefts + 10, tops + 10], -1),
        scores=np.linspace(0.9, 0.6, count, dtype=np.float32),
        labels=1 + np.arange(count, dtype=np.int32) % 2,
        masks=tuple(MaskCrop(pixels=np.ones((10, 10), np.uint8), left=int(left), top=3) for left in lefts),
        frame_size_hw=size_hw,
        class_names=NAMES,
    )


def make_status(**facts: Any) -> Status:
    given: dict[str, Any] = {
        "uptime_s": 2.0,
        "frames": 20,
        "fps": 10.0,
        "stages_ms": {"read": 1.0, "prepare": 2.0, "infer": 90.0, "finish": 3.0, "output": 4.0},
        "age_ms": None,
        "dropped": {},
        "skipped": 0,
        "reconnects": 0,
        "score_threshold": 0.5,
        "instances_by_class": {"bolt": 1, "nut": 1},
        "health": Health(cpu_percent=50.0),
    }
    return Status(**{**given, **facts})


def make_shown(
    frame: Frame | None = None, detections: Detections | None = None, **facts: Any
) -> RenderedFrame:
    """A frame as sinks get it, drawn as `Detections.draw` does; `facts` go into its result."""
    frame = make_frame() if frame is None else frame
    detections = make_detections(2, frame.image.shape[:2]) if detections is None else detections
    stages_ms = {"read": 1.0, "prepare": 2.0, "infer": 90.0, "finish": 3.0}
    result = FrameResult(frame=frame, detections=detections, **{"stages_ms": stages_ms, **facts})
    return RenderedFrame(result, make_status, lambda rendered: rendered.detections.draw(rendered.frame.image))


def as_frame(item: Frame | Skipped | FrameResult | None) -> Frame:
    """What must be a frame."""
    assert isinstance(item, Frame)
    return item


def as_skipped(item: Frame | Skipped | FrameResult | None) -> Skipped:
    """What must be an input that gave no frame."""
    assert isinstance(item, Skipped)
    return item


def all_frames(items: Iterable[Frame | Skipped]) -> list[Frame]:
    """Items that must all be frames."""
    return [as_frame(item) for item in items]


def time_of(frame: Frame) -> float:
    """When it is in its video or run, in seconds, which must be known."""
    assert frame.time_s is not None
    return frame.time_s


def capture_of(frame: Frame) -> float:
    """When a live source gave it, in seconds, which must be known."""
    assert frame.captured_s is not None
    return frame.captured_s
