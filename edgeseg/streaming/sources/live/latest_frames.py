"""The newest frame of each live source, handed over to the run."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from threading import Condition, Event
from typing import TYPE_CHECKING

from edgeseg.errors import EdgeSegError, InputError
from edgeseg.vision.frames import Frame, Skipped

if TYPE_CHECKING:
    from collections.abc import Sequence

# A source that gives nothing but spoilt pictures must not fill the memory.
MAX_SKIPPED = 1000


class LatestFrames:
    """Holds the newest frame of each source; every thread may use it.

    Args:
        names: Of the sources.

    Attributes:
        started: Set at the first `take`.
        dropped: Frames of each source that a newer one replaced.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.started = Event()
        self.dropped = [0] * len(names)
        self._names = tuple(names)
        self._start_s = time.monotonic()
        self._changed = Condition()
        self._newest: list[Frame | None] = [None] * len(names)
        self._skipped: deque[Skipped] = deque(maxlen=MAX_SKIPPED)
        self._open = set(range(len(names)))
        self._videos: set[int] = set()
        self._failures: list[EdgeSegError] = []
        self._stopped = False
        self._count = 0
        self._next_source = 0

    def put(self, index: int, item: Frame | Skipped) -> None:
        """Store a frame, replacing the one before."""
        with self._changed:
            if isinstance(item, Skipped):
                self._skipped.append(replace(item, name=self._names[index]))
            else:
                self.dropped[index] += self._newest[index] is not None
                self._newest[index] = self._with_source(index, item)
                self._count += 1
            self._changed.notify_all()

    def close_source(self, index: int, failure: EdgeSegError | None) -> None:
        """Mark a source as ended, with the failure if there was one."""
        with self._changed:
            self._open.discard(index)
            if failure is not None:
                self._failures.append(failure)
            self._changed.notify_all()

    def take(self, count: int) -> list[Frame | Skipped]:
        """Wait for new frames; see `FrameReader.take`."""
        with self._changed:
            if not self.started.is_set():
                self._start_clocks()
            self._changed.wait_for(self._has_update)
            if self._stopped:
                return []
            taken: list[Frame | Skipped] = [*self._skipped, *self._frames(count)]
            self._skipped.clear()
            if not taken and len(self._failures) == len(self._names):
                raise self._failure()
            return taken

    def stop(self) -> None:
        """See `FrameReader.stop`."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self.started.set()

    def _start_clocks(self) -> None:
        """Start the clocks of videos: their first frames lie here, and are as of now."""
        self.started.set()
        now_s = time.monotonic()
        for index in self._videos:
            if frame := self._newest[index]:
                self._newest[index] = replace(frame, captured_s=now_s)

    def _has_update(self) -> bool:
        return bool(
            self._stopped
            or self._skipped
            or not self._open
            or any(frame is not None for frame in self._newest)
        )

    def _with_source(self, index: int, frame: Frame) -> Frame:
        """Give a frame its place among those of all sources."""
        image_id, time_s = frame.image_id, frame.time_s
        # A video has times and numbers of its own; a camera has none, or begins again when it was lost.
        if time_s is None:
            time_s = (frame.captured_s or time.monotonic()) - self._start_s
            image_id = self._count
        else:
            self._videos.add(index)
            image_id = self._count if len(self._names) > 1 else image_id
        return replace(frame, source=index, name=self._names[index], image_id=image_id, time_s=time_s)

    def _frames(self, count: int) -> list[Frame]:
        """Take up to `count` frames, each time starting behind the source that came last."""
        sources = len(self._newest)
        taken: list[Frame] = []
        first = self._next_source
        for index in ((first + step) % sources for step in range(sources)):
            frame = self._newest[index]
            if frame is None or len(taken) == count:
                continue
            taken.append(frame)
            self._newest[index] = None
            self._next_source = index + 1
        return taken

    def _failure(self) -> InputError:
        return InputError("; ".join(str(failure) for failure in self._failures))
