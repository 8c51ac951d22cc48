"""Pictures and videos with what was found drawn over them."""

from __future__ import annotations

import shutil
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ..errors import EdgeSegError, InputError
from ..files import write_whole
from .video import quiet_opencv

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .results import Shown

# Written as they are; everything else becomes JPEG.
KEPT_SUFFIXES = frozenset((".jpg", ".jpeg", ".png"))
JPEG_QUALITY = 92
JPEG_MAX_SIDE = 65500
FALLBACK_FPS = 25.0
# OpenCV does not say that a video could not be written, and its index is written at the end.
MIN_FREE_BYTES = 16 << 20
LONGEST_STILL_S = 5.0


class ImageOverlays:
    """A drawn picture for each image, under its own name below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, shown: Shown) -> None:
        """See `Sink.write`."""
        path = self._folder / overlay_name(shown.result.frame.name)
        # JPEG ends there; the picture keeps its name, and every viewer looks at the content.
        suffix = ".png" if max(shown.picture.shape) > JPEG_MAX_SIDE else path.suffix
        options = [] if suffix.lower() == ".png" else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        good, data = cv2.imencode(suffix, shown.picture, options)
        if not good:
            height, width = shown.picture.shape[:2]
            msg = f"{path} cannot be encoded: {width}x{height} pixels"
            raise InputError(msg)
        write_whole(path, data.tobytes())

    def close(self) -> None:
        """See `Sink.close`."""


def overlay_name(name: str) -> str:
    """Name the picture drawn over an image: its own name, with `.jpg` added unless it is JPEG or PNG."""
    return name if PurePosixPath(name).suffix.lower() in KEPT_SUFFIXES else f"{name}.jpg"


class VideoOverlays:
    """One drawn MP4 video a source, with the speed of its source.

    Args:
        paths: By `Frame.source`; replaced if they exist.
        rates_fps: Of the sources; None takes 25.
        live: Frames are repeated or left out, so that the video shows them when they were seen.
    """

    def __init__(self, paths: Sequence[Path], rates_fps: Sequence[float | None], *, live: bool) -> None:
        self._videos = [
            _Video(path, fps or FALLBACK_FPS, live) for path, fps in zip(paths, rates_fps, strict=True)
        ]

    def write(self, shown: Shown) -> None:
        """See `Sink.write`."""
        frame = shown.result.frame
        self._videos[frame.source].write(shown.picture, frame.time_s)

    def close(self) -> None:
        """See `Sink.close`.

        Raises:
            EdgeSegError: A video cannot be played; all are closed.
        """
        errors = [error for video in self._videos if (error := video.close())]
        if errors:
            raise errors[0]


class _Video:
    def __init__(self, path: Path, fps: float, live: bool) -> None:
        self._path, self._fps, self._live = path, fps, live
        self._writer: Any = None
        self._size_hw = (0, 0)
        self._written = 0
        self._late = 0

    def write(self, picture: NDArray[np.uint8], time_s: float | None) -> None:
        if self._writer is None:
            self._open((picture.shape[0], picture.shape[1]))
        free = shutil.disk_usage(self._path.parent).free
        if free < MIN_FREE_BYTES:
            msg = f"{self._path} stops here: the disk is nearly full ({free >> 20} MiB left)"
            raise InputError(msg)
        for _ in range(self._due(time_s)):
            self._writer.write(self._fitted(picture))
            self._written += 1

    def close(self) -> EdgeSegError | None:
        if self._writer is None:
            return None
        self._writer.release()
        self._writer = None
        with quiet_opencv():
            whole = cv2.VideoCapture(str(self._path)).isOpened()
        if self._written and not whole:
            return EdgeSegError(
                f"{self._path} cannot be played; the disk or the quota was used up while it was written"
            )
        return None

    def _open(self, size_hw: tuple[int, int]) -> None:
        self._size_hw = size_hw
        with quiet_opencv():
            fourcc = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._path), fourcc, self._fps, size_hw[::-1])
        if not self._writer.isOpened():
            msg = f"{self._path} cannot be written as MPEG-4 video: check the folder, or use --no-overlay"
            raise InputError(msg)

    def _due(self, time_s: float | None) -> int:
        """Say how often a picture is written, so that the next one comes when it was seen."""
        if not self._live or time_s is None:
            return 1
        due = max(0, int(time_s * self._fps) + 1 - self._written - self._late)
        # A stream that was away for an hour is not shown as an hour of one picture.
        most = max(1, int(LONGEST_STILL_S * self._fps))
        self._late += max(0, due - most)
        return min(due, most)

    def _fitted(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Keep the size of the first frame; a few videos change theirs, and a file cannot."""
        if picture.shape[:2] == self._size_hw:
            return picture
        return np.asarray(cv2.resize(picture, self._size_hw[::-1]), np.uint8)
