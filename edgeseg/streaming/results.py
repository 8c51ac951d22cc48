"""Results of a frame, the state of the run at that frame, and the interface of the sinks that take them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeseg.runtime.host.health import Health
from edgeseg.vision.detections import Detections
from edgeseg.vision.frames import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class LineCount:
    """A line across the frame and how many objects have crossed it.

    Attributes:
        name: Given by the user, or `line 1` and so on.
        start_xy: First end, in pixels of the frame.
        end_xy: Other end.
        forward: Crossings from the left of the way from start to end to its right.
        backward: Crossings the other way.
    """

    name: str
    start_xy: tuple[float, float]
    end_xy: tuple[float, float]
    forward: int = 0
    backward: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneCount:
    """A region of the frame and how many objects are and have been in it.

    Attributes:
        name: Given by the user, or `zone 1` and so on.
        corners_xy: Its corners in order, in pixels of the frame.
        inside: Objects in it now.
        entered: Objects that have ever been in it.
    """

    name: str
    corners_xy: tuple[tuple[float, float], ...]
    inside: int = 0
    entered: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """What tracking knows after a frame.

    Attributes:
        trails: Track id to `float32[P, 2]`: where the object's centre was, x, y in pixels, the newest last.
        entered: Objects seen so far.
        left: Those of them that are gone.
        entered_by_class: Objects seen so far by class name.
        lines: Counting lines.
        zones: Counting zones.
    """

    trails: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)
    entered: int = 0
    left: int = 0
    entered_by_class: Mapping[str, int] = field(default_factory=dict)
    lines: tuple[LineCount, ...] = ()
    zones: tuple[ZoneCount, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameResult:
    """A frame and what was found in it.

    Attributes:
        frame: The frame as it was read.
        detections: Above the score threshold, in pixels of the frame.
        stages_ms: Time of each stage, in milliseconds, in the order of `STAGES`.
        age_ms: Time from the camera to the result, in milliseconds; None for a file.
        scene: What tracking knows; None where nothing is tracked.
        hidden: What must be made unrecognisable in pictures of this frame, also what scores below the
            threshold; None where nothing is redacted.
    """

    frame: Frame
    detections: Detections
    stages_ms: Mapping[str, float]
    age_ms: float | None = None
    scene: Scene | None = None
    hidden: Detections | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Current state of a run.

    Attributes:
        uptime_s: Time since the run started, in seconds.
        frames: Number of frames processed so far.
        fps: Frames per second over the last few seconds.
        stages_ms: Mean time of each stage over the last frames, in milliseconds.
        age_ms: Age of the newest frame when its results were ready, in milliseconds; None for files.
        dropped: By source: frames of a live source that a newer one replaced.
        skipped: Inputs or frames that could not be read.
        reconnects: How often live sources had to be opened again.
        score_threshold: Only instances above it are shown and written.
        instances_by_class: In the last frame.
        health: Load, temperature and power of the machine.
    """

    uptime_s: float
    frames: int
    fps: float
    stages_ms: Mapping[str, float]
    age_ms: float | None
    dropped: Mapping[str, int]
    skipped: int
    reconnects: int
    score_threshold: float
    instances_by_class: Mapping[str, int]
    health: Health


class RenderedFrame:
    """One frame as it goes to every sink: its result, the state of the run, and its picture.

    Args:
        result: The frame and what was found.
        status: Gives the state of the run.
        draw: Draws the picture; called once, and only if a sink asks for it.
    """

    def __init__(
        self,
        result: FrameResult,
        status: Callable[[], Status],
        draw: Callable[[FrameResult], NDArray[np.uint8]],
    ) -> None:
        self.result = result
        self._status = status
        self._draw = draw

    @cached_property
    def status(self) -> Status:
        """State of the run at this frame."""
        return self._status()

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """The frame, redacted and with everything drawn over it: `uint8[H, W, 3]`, BGR. Not to be changed."""
        return self._draw(self.result)


class Sink(Protocol):
    """Takes what was found in each frame: a file, a window, a page."""

    def write(self, rendered: RenderedFrame) -> None:
        """Add one frame.

        Raises:
            EdgeSegError: The disk is full, or the file cannot be written; the frames before it stay.
        """

    def close(self) -> None:
        """Complete and close the sink; nothing can be written afterwards."""
