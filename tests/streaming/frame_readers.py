"""An intake of frames made by hand."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.streaming.frame_reader import FrameReader
from edgeseg.vision.frames import Frame, SourceKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgeseg.vision.frames import Skipped


class ListIntake(FrameReader):
    """Gives the items of a list, and raises those that are errors; or without end, by the clock.

    Args:
        items: Frames, what was skipped, errors; None for new frames at every time, like a camera.
        kind: Of source.
        period_s: Between two frames of a camera.
    """

    kind = SourceKind.VIDEO
    names, rates_fps, total, reconnects = ("clip.mp4",), (10.0,), None, 0
    dropped: Mapping[str, int] = MappingProxyType({"clip.mp4": 0})

    def __init__(
        self,
        items: Iterable[Frame | Skipped | BaseException] | None = None,
        kind: SourceKind = SourceKind.VIDEO,
        period_s: float = 0.0,
    ) -> None:
        self.items, self.kind, self.period_s = None if items is None else list(items), kind, period_s
        self.closed = False
        self.asked: list[int] = []
        self.ended = threading.Event()
        self._next_s = 0.0

    def take(self, count: int) -> list[Frame | Skipped]:
        self.asked.append(count)
        if self.items is None:
            return self._newest()
        if self.ended.is_set() or not self.items:
            return []
        if isinstance(self.items[0], BaseException):
            raise self.items[0]
        taken: list[Frame | Skipped] = []
        for item in self.items[:count]:
            if isinstance(item, BaseException):
                break
            taken.append(item)
        self.items = self.items[len(taken) :]
        return taken

    def _newest(self) -> list[Frame | Skipped]:
        self.ended.wait(max(0.0, self._next_s - time.monotonic()))
        if self.ended.is_set():
            return []
        now = time.monotonic()
        self._next_s = now + self.period_s
        return [replace(frames(1)[0], captured_s=now)]

    def stop(self) -> None:
        self.ended.set()

    def close(self) -> None:
        self.closed = True
        self.ended.set()


def frames(count: int) -> list[Frame]:
    return [
        Frame(image=np.full((64, 96, 3), index, np.uint8), name="clip.mp4", image_id=index, time_s=index / 10)
        for index in range(count)
    ]
