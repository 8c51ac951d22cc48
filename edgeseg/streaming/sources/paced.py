"""A video file that comes as from a camera: at its own times, whether or not anybody keeps up."""

from __future__ import annotations

import time
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING

from edgeseg.vision.frames import Frame, Skipped, Source, SourceKind

if TYPE_CHECKING:
    from collections.abc import Iterator

# A corrupt file may claim that its next frame is hours away.
LONGEST_WAIT_S = 5.0


class PacedSource:
    """Frames of a video at the times they were taken, from the first that is asked for.

    Args:
        video: The file; closed with this.
        begin: Set when the clock may start; the first frame comes before that.
    """

    kind = SourceKind.VIDEO
    total = None

    def __init__(self, video: Source, begin: Event) -> None:
        self._video = video
        self._begin = begin
        self._leaving = Event()
        self.fps = video.fps

    def __iter__(self) -> Iterator[Frame | Skipped]:
        """Give each frame when it is due; see `Source`."""
        zero_s: float | None = None
        for item in self._video:
            if isinstance(item, Skipped):
                yield item
                continue
            due_s = item.time_s or 0.0
            if zero_s is not None:
                zero_s = self._wait(zero_s, due_s)
            if self._leaving.is_set():
                return
            yield replace(item, captured_s=time.monotonic())
            if zero_s is None:
                self._begin.wait()
                zero_s = time.monotonic() - due_s

    def close(self) -> None:
        """See `Source.close`."""
        self._video.close()

    def leave(self) -> None:
        """See `LiveSource.leave`."""
        self._leaving.set()
        self._begin.set()

    def _wait(self, zero_s: float, time_s: float) -> float:
        """Wait until a frame is due; gives the clock's zero, moved where the wait would be too long."""
        wait_s = zero_s + time_s - time.monotonic()
        if wait_s <= 0:
            return zero_s
        self._leaving.wait(min(wait_s, LONGEST_WAIT_S))
        return zero_s - max(0.0, wait_s - LONGEST_WAIT_S)
