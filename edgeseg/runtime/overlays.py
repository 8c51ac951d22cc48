"""Pictures and videos with what was found drawn over them."""

from __future__ import annotations

import shutil
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ..errors import EdgeSegError, InputError
from ..files import write_whole
from .frames import SourceKind
from .video import quiet_opencv

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from .detections import Detections
    from .frames import Frame

# Written as they are; everything else becomes JPEG.
KEPT_SUFFIXES = frozenset((".jpg", ".jpeg", ".png"))
JPEG_QUALITY = 92
JPEG_MAX_SIDE = 65500
FALLBACK_FPS = 25.0
# OpenCV does not say that a video could not be written, and its index is written at the end.
MIN_FREE_BYTES = 16 << 20


class ImageOverlays:
    """A drawn picture for each image, under its own name below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, frame: Frame, detections: Detections) -> None:
        """See `Sink.write`."""
        path = self._folder / overlay_name(frame.name)
        drawn = detections.draw(frame.image)
        # JPEG ends there; the picture keeps its name, and every viewer looks at the content.
        suffix = ".png" if max(drawn.shape) > JPEG_MAX_SIDE else path.suffix
        options = [] if suffix.lower() == ".png" else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        good, data = cv2.imencode(suffix, drawn, options)
        if not good:
            msg = f"{path} cannot be encoded: {frame.image.shape[1]}x{frame.image.shape[0]} pixels"
            raise InputError(msg)
        write_whole(path, data.tobytes())

    def close(self) -> None:
        """See `Sink.close`."""


def overlay_name(name: str) -> str:
    """Name the picture drawn over an image: its own name, with `.jpg` added unless it is JPEG or PNG."""
    return name if PurePosixPath(name).suffix.lower() in KEPT_SUFFIXES else f"{name}.jpg"


class VideoOverlay:
    """One drawn MP4 video with the speed of its source.

    A camera's frames are repeated or left out, so that the video shows them when they were seen.

    Args:
        path: Replaced if it exists.
        kind: `VIDEO` or `LIVE`.
        fps: Of the source; None takes 25.
    """

    def __init__(self, path: Path, kind: SourceKind, fps: float | None) -> None:
        self._path = path
        self._live = kind is SourceKind.LIVE
        self._fps = fps or FALLBACK_FPS
        self._writer: Any = None
        self._size_hw = (0, 0)
        self._written = 0

    def write(self, frame: Frame, detections: Detections) -> None:
        """See `Sink.write`."""
        drawn = detections.draw(frame.image)
        if self._writer is None:
            self._open((drawn.shape[0], drawn.shape[1]))
        free = shutil.disk_usage(self._path.parent).free
        if free < MIN_FREE_BYTES:
            msg = f"{self._path} stops here: the disk is nearly full ({free >> 20} MiB left)"
            raise InputError(msg)
        for _ in range(self._due(frame.time_s)):
            self._writer.write(self._fitted(drawn))
            self._written += 1

    def close(self) -> None:
        """See `Sink.close`."""
        if self._writer is None:
            return
        self._writer.release()
        with quiet_opencv():
            whole = cv2.VideoCapture(str(self._path)).isOpened()
        if self._written and not whole:
            msg = f"{self._path} cannot be played; the disk or the quota was used up while it was written"
            raise EdgeSegError(msg)

    def _open(self, size_hw: tuple[int, int]) -> None:
        self._size_hw = size_hw
        with quiet_opencv():
            fourcc = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._path), fourcc, self._fps, size_hw[::-1])
        if not self._writer.isOpened():
            msg = f"{self._path} cannot be written as MPEG-4 video: check the folder, or use --no-overlay"
            raise InputError(msg)

    def _due(self, time_s: float | None) -> int:
        if not self._live or time_s is None:
            return 1
        return max(0, int(time_s * self._fps) + 1 - self._written)

    def _fitted(self, drawn: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Keep the size of the first frame; a few videos change theirs, and a file cannot."""
        if drawn.shape[:2] == self._size_hw:
            return drawn
        return np.asarray(cv2.resize(drawn, self._size_hw[::-1]), np.uint8)
