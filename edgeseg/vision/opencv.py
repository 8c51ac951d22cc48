"""Opening and reading captures of OpenCV."""

from __future__ import annotations

import math
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

from edgeseg.files.native import is_native, native_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

# OpenCV's LOG_LEVEL_SILENT, which not every release exports.
SILENT = 0


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Silence OpenCV's log on stderr while something may fail; the caller reports what failed."""
    _silencer.enter()
    try:
        yield
    finally:
        _silencer.leave()


class _LogSilencer:
    """The level of OpenCV's log, which all threads share, as several sources are opened at the same time."""

    def __init__(self) -> None:
        self._lock, self._depth, self._level = Lock(), 0, SILENT

    def enter(self) -> None:
        with self._lock:
            if not self._depth:
                self._level = _log().getLogLevel()
                _log().setLogLevel(SILENT)
            self._depth += 1

    def leave(self) -> None:
        with self._lock:
            self._depth -= 1
            if not self._depth:
                _log().setLogLevel(self._level)


_silencer = _LogSilencer()


def open_capture(target: str | int, backend: int = cv2.CAP_ANY, parameters: tuple[int, ...] = ()) -> Any:
    """Open a `cv2.VideoCapture`.

    Args:
        target: Address, pipeline or camera number, or a path from `native_path`.
        backend: OpenCV's number of the backend; it must be available.
        parameters: Properties and their values, alternating; opening fails if the backend does not know one.

    Returns:
        The capture, or None if it cannot be opened.
    """
    # OpenCV crashes on text that is not UTF-8.
    if isinstance(target, str) and not target.isascii() and not is_native(target):
        return None
    with quiet_opencv():
        try:
            capture: Any = cv2.VideoCapture(target, backend, parameters)
        except cv2.error:
            return None
    if capture.isOpened():
        return capture
    capture.release()
    return None


def open_video_capture(path: Path) -> Any:
    """Open a `cv2.VideoCapture` of a video file with any name.

    Returns:
        The capture, or None if it cannot be opened.

    Raises:
        InputError: The file's name cannot be passed to OpenCV.
    """
    # Other backends take a file whose name has a number in it for one of a series, and read the others too.
    backend = cv2.CAP_FFMPEG if has_ffmpeg() else cv2.CAP_ANY
    with native_path(path) as name:
        return open_capture(name, backend)


def has_ffmpeg() -> bool:
    """Tell whether this OpenCV reads through FFmpeg."""
    return bool(cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG))


def read_captured_image(capture: Any) -> NDArray[np.uint8] | None:
    """Wait for the next picture, `uint8[H, W, 3]` in BGR; None if there is none."""
    try:
        good, image = capture.read()
    except cv2.error:
        return None
    if not good or image is None:
        return None
    # Infrared and thermal cameras give one channel.
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image, np.uint8)


def stated_size_hw(capture: Any) -> tuple[int, int]:
    """Read the height and width that OpenCV states before it decodes; 0 if it states none."""
    height, width = capture.get(cv2.CAP_PROP_FRAME_HEIGHT), capture.get(cv2.CAP_PROP_FRAME_WIDTH)
    return int(positive(height) or 0), int(positive(width) or 0)


def positive(value: float) -> float | None:
    """Return a number that OpenCV states about a capture, or None if it is not positive and finite."""
    return value if math.isfinite(value) and value > 0 else None


def _log() -> Any:
    # OpenCV 5 moved the log level from its main module to one that is missing from its type stubs.
    return cv2 if hasattr(cv2, "setLogLevel") else cast("Any", cv2).utils.logging


def frames_text(count: int) -> str:
    """Write a number of frames, with the unit in singular or plural."""
    return "1 frame" if count == 1 else f"{count} frames"
