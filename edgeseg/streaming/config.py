"""Settings, callbacks and summary of a run."""

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
    """Where frames come from and how they are read.

    Attributes:
        sources: Images, folders, glob patterns, videos and streams to read together; an int is a camera.
        max_frames: Stop after this number of frames; None reads all.
        realtime: Play videos at their own speed, like a camera, and drop frames that come too fast.
        bit_depth: Number of bits used per sample in images with more than 8; None detects it per image.
        give_up_after_s: How long to try to reopen a lost stream, in seconds; None retries forever.

    Raises:
        ConfigError: There is no source, or a value is out of range.
    """

    # Addresses may contain passwords, so they are left out of the repr.
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
    """Which results are written, and where.

    Attributes:
        folder: Folder for the results; None for `edgeseg-output`, or `edgeseg-output-2` and so on if that
            already holds results.
        files: Write result files; if off, the results go only to the window, the page and the returned
            summary.
        overlay: Also write the frames with the detections drawn over them.
        force: Replace existing results.
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
        redaction: How they are made unrecognisable.
        window: Show the pictures in a window.
        web: Address at which to serve a page that shows the pictures; None for no page.
        web_token: Token that a viewer of the page must give.
    """

    style: DrawStyle = DEFAULT_STYLE
    redact: tuple[str, ...] = ()
    redaction: Redaction = Redaction.BLUR
    window: bool = False
    web: WebAddress | None = None
    web_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """All settings of a run.

    Attributes:
        source: Where frames come from and how they are read.
        model: Path of the bundle.
        engine: Which engine of the bundle to use.
        score_threshold: Only instances with a higher score are kept; 0 to 1.
        tracking: How objects are followed and counted; None turns tracking off.
        output: Which results are written, and where.
        display: What the pictures look like, and where they are shown.

    Raises:
        ConfigError: `score_threshold` is out of range.
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
        note: Called, possibly from other threads, with a sentence for each remark, such as a skipped input,
            a lost stream, or a line or zone that cannot count anything.
    """

    progress: Callable[[str], None] = lambda line: None
    note: Callable[[str], None] = lambda sentence: None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """Results and statistics of a run.

    Attributes:
        sources: Names of the sources.
        model: Path of the bundle.
        computed_by: Backend, its version and the device it ran on.
        score_threshold: Score threshold at the end of the run.
        frames: Number of frames processed.
        fps: Mean number of frames per second, from the first frame to the last.
        instances: Number of instances found in all frames.
        instances_by_class: Number of instances by class name, the most frequent first.
        skipped: Inputs that could not be read, and why; only the first thousand.
        skipped_count: Number of all inputs that could not be read.
        dropped: By source, the number of live frames that a newer one replaced.
        reconnects: How often live sources had to be reopened.
        stages_ms: Mean time of each stage per frame, in milliseconds; the stages run in parallel.
        age_mean_ms: Mean age of live frames when their results were ready, in milliseconds; None for files.
        age_max_ms: Highest age of a live frame, in milliseconds; None for files.
        scenes: By source, what tracking counted: `entered`, `left`, `entered_by_class`, `lines`, `zones`.
        health: Load, temperature and power at the end.
        output: Folder of the results; empty if none were written.
        outputs: Path of each kind of result.
        interrupted: Whether Ctrl-C ended the run.
        error: Message of the error that ended the run; None if there was none.
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
    """A run stopped before the end of its sources, or could not read any input; its files are kept.

    Attributes:
        summary: Summary of the run up to the error.
    """

    def __init__(self, message: str, summary: RunSummary) -> None:
        super().__init__(message)
        self.summary = summary
