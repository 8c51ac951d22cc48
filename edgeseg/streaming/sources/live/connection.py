"""One opening of a live source, read in a thread that nobody waits for if it hangs."""

from __future__ import annotations

import time
from threading import Event, Thread
from typing import TYPE_CHECKING

import cv2

from edgeseg.errors import EdgeSegError, InputError
from edgeseg.vision.frames import Frame, SourceKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeseg.vision.frames import LiveSource, Skipped


class SourceConnection:
    """Opens a live source and reads it until it is lost, ends, or is left.

    Args:
        name: Of the source.
        opener: Opens it.
        post: Takes what it gives.

    Attributes:
        ready: Set when the first frame has come.
        ended: Set when nothing more will come.
        error: Why it ended; None where it came to its end or was left.
        fps: Frames a second, where it is known.
        live: Whether silence means that it is lost; a video file may pause.
        last_s: When something was last heard of it, by `time.monotonic()`.
    """

    def __init__(
        self, name: str, opener: Callable[[], LiveSource], post: Callable[[Frame | Skipped], None]
    ) -> None:
        self.ready, self.ended = Event(), Event()
        self.error: EdgeSegError | None = None
        self.fps: float | None = None
        self.live = True
        self.last_s = time.monotonic()
        self._name, self._opener, self._post = name, opener, post
        self._cancelled = Event()
        self._source: LiveSource | None = None
        self._thread = Thread(target=self._run, name=f"edgeseg-{name}", daemon=True)

    def start(self) -> None:
        """Begin; what comes is posted from another thread."""
        self._thread.start()

    def cancel(self) -> None:
        """Hand over nothing more, and close the source as soon as its read is over."""
        self._cancelled.set()
        if source := self._source:
            source.cancel()

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the thread, but not for long."""
        self._thread.join(max(0.0, timeout_s))

    def _run(self) -> None:
        try:
            self._read()
        except EdgeSegError as exc:
            self.error = exc
        except (OSError, RuntimeError, ValueError, MemoryError, cv2.error) as exc:
            self.error = InputError(f"{self._name} cannot be read: {exc}")
        except Exception as exc:  # noqa: BLE001 - a fault of the program's own is no end of the stream
            self.error = InputError(f"{self._name} cannot be read: {type(exc).__name__}: {exc}")
        finally:
            self.ended.set()

    def _read(self) -> None:
        self._source = source = self._opener()
        try:
            self.fps, self.live = source.fps, source.kind is SourceKind.LIVE
            # Left while it was being opened: nobody has told it.
            if self._cancelled.is_set():
                return
            for item in source:
                # A thread that was abandoned may wake up late.
                if self._cancelled.is_set():
                    return
                self.last_s = time.monotonic()
                self._post(item)
                if isinstance(item, Frame):
                    self.ready.set()
        finally:
            self._source = None
            source.close()
