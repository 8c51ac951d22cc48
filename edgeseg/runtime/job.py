"""One run: what is asked for, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..bundle import DEFAULT_PATH
from ..errors import ConfigError, EdgeSegError
from .frames import Skipped

DEFAULT_OUTPUT = Path("edgeseg-output")
OVERLAY_FOLDER = "overlays"
OVERLAY_VIDEO = "overlay.mp4"
COCO_FILE = "results.json"
LINES_FILE = "detections.jsonl"
SUMMARY_FILE = "summary.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """What to run on what, and where to.

    Attributes:
        source: Image, folder, glob pattern or video; None for a camera.
        camera: Index of a camera; None for a source.
        model: Bundle.
        output: Folder of the results.
        score_threshold: Only instances above it.
        max_frames: Stop after so many; None for all.
        overlay: Also draw what is found.
        force: Replace results that are there.
        backend: As `edgeseg.load`.
        precision: As `edgeseg.load`.
        provider: As `edgeseg.load`.
        threads: As `edgeseg.load`.
    """

    source: str | None = None
    camera: int | None = None
    model: Path = DEFAULT_PATH
    output: Path = DEFAULT_OUTPUT
    score_threshold: float = 0.5
    max_frames: int | None = None
    overlay: bool = True
    force: bool = False
    backend: str = "auto"
    precision: str = "auto"
    provider: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        if (self.source is None) == (self.camera is None):
            msg = f"one of source and camera must be given, got {self.source!r} and {self.camera!r}"
            raise ConfigError(msg)
        if self.camera is not None and self.camera < 0:
            msg = f"camera must be 0 or more, got {self.camera}"
            raise ConfigError(msg)
        if not 0 <= self.score_threshold <= 1:
            msg = f"score_threshold must be within 0 and 1, got {self.score_threshold}"
            raise ConfigError(msg)
        if self.max_frames is not None and self.max_frames < 1:
            msg = f"max_frames must be at least 1, got {self.max_frames}"
            raise ConfigError(msg)

    @property
    def source_name(self) -> str:
        """What frames come from, for people."""
        return f"camera {self.camera}" if self.source is None else self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Who wants to hear how a run goes.

    Attributes:
        progress: Called with a line after each frame.
        note: Called with a sentence for each input that is skipped.
    """

    progress: Callable[[str], None] = lambda line: None
    note: Callable[[str], None] = lambda sentence: None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What a run did.

    Attributes:
        source: What frames came from.
        model: Path of the bundle.
        computed_by: Backend, its version and where it ran.
        score_threshold: Only instances above it were kept.
        frames: Number of frames done.
        instances: Number of instances in them.
        instances_by_class: The same by class name, the most frequent first.
        skipped: Inputs that could not be read, and why.
        read_ms: Mean time to read and decode a frame, in milliseconds.
        detect_ms: Mean time from frame to detections.
        write_ms: Mean time to draw and write.
        outputs: Kind of result to its path.
        interrupted: Stopped by Ctrl-C.
        error: What stopped the run; None when nothing did.
    """

    source: str
    model: str
    computed_by: str
    score_threshold: float
    frames: int
    instances: int
    instances_by_class: dict[str, int]
    skipped: tuple[Skipped, ...]
    read_ms: float
    detect_ms: float
    write_ms: float
    outputs: dict[str, str]
    interrupted: bool = False
    error: str | None = None


class RunStoppedError(EdgeSegError):
    """A run ended before its source did, or did nothing; what it wrote stays.

    Attributes:
        summary: What was done before.
    """

    def __init__(self, message: str, summary: RunSummary) -> None:
        super().__init__(message)
        self.summary = summary
