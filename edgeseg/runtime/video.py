"""Frames of video files and cameras, through OpenCV."""

from __future__ import annotations

import math
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

from ..errors import InputError
from .frames import Frame, Skipped, SourceKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SUFFIXES = "3gp asf avi flv m2ts m4v mkv mov mp4 mpeg mpg mts ogv webm wmv"
VIDEO_SUFFIXES = frozenset(f".{suffix}" for suffix in SUFFIXES.split())
# Containers without an index only estimate their length, so a few frames fewer are no sign of damage.
COMPLETE = 0.95
# A camera that has just been opened may need some reads before its first picture.
FIRST_READS = 30
# A cable's glitch spoils a picture or two; a camera that hangs keeps each read waiting for ten seconds.
LAST_READS = 3
# OpenCV's LOG_LEVEL_SILENT, which not every release exports.
SILENT = 0


class VideoSource:
    """The frames of a video file, none left out.

    Raises:
        InputError: The file is empty, no video, or has no frame that can be decoded.
    """

    kind = SourceKind.VIDEO

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.stat().st_size:
            msg = f"{path} is empty"
            raise InputError(msg)
        self._capture = _opened(str(path))
        if self._capture is None:
            kind = "not a video" if path.suffix.lower() in VIDEO_SUFFIXES else "neither an image nor a video"
            msg = f"{path} is {kind} that can be read; it may be truncated or of an unknown format"
            raise InputError(msg)
        self._first = _read(self._capture)
        if self._first is None:
            self.close()
            msg = f"{path} has no frame that can be decoded"
            raise InputError(msg)
        self.fps = _positive(self._capture.get(cv2.CAP_PROP_FPS))
        count = _positive(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.total = None if count is None else int(count)

    def __iter__(self) -> Iterator[Frame | Skipped]:
        """Decode each frame; a file that ends early is reported as skipped after its last one."""
        index, image = 0, self._first
        while image is not None:
            time_s = max(0.0, self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            yield Frame(image=image, name=self._path.name, image_id=index, time_s=time_s)
            index, image = index + 1, _read(self._capture)
        if self.total is not None and index < COMPLETE * self.total:
            reason = f"it ends after frame {index} of {self.total}: truncated or corrupt"
            yield Skipped(name=self._path.name, reason=reason)

    def close(self) -> None:
        """See `Source.close`."""
        self._capture.release()


class CameraSource:
    """The frames of a camera, until it is closed or vanishes.

    Args:
        index: Number of the camera: 0 is `/dev/video0`.

    Raises:
        InputError: No such camera, or it gives no picture.
    """

    kind = SourceKind.LIVE
    total = None

    def __init__(self, index: int) -> None:
        self._name = f"camera {index}"
        self._capture = _opened(index)
        if self._capture is None:
            msg = f"no camera opens at index {index}; {_camera_advice(index)}"
            raise InputError(msg)
        # The newest picture, not one that waited behind others while the network computed.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        reads = (_read(self._capture) for _ in range(FIRST_READS))
        if next((image for image in reads if image is not None), None) is None:
            self.close()
            msg = f"camera {index} opens but gives no picture; close other programs that may be using it"
            raise InputError(msg)
        self.fps = _positive(self._capture.get(cv2.CAP_PROP_FPS))

    def __iter__(self) -> Iterator[Frame | Skipped]:
        """Read frame after frame; see `Source`."""
        start_s, index, failed = time.monotonic(), 0, 0
        while failed < LAST_READS:
            image = _read(self._capture)
            if image is None:
                failed += 1
                yield Skipped(name=self._name, reason=f"no picture came after frame {index}")
                continue
            yield Frame(image=image, name=self._name, image_id=index, time_s=time.monotonic() - start_s)
            index, failed = index + 1, 0
        msg = f"{self._name} gives no more pictures after frame {index}; check that it is still connected"
        raise InputError(msg)

    def close(self) -> None:
        """See `Source.close`."""
        self._capture.release()


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keep OpenCV's own log off stderr while something that may fail is tried; what failed is said once."""
    log = _log()
    level = log.getLogLevel()
    log.setLogLevel(SILENT)
    try:
        yield
    finally:
        log.setLogLevel(level)


def _log() -> Any:
    # OpenCV 5 moved the log's level from its main module to one that its type stubs leave out.
    return cv2 if hasattr(cv2, "setLogLevel") else cast("Any", cv2).utils.logging


def _opened(target: str | int) -> Any:
    with quiet_opencv():
        capture = cv2.VideoCapture(target)
    if capture.isOpened():
        return capture
    capture.release()
    return None


def _read(capture: Any) -> NDArray[np.uint8] | None:
    good, image = capture.read()
    if not good or image is None:
        return None
    # Infrared and thermal cameras give one channel.
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image, np.uint8)


def _positive(value: float) -> float | None:
    return value if math.isfinite(value) and value > 0 else None


def _camera_advice(index: int) -> str:
    wanted = Path(f"/dev/video{index}")
    if wanted.exists():
        if os.access(wanted, os.R_OK | os.W_OK):
            return f"{wanted} exists but gives no video: another program uses it, or it carries metadata only"
        return f"you may not read {wanted}; run: sudo usermod -aG video $USER, then log in again"
    found = sorted(str(device) for device in Path("/dev").glob("video*"))
    if found:
        return f"this machine has {', '.join(found)}"
    return "this machine has no /dev/video*; connect a camera, or pass it to the container with --device"
