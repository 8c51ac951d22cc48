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
    """Where frames come from; it decides how overlays are written."""

    IMAGES = "images"
    VIDEO = "video"
    CAMERA = "camera"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        image: `uint8[H, W, 3]`, BGR.
        name: Path below the source's folder, or the name of the video or camera.
        image_id: For COCO results: a file name that is a number, else a running number; of a video the frame.
        time_s: Since the start of the video or camera, in seconds; None for an image file.
    """

    image: NDArray[np.uint8]
    name: str
    image_id: int
    time_s: float | None = None


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
        """Image files, a video or a camera."""

    @property
    def total(self) -> int | None:
        """Frames to expect; None where nobody knows."""

    @property
    def fps(self) -> float | None:
        """Frames per second of a video or camera, where it is known."""

    def __iter__(self) -> Iterator[Frame | Skipped]:
        """Give each frame, or why there is none.

        Raises:
            InputError: The source has failed as a whole.
        """

    def close(self) -> None:
        """Release the file or camera; harmless if done before."""
