"""Overlay pictures and videos: frames with the detections drawn over them."""

from __future__ import annotations

import math
import shutil
from array import array
from pathlib import PurePosixPath
from statistics import median
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edgeseg.errors import EdgeSegError, InputError
from edgeseg.files.draft import AtomicFile
from edgeseg.files.native import native_path
from edgeseg.files.records import mapped_write_errors, write_atomically
from edgeseg.files.temporary import sweep
from edgeseg.streaming.sources.video.mp4 import write_durations
from edgeseg.vision.letterbox import Letterbox
from edgeseg.vision.opencv import quiet_opencv

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edgeseg.streaming.results import RenderedFrame

# Pictures with these suffixes keep their format; all others are written as JPEG.
KEPT_SUFFIXES = frozenset((".jpg", ".jpeg", ".png"))
JPEG_QUALITY = 92
JPEG_MAX_SIDE = 65500
FALLBACK_FPS = 25.0
# OpenCV does not report write errors of videos, and the index written at the end needs space too.
MIN_FREE_BYTES = 16 << 20
MAX_STILL_S = 5.0
# Duration of a frame whose time is not later than that of the frame before.
MIN_DURATION_S = 0.001
BORDER_BGR = (0, 0, 0)


class ImageOverlays:
    """Writes an overlay picture for each image, with the same relative path below a folder.

    Args:
        folder: Folder for the pictures.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        sweep(folder)

    def write(self, rendered: RenderedFrame) -> None:
        """See `Sink.write`."""
        path = self._folder / overlay_name(rendered.result.frame.name)
        # JPEG allows no larger side. The file keeps its name, because viewers detect the format by content.
        suffix = ".png" if max(rendered.image.shape) > JPEG_MAX_SIDE else path.suffix
        options = [] if suffix.lower() == ".png" else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        good, data = cv2.imencode(suffix, rendered.image, options)
        if not good:
            height, width = rendered.image.shape[:2]
            msg = f"{path} cannot be encoded: {width}x{height} pixels"
            raise InputError(msg)
        write_atomically(path, data.tobytes(), bulk=True)

    def close(self) -> None:
        """See `Sink.close`."""


def overlay_name(name: str) -> str:
    """Name the overlay picture of an image: the image's name, plus `.jpg` unless it is a JPEG or PNG."""
    return name if PurePosixPath(name).suffix.lower() in KEPT_SUFFIXES else f"{name}.jpg"


class VideoOverlays:
    """Writes one overlay MP4 video per source, in which each frame is shown at its own time.

    Args:
        paths: Path of each video, indexed by `Frame.source`; replaced if it exists.
        rates_fps: Frames per second of the sources, for frames without a time; None means 25.
        live: Show no frame for longer than 5 seconds, however long the source was disconnected.
    """

    def __init__(self, paths: Sequence[Path], rates_fps: Sequence[float | None], *, live: bool) -> None:
        self._videos = [
            _VideoFile(path, 1 / (fps or FALLBACK_FPS), MAX_STILL_S if live else math.inf)
            for path, fps in zip(paths, rates_fps, strict=True)
        ]

    def write(self, rendered: RenderedFrame) -> None:
        """See `Sink.write`."""
        frame = rendered.result.frame
        self._videos[frame.source].write(rendered.image, frame.time_s)

    def close(self) -> None:
        """See `Sink.close`.

        Raises:
            EdgeSegError: A video cannot be finished or played; all are closed nevertheless.
        """
        errors = [error for video in self._videos if (error := video.close())]
        if errors:
            raise errors[0]


class _VideoFile:
    """A video that OpenCV writes at a constant rate; the frames get their durations when it is closed.

    The index of an MP4 file is written last, and without it the file cannot be played, so the file has a
    temporary name until then.
    """

    def __init__(self, path: Path, default_duration_s: float, max_duration_s: float) -> None:
        self._path, self._default_duration_s, self._max_duration_s = path, default_duration_s, max_duration_s
        self._writer: Any = None
        self._pending_file: AtomicFile | None = None
        self._canvas = np.zeros((0, 0, 3), np.uint8)
        # Durations of all frames but the newest, whose end is not known yet. The first is shown from time 0.
        self._durations_s = array("f")
        self._last_s = 0.0

    def write(self, image: NDArray[np.uint8], time_s: float | None) -> None:
        first = self._writer is None
        if first:
            self._open((image.shape[0], image.shape[1]))
        free = shutil.disk_usage(self._path.parent).free
        if free < MIN_FREE_BYTES:
            msg = f"{self._path} stops here: the disk is nearly full ({free >> 20} MiB left)"
            raise InputError(msg)
        self._writer.write(self._fit_size(image))
        if not first:
            shown_at_s = self._last_s + self._default_duration_s if time_s is None else time_s
            self._durations_s.append(
                min(max(MIN_DURATION_S, shown_at_s - self._last_s), self._max_duration_s)
            )
            self._last_s = shown_at_s

    def close(self) -> EdgeSegError | None:
        if self._writer is None or self._pending_file is None:
            return None
        self._writer.release()
        self._writer = None
        self._durations_s.append(median(self._durations_s) if self._durations_s else self._default_duration_s)
        try:
            timed = write_durations(self._pending_file.path, self._durations_s)
            with quiet_opencv(), native_path(self._pending_file.path) as name:
                whole = cv2.VideoCapture(name).isOpened()
            if whole:
                self._pending_file.commit()
        except OSError as exc:
            return EdgeSegError(f"cannot write {self._path}: {exc.strerror or exc}")
        finally:
            self._pending_file.close()
        if not whole:
            return EdgeSegError(
                f"{self._path} cannot be played; the disk or the quota was used up while it was written"
            )
        if not timed:
            return EdgeSegError(
                f"{self._path} plays at {FALLBACK_FPS:g} frames a second instead of the frames' own times: "
                f"OpenCV {cv2.__version__} writes MP4 in an unknown way"
            )
        return None

    def _open(self, size_hw: tuple[int, int]) -> None:
        self._canvas = np.zeros((*size_hw, 3), np.uint8)
        with mapped_write_errors(self._path):
            sweep(self._path.parent)
            self._pending_file = AtomicFile(self._path, self._path.suffix)
        with quiet_opencv(), native_path(self._pending_file.path) as name:
            fourcc = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(name, fourcc, FALLBACK_FPS, size_hw[::-1])
        if self._path.is_dir() or not self._writer.isOpened():
            self._writer = None
            self._pending_file.close()
            msg = f"{self._path} cannot be written as MPEG-4 video: check the folder, or use --no-overlay"
            raise InputError(msg)

    def _fit_size(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Fit a frame to the size of the first one, because some sources change size and a file cannot."""
        if image.shape == self._canvas.shape:
            return image
        size_hw = (self._canvas.shape[0], self._canvas.shape[1])
        Letterbox(frame_size_hw=(image.shape[0], image.shape[1]), input_size_hw=size_hw).fit(
            image, self._canvas, BORDER_BGR
        )
        return self._canvas
