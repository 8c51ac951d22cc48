"""What a source returns: frames, and inputs that could not be read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator


class SourceKind(str, Enum):
    """Kind of a source: a live source gives only its newest frame, the others give every frame."""

    IMAGES = "images"
    VIDEO = "video"
    LIVE = "live"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        image: `uint8[H, W, 3]`, BGR.
        name: Path below the source's folder, or the name of the video or camera.
        image_id: Id for COCO results: the file name if it is a number, else a running number; the number of
            the frame for a video.
        time_s: Seconds since the start of the video, or since the start of the run for a live source; None
            for an image.
        source: Index of its source among several, from 0.
        captured_s: Time at which a live source gave it, by `time.monotonic()`; None for a file.
        read_ms: Time to read and decode it, in milliseconds; for a live source, with the wait for it.

    Example:
        >>> frame = Frame(image=np.zeros((480, 640, 3), np.uint8), name="0007.png", image_id=7)
        >>> frame.time_s is None, frame.source
        (True, 0)
    """

    image: NDArray[np.uint8]
    name: str
    image_id: int
    time_s: float | None = None
    source: int = 0
    captured_s: float | None = None
    read_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An input that could not be read as a frame.

    Attributes:
        name: Name of the input, as in `Frame`.
        reason: The reason, as a sentence.
    """

    name: str
    reason: str


class Source(Protocol):
    """A source of frames in order: iterate over it once, then close it."""

    @property
    def kind(self) -> SourceKind:
        """Whether it is image files, a video or a live source."""

    @property
    def total(self) -> int | None:
        """Number of frames to expect; None if it is unknown."""

    @property
    def fps(self) -> float | None:
        """Frames per second of a video or a live source; None if it is unknown."""

    def __iter__(self) -> Iterator[Frame | Skipped]:
        """Iterate over the frames, and over the reasons why inputs gave none.

        Raises:
            InputError: The source failed as a whole.
        """

    def close(self) -> None:
        """Release the file or camera. Closing twice does no harm."""


class LiveSource(Source, Protocol):
    """A source that goes on whether or not its frames are read."""

    def cancel(self) -> None:
        """End a read that waits for a picture soon, if possible; may be called from any thread."""
