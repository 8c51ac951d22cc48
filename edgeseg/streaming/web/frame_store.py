"""The newest frame of each source, drawn and compressed only while somebody looks."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgeseg.errors import InputError
from edgeseg.streaming.results import Shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edgeseg.streaming.results import Status

# More are not seen, and each costs the device a drawing.
MOST_PICTURES_S = 30.0
# All viewers together: each picture to each viewer costs a system call and a copy, about 0.1 ms.
MOST_DELIVERIES_S = 1000.0
# A phone shows no more, and a snapshot has all of them.
LIVE_SIDE_PX = 1280
LIVE_QUALITY = 80
SNAPSHOT_QUALITY = 95
# Enough to tell an outage from a slow pace, few enough to follow a pace that changes.
RECENT_PAUSES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A compressed picture.

    Attributes:
        number: Grows with each picture of a source.
        jpeg: The file.
    """

    number: int
    jpeg: bytes


class _Easel:
    """What is known of one source; guarded by the gallery's lock."""

    def __init__(self) -> None:
        self.shown: Shown | None = None
        self.shown_s = 0.0
        self.pauses_s: deque[float] = deque(maxlen=RECENT_PAUSES)
        self.compressed: Shown | None = None
        self.picture: Picture | None = None
        self.viewers = 0
        self.due_s = -math.inf
        self.busy = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """The newest frame of a source.

    Attributes:
        shown: The frame; None before the first.
        shown_s: When it came, by `time.monotonic()`.
        pause_s: From one frame to the next, as it has mostly been of late; None before the second.
    """

    shown: Shown | None
    shown_s: float
    pause_s: float | None


class Gallery:
    """The newest frame of each source, handed from the run's thread to those who look.

    Nothing waits in line: a frame that comes while the one before it is being compressed is passed over,
    unless it stays the newest.

    Args:
        count: Number of sources.
        hung: Called in another thread when there is a new picture.
    """

    def __init__(self, count: int, hung: Callable[[], None]) -> None:
        self._hung = hung
        self._lock = threading.Lock()
        self._easels = [_Easel() for _ in range(count)]
        self._closed = False
        self._last: Future[None] | None = None
        self.status: Status | None = None
        # One thread: pictures of many sources, and snapshots, take turns instead of all cores.
        self.workshop = ThreadPoolExecutor(1, thread_name_prefix="edgeseg-pictures")

    def show(self, shown: Shown) -> None:
        """Make a frame the newest of its source; draws it if somebody looks and the last one is done.

        Raises:
            Exception: Whatever kept an earlier picture from being drawn.
        """
        if self._last is not None and self._last.done():
            self._last.result()
        easel, now_s = self._easels[shown.result.frame.source], time.monotonic()
        self.status = shown.status
        with self._lock:
            if easel.shown is not None:
                easel.pauses_s.append(now_s - easel.shown_s)
            easel.shown, easel.shown_s = shown, now_s
        if self._wanted(easel, now_s):
            # Here and not in the workshop: other sinks may want the same picture, and it is drawn once.
            _ = shown.picture
            self._compress(easel, shown, now_s)

    def catch_up(self) -> None:
        """Draw what somebody looks at and has been passed over: a newcomer's first picture, a run's last."""
        now_s = time.monotonic()
        for easel in self._easels:
            shown = easel.shown
            if shown is not None and shown is not easel.compressed and self._wanted(easel, now_s):
                self._compress(easel, shown, now_s)

    def watch(self, source: int, viewers: int) -> None:
        """Count viewers of a source: 1 for one who comes, -1 for one who goes."""
        with self._lock:
            self._easels[source].viewers += viewers
        self.catch_up()

    def picture(self, source: int) -> Picture | None:
        """Newest picture of a source; None before the first."""
        return self._easels[source].picture

    def view(self, source: int) -> View:
        """Newest frame of a source."""
        with self._lock:
            easel = self._easels[source]
            # The median: an outage is one long pause among others, and must not make the next one look short.
            pause_s = statistics.median_low(easel.pauses_s) if easel.pauses_s else None
            return View(shown=easel.shown, shown_s=easel.shown_s, pause_s=pause_s)

    def close(self) -> None:
        """Draw the last frames for those who look, and end the workshop."""
        with self._lock:
            closed, self._closed = self._closed, True
        for easel in [] if closed else self._easels:
            if easel.viewers and easel.shown is not None and easel.shown is not easel.compressed:
                self.workshop.submit(self._hang, easel, easel.shown)
        self.workshop.shutdown()

    def _wanted(self, easel: _Easel, now_s: float) -> bool:
        return easel.viewers > 0 and not easel.busy and now_s >= easel.due_s

    def _compress(self, easel: _Easel, shown: Shown, now_s: float) -> None:
        with self._lock:
            if easel.busy or self._closed:
                return
            easel.busy = True
            viewers = sum(each.viewers for each in self._easels)
        interval_s = max(1 / MOST_PICTURES_S, viewers / MOST_DELIVERIES_S)
        # From when it was due, not from now, or a stream of 31 pictures a second would give 16.
        easel.due_s = max(easel.due_s + interval_s, now_s)
        self._last = self.workshop.submit(self._hang, easel, shown)

    def _hang(self, easel: _Easel, shown: Shown) -> None:
        try:
            jpeg = encoded(fitted(shown.picture, LIVE_SIDE_PX), ".jpg", LIVE_QUALITY)
            number = easel.picture.number + 1 if easel.picture else 1
            easel.picture, easel.compressed = Picture(number=number, jpeg=jpeg), shown
        finally:
            easel.busy = False
        self._hung()


def fitted(picture: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Reduce `uint8[H, W, 3]` so that neither side is longer than `side_px`; a small one stays."""
    factor = side_px / max(picture.shape[:2])
    if factor >= 1:
        return picture
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def encoded(picture: NDArray[np.uint8], suffix: str, quality: int = SNAPSHOT_QUALITY) -> bytes:
    """Compress a picture.

    Args:
        picture: `uint8[H, W, 3]`, BGR.
        suffix: `.jpg` or `.png`.
        quality: Of a JPEG, 0 to 100.

    Raises:
        InputError: It cannot be compressed: it is empty, or too large for the format.
    """
    try:
        good, data = cv2.imencode(
            suffix, picture, [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == ".jpg" else []
        )
    except cv2.error as exc:
        msg = f"a picture of {picture.shape[1]}x{picture.shape[0]} cannot be written as {suffix}: {exc}"
        raise InputError(msg) from exc
    if not good:
        msg = f"a picture of {picture.shape[1]}x{picture.shape[0]} cannot be written as {suffix}"
        raise InputError(msg)
    return data.tobytes()
