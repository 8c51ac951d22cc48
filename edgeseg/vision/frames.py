"""What a source gives: frames, and the inputs that could not become one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator


class SourceKind(str, Enum):
    """Where frames come from: of a live source only the newest frame counts, of the others every one."""

    IMAGES = "images"
    VIDEO = "video"
    LIVE = "live"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        image: `uint8[H, W, 3]`, BGR.
        name: Path below the source's folder, or the name of the video or camera.
        image_id: For COCO results: a file name that is a number, else a running number; of a video the frame.
        time_s: Since the start of the video, or of the run for a live source, in seconds; None for an image.
        source: Which of several sources it is from, counted from 0.
        captured_s: When a live source gave it, by `time.monotonic()`; None for a file.
        read_ms: What it took to read and decode it; of a live source with the wait for it.
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
    """An input that gave no frame.

    Attributes:
        name: As `Frame.name`.
        reason: A sentence that says why.
    """

    name: str
    reason: str


class Source(Protocol):
    """Frames in order; iterate once, then close."""

    @property
    def kind(self) -> SourceKind:
        """Image files, a video or a live source."""

    @property
    def total(self) -> int | None:
        """Frames to expect; None where nobody knows."""

    @property
    def fps(self) -> float | None:
        """Frames per second of a video or a live source, where it is known."""

    def __iter__(self) -> Iterator[Frame | Skipped]:
        """Give each frame, or why there is none.

        Raises:
            InputError: The source has failed as a whole.
        """

    def close(self) -> None:
        """Release the file or camera; harmless if done before."""


class LiveSource(Source, Protocol):
    """A source that does not wait for whoever reads it."""

    def cancel(self) -> None:
        """Let a read that waits for a picture end soon, where that is possible; any thread may call it."""
