"""One run: what is asked for, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeseg.bundle.manifest import DEFAULT_PATH
from edgeseg.errors import ConfigError, EdgeSegError
from edgeseg.runtime.choice import ANY_ENGINE, EngineChoice
from edgeseg.runtime.host.health import Health
from edgeseg.vision.drawing import DEFAULT_STYLE, DrawStyle
from edgeseg.vision.frames import Skipped
from edgeseg.vision.images.bitdepth import check_bit_depth

from .rendering.redaction import Redaction
from .tracking import TrackConfig
from .web.address import WebAddress

DEFAULT_OUTPUT = Path("edgeseg-output")
OVERLAY_FOLDER = "overlays"
OVERLAY_VIDEO = "overlay.mp4"
COCO_FILE = "results.json"
LINES_FILE = "detections.jsonl"
SUMMARY_FILE = "summary.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """What frames come from, and how they are read.

    Attributes:
        sources: Read together: images, folders, glob patterns, videos, streams; an int is a camera.
        max_frames: Stop after so many; None for all.
        realtime: Play videos at their own speed, as a camera would, and drop what comes too fast.
        bit_depth: How many bits of a sample are used, in images of more than 8; None to find it for each.
        give_up_after_s: How long to try to open a lost stream again; None to retry forever.
    """

    # What may hold passwords is not shown.
    sources: tuple[str | int, ...] = field(repr=False)
    max_frames: int | None = None
    realtime: bool = False
    bit_depth: int | None = None
    give_up_after_s: float | None = None

    def __post_init__(self) -> None:
        if not self.sources:
            msg = "sources must name at least one image, folder, video, stream or camera, and is empty"
            raise ConfigError(msg)
        if self.max_frames is not None and self.max_frames < 1:
            msg = f"max_frames must be at least 1, got {self.max_frames}"
            raise ConfigError(msg)
        check_bit_depth(self.bit_depth)
        if self.give_up_after_s is not None and not self.give_up_after_s > 0:
            msg = f"give_up_after_s must be more than 0, got {self.give_up_after_s}"
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputConfig:
    """Which results are written, and where to.

    Attributes:
        folder: Of the results; None for `edgeseg-output`, or `edgeseg-output-2` and so on where there are
            results already.
        files: Write results at all; without, there are only a window, a page and the summary.
        overlay: Also write what is found drawn over the frames.
        force: Replace results that are there.
    """

    folder: Path | None = None
    files: bool = True
    overlay: bool = True
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayConfig:
    """What the pictures look like, and where they are shown.

    Attributes:
        style: What is drawn.
        redact: Names of classes that are made unrecognisable in every picture.
        redaction: How.
        window: Show the pictures in a window.
        web: Where to serve a page that shows them; None for nowhere.
        web_token: What a viewer of the page must know.
    """

    style: DrawStyle = DEFAULT_STYLE
    redact: tuple[str, ...] = ()
    redaction: Redaction = Redaction.BLUR
    window: bool = False
    web: WebAddress | None = None
    web_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """What to run on what, and where to.

    Attributes:
        source: What frames come from.
        model: Bundle.
        engine: What computes it.
        score_threshold: Only instances above it.
        tracking: How objects are followed and counted; None leaves them without numbers.
        output: Which results are written, and where to.
        display: What the pictures look like, and where they are shown.
    """

    source: SourceConfig
    model: Path = DEFAULT_PATH
    engine: EngineChoice = ANY_ENGINE
    score_threshold: float = 0.5
    tracking: TrackConfig | None = None
    output: OutputConfig = OutputConfig()
    display: DisplayConfig = DisplayConfig()

    def __post_init__(self) -> None:
        if not 0 <= self.score_threshold <= 1:
            msg = f"score_threshold must be within 0 and 1, got {self.score_threshold}"
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCallbacks:
    """Functions that a run calls to report its progress.

    Attributes:
        progress: Called with a line after each frame.
        note: Called, also in other threads, with a sentence for each input that is skipped, and for a line
            or zone that counts nothing.
    """

    progress: Callable[[str], None] = lambda line: None
    note: Callable[[str], None] = lambda sentence: None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What a run did.

    Attributes:
        sources: What frames came from.
        model: Path of the bundle.
        computed_by: Backend, its version and where it ran.
        score_threshold: Only instances above it were kept, at the end of the run.
        frames: Number of frames done.
        fps: Frames a second from the first to the last.
        instances: Number of instances in them.
        instances_by_class: The same by class name, the most frequent first.
        skipped: Inputs that could not be read, and why; the first thousand.
        skipped_count: All of them.
        dropped: By source, frames of a live source that a newer one replaced.
        reconnects: How often live sources had to be opened again.
        stages_ms: Mean of each stage a frame, in milliseconds; stages go on at the same time.
        age_mean_ms: Mean age of a live frame when its results were there; None for files.
        age_max_ms: The highest of them.
        scenes: By source, what tracking counted: `entered`, `left`, `entered_by_class`, `lines`, `zones`.
        health: Load, temperature and power at the end.
        output: Folder of the results; empty if none were written.
        outputs: Kind of result to its path.
        interrupted: Stopped by Ctrl-C.
        error: What stopped the run; None when nothing did.
    """

    sources: tuple[str, ...]
    model: str
    computed_by: str
    score_threshold: float
    frames: int
    fps: float
    instances: int
    instances_by_class: dict[str, int]
    skipped: tuple[Skipped, ...]
    skipped_count: int
    dropped: dict[str, int]
    reconnects: int
    stages_ms: dict[str, float]
    age_mean_ms: float | None
    age_max_ms: float | None
    scenes: dict[str, dict[str, Any]]
    health: Health
    output: str
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
