"""The numbers of a run as the page and other programs get them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeseg.streaming.controls import Controls
    from edgeseg.streaming.results import RenderedFrame, Scene

    from .frame_store import FrameStore, NewestFrame

# A slow model is no stalled stream: some frames of its own pace must be missing, and some seconds.
STALL_FRAMES = 4
STALL_S = 2.0


class StatusJson:
    """Tells how a run goes.

    Args:
        frame_store: Newest frames.
        controls: Of the run.
        source_names: In the order of `Frame.source`.
        title: Of the page.
    """

    def __init__(
        self, frame_store: FrameStore, controls: Controls, *, source_names: Sequence[str], title: str
    ) -> None:
        self._frame_store = frame_store
        self._controls = controls
        self.source_names = tuple(source_names)
        self._title = title
        self.ended = False

    def json(self) -> bytes:
        """The state of the run now, as a JSON object; docs/web.md has its keys."""
        return json.dumps(_finite(self._now()), ensure_ascii=False, allow_nan=False).encode(errors="replace")

    def _now(self) -> dict[str, Any]:
        now_s, status = time.monotonic(), self._frame_store.status
        sources = [
            self._source(name, self._frame_store.view(index), now_s)
            for index, name in enumerate(self.source_names)
        ]
        run = {} if status is None else {**_fields(status), "health": _fields(status.health)}
        return {
            "title": self._title,
            **run,
            "state": self._state(sources),
            # Not as of the last frame: the slider follows even when no frame comes.
            "score_threshold": self._controls.score_threshold,
            "sources": sources,
        }

    def _state(self, sources: list[dict[str, Any]]) -> str:
        if self.ended:
            return "ended"
        states = {source["state"] for source in sources}
        return next((state for state in ("running", "stalled") if state in states), "waiting")

    def _source(self, name: str, view: NewestFrame, now_s: float) -> dict[str, Any]:
        if view.rendered is None:
            return {"name": name, "state": "waiting"}
        since_s = now_s - view.received_s
        tolerance_s = STALL_S + STALL_FRAMES * self._interval_s(view)
        state = "stalled" if since_s > tolerance_s else "running"
        return {
            "name": name,
            "state": "ended" if self.ended else state,
            "since_s": since_s,
            **_found(view.rendered),
        }

    def _interval_s(self, view: NewestFrame) -> float:
        """From one frame of a source to the next; the rate of the run until a second one has come."""
        if view.interval_s is not None:
            return view.interval_s
        status = self._frame_store.status
        return len(self.source_names) / status.fps if status is not None and status.fps > 0 else 0.0


def _found(rendered: RenderedFrame) -> dict[str, Any]:
    result = rendered.result
    height, width = result.detections.frame_size_hw
    return {
        "frame": result.frame.name,
        "image_id": result.frame.image_id,
        "time_s": result.frame.time_s,
        "age_ms": result.age_ms,
        "width": width,
        "height": height,
        "objects": result.detections.to_json(),
        "scene": None if result.scene is None else _counts(result.scene),
    }


def _counts(scene: Scene) -> dict[str, Any]:
    return {
        "entered": scene.entered,
        "left": scene.left,
        "entered_by_class": dict(scene.entered_by_class),
        "lines": [
            {"name": line.name, "forward": line.forward, "backward": line.backward} for line in scene.lines
        ],
        "zones": [
            {"name": zone.name, "inside": zone.inside, "entered": zone.entered} for zone in scene.zones
        ],
    }


def _fields(record: Any) -> dict[str, Any]:
    # Not `asdict`, which copies in depth: some mappings cannot be copied.
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _finite(value: Any) -> Any:
    """Round numbers to what anybody reads; JSON has no NaN, so that becomes null, and no numbers of NumPy."""
    if isinstance(value, Integral):
        return value if isinstance(value, bool) else int(value)
    if isinstance(value, Real):
        return round(float(value), 4) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
