"""Frames of video files, through OpenCV; and how its captures are opened and read."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

from ..errors import InputError
from .frames import Frame, Skipped, SourceKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIXES = "3gp asf avi flv m2ts m4v mkv mov mp4 mpeg mpg mts ogv webm wmv"
VIDEO_SUFFIXES = frozenset(f".{suffix}" for suffix in SUFFIXES.split())
# Containers without an index only estimate their length, so a few frames fewer are no sign of damage.
COMPLETE = 0.95
# Reads that may fail in a row within a file: at least ten seconds of it, and at its end they cost 5 us each.
GAP_READS = 300
# No header may claim more frames than can be tried in half a second.
MOST_GAP_READS = 100_000
# OpenCV's LOG_LEVEL_SILENT, which not every release exports.
SILENT = 0


class VideoSource:
    """The frames of a video file, none left out.

    Raises:
        InputError: The file is empty, no video, or has no frame that can be decoded.
    """

    kind = SourceKind.VIDEO

    def __init__(self, path: Path) -> None:
        self.name = path.name
        if not path.stat().st_size:
            msg = f"{path} is empty"
            raise InputError(msg)
        self._capture = opened(str(path))
        if self._capture is None:
            kind = "not a video" if path.suffix.lower() in VIDEO_SUFFIXES else "neither an image nor a video"
            msg = f"{path} is {kind} that can be read; it may be truncated or of an unknown format"
            raise InputError(msg)
        self.fps = positive(self._capture.get(cv2.CAP_PROP_FPS))
        count = positive(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.total = None if count is None else int(count)
        self._first = self._next(0)
        if self._first[1] is None:
            self.close()
            msg = f"{path} has no frame that can be decoded"
            raise InputError(msg)

    def __iter__(self) -> Iterator[Frame | Skipped]:
        """Decode each frame; a gap in the file, and one that ends early, is told as skipped."""
        index, time_s, start_s = 0, -math.inf, time.monotonic()
        lost, image = self._first
        while image is not None:
            if lost:
                reason = f"{frames_text(lost)} after frame {index} cannot be decoded"
                yield Skipped(name=self.name, reason=reason)
                index += lost
            time_s = self._time_after(time_s)
            read_ms = 1000 * (time.monotonic() - start_s)
            yield Frame(image=image, name=self.name, image_id=index, time_s=time_s, read_ms=read_ms)
            index, start_s = index + 1, time.monotonic()
            lost, image = self._next(index)
        if self.total is not None and index < COMPLETE * self.total:
            reason = f"it ends after frame {index} of {self.total}: truncated or corrupt"
            yield Skipped(name=self.name, reason=reason)

    def close(self) -> None:
        """See `Source.close`."""
        self._capture.release()

    def _next(self, index: int) -> tuple[int, NDArray[np.uint8] | None]:
        """Read on past what is corrupt; gives how many reads failed, and None at the real end."""
        # A decoder that fails within a file recovers at the next key frame; after the end it never does.
        left = max(GAP_READS, (self.total or 0) - index)
        for failed in range(min(left, MOST_GAP_READS)):
            image = read_picture(self._capture)
            if image is not None:
                return failed, image
        return left, None

    def _time_after(self, previous_s: float) -> float:
        # The frame's own, for a rate may vary; a bare stream has none, and a corrupt file may repeat one.
        time_s = max(0.0, self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        return time_s if time_s > previous_s else previous_s + 1 / (self.fps or 25.0)


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keep OpenCV's own log off stderr while something that may fail is tried; what failed is said once."""
    _quiet.enter()
    try:
        yield
    finally:
        _quiet.leave()


class _Quiet:
    """The level of OpenCV's log, which its threads share: several sources are opened at the same time."""

    def __init__(self) -> None:
        self._lock, self._inside, self._level = Lock(), 0, SILENT

    def enter(self) -> None:
        with self._lock:
            if not self._inside:
                self._level = _log().getLogLevel()
                _log().setLogLevel(SILENT)
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                _log().setLogLevel(self._level)


_quiet = _Quiet()


def opened(target: str | int, backend: int = cv2.CAP_ANY, parameters: tuple[int, ...] = ()) -> Any:
    """Open a `cv2.VideoCapture`.

    Args:
        target: Path, address, pipeline or number.
        backend: Of OpenCV; the caller knows that it is there.
        parameters: Property and value in turn; one the backend does not know makes it fail.

    Returns:
        The capture, or None where it does not open.
    """
    with quiet_opencv():
        try:
            capture: Any = cv2.VideoCapture(target, backend, parameters)
        except cv2.error:
            return None
    if capture.isOpened():
        return capture
    capture.release()
    return None


def read_picture(capture: Any) -> NDArray[np.uint8] | None:
    """Wait for the next picture, `uint8[H, W, 3]` in BGR; None where there is none."""
    try:
        good, image = capture.read()
    except cv2.error:
        return None
    if not good or image is None:
        return None
    # Infrared and thermal cameras give one channel.
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image, np.uint8)


def positive(value: float) -> float | None:
    """What OpenCV says of a capture, or None where it says nothing useful."""
    return value if math.isfinite(value) and value > 0 else None


def _log() -> Any:
    # OpenCV 5 moved the log's level from its main module to one that its type stubs leave out.
    return cv2 if hasattr(cv2, "setLogLevel") else cast("Any", cv2).utils.logging


def frames_text(count: int) -> str:
    """Count frames in words."""
    return "1 frame" if count == 1 else f"{count} frames"
