"""Frames of video files, through OpenCV."""

from __future__ import annotations

import math
import os
import shlex
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import cv2

from edgeseg.errors import InputError
from edgeseg.files.reading import open_input
from edgeseg.files.temporary import scratch_folder
from edgeseg.vision.frames import Frame, Skipped, SourceKind
from edgeseg.vision.images.limits import MAX_VIDEO_PIXELS, check_image_size, size_limit_reason
from edgeseg.vision.opencv import frames_text, open_video_capture, read_captured_image, stated_size_hw

from .codecs import Codec, codec_from_fourcc, codec_name, fourcc_text
from .completeness import is_cut_off
from .containers import PROBED_BYTES, is_video, stated_size
from .mp4 import COMPLETE, find_box, frame_count, is_mp4, read_index, video_track
from .orientation import orientation_from_file
from .packets import SizeChangeDetector, detect_size_changes
from .timestamps import FrameTimes, plausible_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = "3gp asf avi flv m2ts m4v mjpeg mjpg mkv mov mp4 mpeg mpg mts ogv webm wmv"
VIDEO_SUFFIXES = frozenset(f".{suffix}" for suffix in SUFFIXES.split())
# Reads that may fail in a row within a file: at least ten seconds of it, and at its end they cost 5 us each.
GAP_READS = 300
# No header may claim more frames than can be tried in half a second.
MAX_GAP_READS = 100_000
# FFmpeg's own decoder of AV1 only drives a GPU's, and complains at each picture where there is none.
AV1_READS = 2
# OpenCV's way to say that a frame has no time: FFmpeg's lowest number.
NO_TIME_S = -1e9


class VideoSource:
    """The frames of a video file, none left out.

    Args:
        path: The file.
        note: Told, once, that pictures change their size.

    Raises:
        InputError: The file cannot be read, is empty, no video, of more pixels than `MAX_VIDEO_PIXELS`, or
            has no frame that can be decoded.
    """

    kind = SourceKind.VIDEO

    def __init__(self, path: Path, note: Callable[[str], None] = lambda sentence: None) -> None:
        self.name, self._note = path.name, note
        self._size_changes: SizeChangeDetector | None = None
        self._folder = ExitStack()
        _check_content(path)
        self._capture = open_video_capture(path)
        if self._capture is None:
            raise InputError(_not_opened(path))
        try:
            self._prepare(path)
        except BaseException:
            self.close()
            raise

    def _prepare(self, path: Path) -> None:
        """Look at what was opened, and decode its first frame."""
        check_image_size(stated_size_hw(self._capture), path, MAX_VIDEO_PIXELS)
        # OpenCV turns pictures, but does not mirror them: see `orientation_from_file`.
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        self._orientation = orientation_from_file(path, self._capture.get(cv2.CAP_PROP_ORIENTATION_META))
        self._fourcc = fourcc_text(self._capture.get(cv2.CAP_PROP_FOURCC))
        self.fps = plausible_rate(self._capture.get(cv2.CAP_PROP_FPS))
        # Other containers have no count, and OpenCV makes one of a length and a rate that may both be wrong.
        self.total = frame_count(read_index(path)) if is_mp4(path) else None
        self._cut_off = is_cut_off(path)
        self._size_changes = detect_size_changes(
            path, codec_from_fourcc(self._fourcc), stated_size_hw(self._capture)
        )
        self._pictures = self._decode()
        self._first = next(self._pictures, None)
        if self._first is None:
            raise InputError(_not_decoded(path, self._fourcc))

    def __iter__(self) -> Iterator[Frame | Skipped]:
        """Decode each frame; a gap in the file, and one that ends early, is told as skipped."""
        index, times, start_s = 0, FrameTimes(self.fps), time.monotonic()
        picture, size_hw = self._first, None
        while picture is not None:
            lost, stated_s, image = picture
            if lost:
                reason = f"{frames_text(lost)} after frame {index} cannot be decoded"
                yield Skipped(name=self.name, reason=reason)
                index += lost
            image = self._orientation.upright(image)
            time_s = times.advance(stated_s)
            if size_hw and size_hw != image.shape[:2]:
                self._note_size_change(size_hw, image.shape[:2], time_s)
            size_hw = image.shape[:2]
            read_ms = 1000 * (time.monotonic() - start_s)
            yield Frame(image=image, name=self.name, image_id=index, time_s=time_s, read_ms=read_ms)
            index, start_s = index + 1, time.monotonic()
            picture = next(self._pictures, None)
        if reason := self._shortfall(index):
            yield Skipped(name=self.name, reason=reason)

    def close(self) -> None:
        """See `Source.close`."""
        self._capture.release()
        if self._size_changes:
            self._size_changes.close()
        self._folder.close()

    def _decode(self) -> Iterator[tuple[int, float, NDArray[np.uint8]]]:
        """Give each picture as it is stored, after how many that were lost, and its time in the file."""
        index = 0
        while (change := self._change_at(index)) is None:
            lost, image = _read_next(self._capture, self._tries(index))
            if image is None:
                return
            if (change := self._change_at(index + lost)) is not None:
                break
            yield lost, _stated_s(self._capture), image
            index += lost + 1
        yield from self._decode_stretches(change - index)

    def _decode_stretches(self, lost: int) -> Iterator[tuple[int, float, NDArray[np.uint8]]]:
        """Give the pictures from the first change of size on."""
        if self._size_changes is None:
            return
        folder = self._folder.enter_context(scratch_folder())
        for segment in self._size_changes.segments(folder):
            large = size_limit_reason(segment.size_hw, MAX_VIDEO_PIXELS)
            capture, index = None if large else open_video_capture(segment.path), 0
            while capture is not None and index < len(segment.times_s):
                failed, image = _read_next(capture, len(segment.times_s) - index)
                if image is None:
                    break
                index += failed
                yield lost + failed, segment.times_s[index], image
                lost, index = 0, index + 1
            lost += len(segment.times_s) - index
            if capture is not None:
                capture.release()
        self._folder.close()

    def _change_at(self, index: int) -> int | None:
        return None if self._size_changes is None else self._size_changes.changes_at(index)

    def _tries(self, index: int) -> int:
        """Say how many reads may fail before it is the end."""
        if not index and codec_from_fourcc(self._fourcc) is Codec.AV1:
            return AV1_READS
        return min(max(GAP_READS, (self.total or 0) - index), MAX_GAP_READS)

    def _note_size_change(self, before_hw: tuple[int, ...], now_hw: tuple[int, ...], time_s: float) -> None:
        sizes = [f"{width}x{height}" for height, width in (before_hw, now_hw)]
        self._note(
            f"{self.name} changes its size from {sizes[0]} to {sizes[1]} at {time_s:.2f} s: results are in "
            "pixels of their own frame, and an overlay video keeps its first size, with black borders"
        )
        self._note = lambda sentence: None

    def _shortfall(self, count: int) -> str:
        """Say what is missing at the end; empty where nothing is."""
        if self.total is not None and count < COMPLETE * self.total:
            return f"it ends after frame {count} of {self.total}: truncated or corrupt"
        if self._cut_off:
            return f"it ends after frame {count}, before the end that its header states: truncated"
        return ""


def _read_next(capture: Any, tries: int) -> tuple[int, NDArray[np.uint8] | None]:
    """Read on past what is corrupt; gives how many reads failed, and None at the real end."""
    # A decoder that fails within a file recovers at the next key frame; after the end it never does.
    for failed in range(tries):
        image = read_captured_image(capture)
        if image is not None:
            return failed, image
    return tries, None


def _stated_s(capture: Any) -> float:
    time_s = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
    return time_s if time_s > NO_TIME_S else math.nan


def _check_content(path: Path) -> None:
    """Look at a file before FFmpeg does, which takes its memory, and opens others, as it opens one.

    Raises:
        InputError: It cannot be read, is empty, no video, or states too large a size.
    """
    with open_input(path) as file:
        if not os.fstat(file.fileno()).st_size:
            msg = f"{path} is empty"
            raise InputError(msg)
        if not is_video(file):
            raise InputError(_not_opened(path))
        file.seek(0)
        size_hw = stated_size(path, file.read(PROBED_BYTES))
    if size_hw:
        check_image_size(size_hw, path, MAX_VIDEO_PIXELS)


def _not_opened(path: Path) -> str:
    if is_mp4(path) and (index := read_index(path)):
        track = video_track(index)
        if not track:
            return f"{path} has no pictures: it holds sound or data only"
        fourcc = find_box(track, b"mdia", b"minf", b"stbl", b"stsd")[12:16].decode("ascii", "replace")
        return _not_decoded(path, fourcc)
    kind = "not a video" if path.suffix.lower() in VIDEO_SUFFIXES else "neither an image nor a video"
    return (
        f"{path} is {kind} that can be read; it may be truncated, hold sound only, or be of an unknown format"
    )


def _not_decoded(path: Path, fourcc: str) -> str:
    codec = codec_name(fourcc)
    why = (
        f"it is {codec} video, which OpenCV {cv2.__version__} cannot decode on this machine; convert it"
        if codec_from_fourcc(fourcc) is Codec.AV1
        else f"it is empty or damaged, or OpenCV {cv2.__version__} has no decoder for its codec ({codec}); "
        "if a player shows it, convert it"
    )
    again = path.with_name(f"{path.stem}-h264.mp4")
    command = f"ffmpeg -i {shlex.quote(str(path))} -c:v libx264 -pix_fmt yuv420p {shlex.quote(str(again))}"
    return f"{path} has no frame that can be decoded: {why}: {command}"
