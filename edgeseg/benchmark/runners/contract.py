"""The contract between the measuring code and a runner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.vision.detections import Detections

Frames = Sequence[NDArray[np.uint8]]


class CallResult(NamedTuple):
    """What a call gave, and when it passed from one stage to the next.

    Attributes:
        output: Whatever the user of this engine has in hand then.
        scores: Of the detections of all frames.
        inference_start_s: When the network began, by `time.perf_counter()`.
        inference_end_s: When it ended.
    """

    output: Any
    scores: list[float]
    inference_start_s: float
    inference_end_s: float


class Runner(Protocol):
    """One loaded row. May be called from several threads at once."""

    @property
    def description(self) -> str:
        """Package, its version, where it runs and in which precision."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What was loaded."""

    def __call__(self, frames: Frames, score_threshold: float) -> CallResult:
        """Go from frames, `uint8[H, W, 3]` BGR, to masks in them, as a user of this engine would."""

    def detect(self, frames: Frames, score_threshold: float) -> list[Detections]:
        """Find instances in frames of any size; not timed."""

    def close(self) -> None:
        """Release the memory."""
