"""Live sources that OpenCV reads: what reading has to put up with until one is lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import cv2

from edgeseg.errors import InputError
from edgeseg.streaming.sources.video.timestamps import plausible_rate
from edgeseg.vision.frames import Frame, Skipped, SourceKind
from edgeseg.vision.images.limits import MAX_VIDEO_PIXELS, size_limit_reason
from edgeseg.vision.opencv import frames_text, positive, read_captured_image, stated_size_hw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

# A camera that has just been opened may need some reads before its first picture.
MAX_FIRST_READS = 30
# A cable's glitch spoils a picture or two.
MAX_FAILED_READS = 3
# A read that fails after so long has met a time-out, not a spoilt picture; another would wait as long.
TIMED_OUT_S = 2.0
# FFmpeg looks at a second of a stream before it opens; more pictures than three seconds have are no backlog.
MAX_BACKLOG = 90
# A picture that is waited for takes most of the time between two, one that lies there only its decoding.
WAITED_SHARE = 0.5
FALLBACK_FPS = 25.0


class CaptureSource:
    """Frames that OpenCV reads from a camera or stream.

    Args:
        name: For people.
        capture: An open `cv2.VideoCapture`; closed with this.
        late: Pictures may have gathered while it was opened, and are old.

    Raises:
        InputError: It states more pixels than `MAX_VIDEO_PIXELS`; the capture is closed.

    Attributes:
        frames: Of a recorded video; 0 for a stream.
    """

    kind = SourceKind.LIVE
    total = None

    def __init__(self, name: str, capture: Any, *, late: bool = False) -> None:
        self.name = name
        self._late = late
        self._capture = capture
        if reason := size_limit_reason(stated_size_hw(capture), MAX_VIDEO_PIXELS):
            capture.release()
            msg = f"{name} is refused: {reason}"
            raise InputError(msg)
        self.fps = plausible_rate(capture.get(cv2.CAP_PROP_FPS))
        self.frames = int(positive(capture.get(cv2.CAP_PROP_FRAME_COUNT)) or 0)

    def __iter__(self) -> Iterator[Frame | Skipped]:
        """Read frame after frame; see `Source`."""
        if self._late:
            self._catch_up()
        return live_frames(self.name, lambda: read_captured_image(self._capture))

    def cancel(self) -> None:
        """See `LiveSource.cancel`; OpenCV's reads end by their time-outs only."""

    def close(self) -> None:
        """See `Source.close`."""
        self._capture.release()

    def _catch_up(self) -> None:
        """Pass over pictures until one has to be waited for."""
        waited_s = WAITED_SHARE / (self.fps or FALLBACK_FPS)
        for _ in range(MAX_BACKLOG):
            start_s = time.monotonic()
            if not self._capture.grab() or time.monotonic() - start_s > waited_s:
                return


def live_frames(name: str, read: Callable[[], NDArray[np.uint8] | None]) -> Iterator[Frame | Skipped]:
    """Read from a live source until it is lost.

    Args:
        name: Of the source.
        read: Waits for the next picture; None where it fails.

    Returns:
        Frames without a time; whoever knows when the run began gives them one.

    Raises:
        InputError: No pictures come, or none any more.
    """
    index, failed = 0, 0
    while failed < (MAX_FAILED_READS if index else MAX_FIRST_READS):
        start_s = time.monotonic()
        image = read()
        now_s = time.monotonic()
        if image is None:
            failed += MAX_FIRST_READS if now_s - start_s > TIMED_OUT_S else 1
            continue
        if failed and index:
            yield Skipped(name=name, reason=f"{frames_text(failed)} after frame {index} did not come")
        read_ms = 1000 * (now_s - start_s)
        yield Frame(image=image, name=name, image_id=index, captured_s=now_s, read_ms=read_ms)
        index, failed = index + 1, 0
    msg = (
        f"{name} gives no more pictures after frame {index}; check that it is still connected"
        if index
        else f"{name} opens but gives no picture; close other programs that may be using it"
    )
    raise InputError(msg)
