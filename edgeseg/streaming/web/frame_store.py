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
from edgeseg.streaming.results import RenderedFrame

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edgeseg.streaming.results import Status

# More are not seen, and each costs the device a drawing.
MAX_IMAGES_PER_S = 30.0
# All viewers together: each picture to each viewer costs a system call and a copy, about 0.1 ms.
MAX_DELIVERIES_PER_S = 1000.0
# A phone shows no more, and a snapshot has all of them.
LIVE_SIDE_PX = 1280
LIVE_QUALITY = 80
SNAPSHOT_QUALITY = 95
# Enough to tell an outage from a slow pace, few enough to follow a pace that changes.
RECENT_INTERVALS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressedImage:
    """A compressed picture.

    Attributes:
        number: Grows with each picture of a source.
        jpeg: The file.
    """

    number: int
    jpeg: bytes


class _SourceState:
    """What is known of one source; guarded by the lock of `FrameStore`."""

    def __init__(self) -> None:
        self.rendered: RenderedFrame | None = None
        self.received_s = 0.0
        self.intervals_s: deque[float] = deque(maxlen=RECENT_INTERVALS)
        self.compressed: RenderedFrame | None = None
        self.picture: CompressedImage | None = None
        self.viewers = 0
        self.due_s = -math.inf
        self.busy = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NewestFrame:
    """The newest frame of a source.

    Attributes:
        rendered: The frame; None before the first.
        received_s: When it came, by `time.monotonic()`.
        interval_s: From one frame to the next, as it has mostly been of late; None before the second.
    """

    rendered: RenderedFrame | None
    received_s: float
    interval_s: float | None


class FrameStore:
    """The newest frame of each source, handed from the run's thread to those who look.

    Nothing waits in line: a frame that comes while the one before it is being compressed is passed over,
    unless it stays the newest.

    Args:
        count: Number of sources.
        on_frame: Called in another thread when there is a new picture.
    """

    def __init__(self, count: int, on_frame: Callable[[], None]) -> None:
        self._on_frame = on_frame
        self._lock = threading.Lock()
        self._states = [_SourceState() for _ in range(count)]
        self._closed = False
        self._last: Future[None] | None = None
        self.status: Status | None = None
        # One thread: pictures of many sources, and snapshots, take turns instead of all cores.
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="edgeseg-pictures")

    def put(self, rendered: RenderedFrame) -> None:
        """Make a frame the newest of its source; draws it if somebody looks and the last one is done.

        Raises:
            Exception: Whatever kept an earlier picture from being drawn.
        """
        if self._last is not None and self._last.done():
            self._last.result()
        state, now_s = self._states[rendered.result.frame.source], time.monotonic()
        self.status = rendered.status
        with self._lock:
            if state.rendered is not None:
                state.intervals_s.append(now_s - state.received_s)
            state.rendered, state.received_s = rendered, now_s
        if self._is_due(state, now_s):
            # Here and not in the executor: other sinks may want the same picture, and it is drawn once.
            _ = rendered.image
            self._compress(state, rendered, now_s)

    def catch_up(self) -> None:
        """Draw what somebody looks at and has been passed over: a newcomer's first picture, a run's last."""
        now_s = time.monotonic()
        for state in self._states:
            rendered = state.rendered
            if rendered is not None and rendered is not state.compressed and self._is_due(state, now_s):
                self._compress(state, rendered, now_s)

    def count_viewers(self, source: int, viewers: int) -> None:
        """Count viewers of a source: 1 for one who comes, -1 for one who goes."""
        with self._lock:
            self._states[source].viewers += viewers
        self.catch_up()

    def picture(self, source: int) -> CompressedImage | None:
        """Newest picture of a source; None before the first."""
        return self._states[source].picture

    def view(self, source: int) -> NewestFrame:
        """Newest frame of a source."""
        with self._lock:
            state = self._states[source]
            # The median: an outage is one long pause among others, and must not make the next one look short.
            interval_s = statistics.median_low(state.intervals_s) if state.intervals_s else None
            return NewestFrame(rendered=state.rendered, received_s=state.received_s, interval_s=interval_s)

    def close(self) -> None:
        """Compress the last frames for current viewers, and shut the executor down."""
        with self._lock:
            closed, self._closed = self._closed, True
        for state in [] if closed else self._states:
            if state.viewers and state.rendered is not None and state.rendered is not state.compressed:
                self.executor.submit(self._compress_image, state, state.rendered)
        self.executor.shutdown()

    def _is_due(self, state: _SourceState, now_s: float) -> bool:
        return state.viewers > 0 and not state.busy and now_s >= state.due_s

    def _compress(self, state: _SourceState, rendered: RenderedFrame, now_s: float) -> None:
        with self._lock:
            if state.busy or self._closed:
                return
            state.busy = True
            viewers = sum(each.viewers for each in self._states)
        interval_s = max(1 / MAX_IMAGES_PER_S, viewers / MAX_DELIVERIES_PER_S)
        # From when it was due, not from now, or a stream of 31 pictures a second would give 16.
        state.due_s = max(state.due_s + interval_s, now_s)
        self._last = self.executor.submit(self._compress_image, state, rendered)

    def _compress_image(self, state: _SourceState, rendered: RenderedFrame) -> None:
        try:
            jpeg = encode_image(fit_image(rendered.image, LIVE_SIDE_PX), ".jpg", LIVE_QUALITY)
            number = state.picture.number + 1 if state.picture else 1
            state.picture, state.compressed = CompressedImage(number=number, jpeg=jpeg), rendered
        finally:
            state.busy = False
        self._on_frame()


def fit_image(picture: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Reduce `uint8[H, W, 3]` so that neither side is longer than `side_px`; a small one stays."""
    factor = side_px / max(picture.shape[:2])
    if factor >= 1:
        return picture
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def encode_image(picture: NDArray[np.uint8], suffix: str, quality: int = SNAPSHOT_QUALITY) -> bytes:
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
