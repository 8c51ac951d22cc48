"""Live sources that do what a test tells them, without a network or a clock."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.errors import InputError
from edgeseg.streaming.sources.live.latest_frames import LatestFrames
from edgeseg.streaming.sources.live.reader import LiveReader
from edgeseg.streaming.sources.live.reconnector import ReconnectPolicy
from edgeseg.vision.frames import Frame, LiveSource, Skipped, SourceKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOST = object()
QUICK = ReconnectPolicy(first_s=20.0, silent_s=20.0, pause_s=0.01, longest_pause_s=0.02, close_s=5.0)


class Camera:
    """Gives what is put in; counts how often it was opened, closed and left.

    Attributes:
        refusals: How many of the next openings fail.
        mute: While true, nothing that is put in comes out.
        hanging: While set, it ignores that it is left, as a driver that hangs.
    """

    def __init__(self, name: str = "cam") -> None:
        self.name, self.refusals, self.mute = name, 0, False
        self.opened = self.closed = 0
        self.hanging = threading.Event()
        self.hooks: list[queue.Queue[object]] = []

    def put(self, *values: object) -> None:
        for value in () if self.mute else values:
            self.hooks[-1].put(value)

    def open(self) -> Scripted:
        if self.refusals:
            self.refusals -= 1
            msg = f"{self.name} does not open"
            raise InputError(msg)
        self.opened += 1
        self.hooks.append(queue.Queue())
        self.put(0)
        return Scripted(self, self.hooks[-1])


class Scripted(LiveSource):
    kind, total, fps = SourceKind.LIVE, None, 25.0

    def __init__(self, camera: Camera, values: queue.Queue[object]) -> None:
        self._camera, self._values = camera, values

    def __iter__(self) -> Iterator[Frame | Skipped]:
        index = 0
        while True:
            value = self._values.get()
            if value is LOST:
                if self._camera.hanging.is_set():
                    continue
                msg = f"{self._camera.name} gives no more pictures"
                raise InputError(msg)
            if isinstance(value, Skipped):
                yield value
                continue
            image = np.full((2, 2, 3), value, np.uint8)
            yield Frame(image=image, name="its own", image_id=index, captured_s=time.monotonic())
            index += 1

    def cancel(self) -> None:
        self._values.put(LOST)

    def close(self) -> None:
        self._camera.closed += 1


def open_cameras(
    *cameras: Camera, policy: ReconnectPolicy = QUICK, note: Callable[[str], None] = lambda sentence: None
) -> LiveReader:
    names = [camera.name for camera in cameras]
    return LiveReader(names, [camera.open for camera in cameras], LatestFrames(names), policy, note)
