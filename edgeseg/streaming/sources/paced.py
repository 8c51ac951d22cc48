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
        start: Set when the clock may start; the first frame comes before that.
    """

    kind = SourceKind.VIDEO
    total = None

    def __init__(self, video: Source, start: Event) -> None:
        self._video = video
        self._start = start
        self._cancelled = Event()
        self.fps = video.fps

    def __iter__(self) -> Iterator[Frame | Skipped]:
        """Give each frame when it is due; see `Source`."""
        clock_start_s: float | None = None
        for item in self._video:
            if isinstance(item, Skipped):
                yield item
                continue
            due_s = item.time_s or 0.0
            if clock_start_s is not None:
                clock_start_s = self._wait(clock_start_s, due_s)
            if self._cancelled.is_set():
                return
            yield replace(item, captured_s=time.monotonic())
            if clock_start_s is None:
                self._start.wait()
                clock_start_s = time.monotonic() - due_s

    def close(self) -> None:
        """See `Source.close`."""
        self._video.close()

    def cancel(self) -> None:
        """See `LiveSource.cancel`."""
        self._cancelled.set()
        self._start.set()

    def _wait(self, clock_start_s: float, time_s: float) -> float:
        """Wait until a frame is due; gives the clock's zero, moved where the wait would be too long."""
        wait_s = clock_start_s + time_s - time.monotonic()
        if wait_s <= 0:
            return clock_start_s
        self._cancelled.wait(min(wait_s, LONGEST_WAIT_S))
        return clock_start_s - max(0.0, wait_s - LONGEST_WAIT_S)
