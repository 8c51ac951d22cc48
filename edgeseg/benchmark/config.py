"""The settings of a benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeseg.bundle.manifest import DEFAULT_PATH
from edgeseg.errors import ConfigError
from edgeseg.runtime.choice import ANY_ENGINE, AUTO, EngineChoice

# Timed calls give detections above it, and so are agreement and examples.
SCORE_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkConfig:
    """What to measure on what, and for how long.

    Attributes:
        model: Bundle.
        images: Folder; None for `images` beside the annotations, else for the built-in photographs.
        annotations: COCO file of these images; None to measure no average precision.
        max_images: Annotated images to score, the first by image id; None for all.
        checkpoint: Of the bundle; None to look for it here and beside the bundle.
        factory: Function that builds the checkpoint's model, if it was exported with one.
        rows: Names of rows to measure, `*` standing for anything; empty for all.
        engine: Of every row: with how many threads a call runs. Backend, precision and provider are `auto`,
            as each row has its own.
        batch: Images of one call; None for the bundle's. For another the bundle is exported anew from its
            checkpoint, which must be there.
        turns: Through all rows, at least.
        duration_s: Least total time of the turns, in seconds.
        margin_percent: Turns go on until the 95 % interval of every ratio reaches no further; 0 for any.
        most_s: No turn begins for the sake of the margin after so long, in seconds.
        warmup: Calls of each row before it is measured, at least, besides one of every timed image.
        concurrency: Callers of one model at once, to measure throughput by; 1 for none.
        boxes: Detections that the threshold leaves on every timed image, in the mean of a batch; None for a
            threshold of 0.5.
        frames: Images that are timed.
        frame_size_hw: What these are scaled to; None for the input's size, so that no row needs to scale.
        price_per_hour: Of this machine, in any currency; None to leave costs out.
        compile: Try `torch.compile`.
        compile_timeout_s: Longest that a variant of PyTorch may take for its first call, in seconds.
    """

    model: Path = DEFAULT_PATH
    images: Path | None = None
    annotations: Path | None = None
    max_images: int | None = None
    checkpoint: Path | None = None
    factory: str | None = None
    rows: tuple[str, ...] = ()
    engine: EngineChoice = ANY_ENGINE
    batch: int | None = None
    turns: int = 10
    duration_s: float = 0.0
    margin_percent: float = 5.0
    most_s: float = 600.0
    warmup: int = 1
    concurrency: int = 1
    boxes: int | None = None
    frames: int = 4
    frame_size_hw: tuple[int, int] | None = None
    price_per_hour: float | None = None
    compile: bool = True
    compile_timeout_s: float = 600.0

    def __post_init__(self) -> None:
        minimums = {
            "max_images": 1,
            "batch": 1,
            "turns": 1,
            "warmup": 0,
            "concurrency": 1,
            "boxes": 1,
            "frames": 1,
        }
        for name, lowest in minimums.items():
            if (value := getattr(self, name)) is not None and value < lowest:
                msg = f"{name} must be at least {lowest}, got {value}"
                raise ConfigError(msg)
        for name in ("duration_s", "margin_percent", "most_s", "price_per_hour"):
            if (value := getattr(self, name)) is not None and not 0 <= value < float("inf"):
                msg = f"{name} must be 0 or more, got {value}"
                raise ConfigError(msg)
        for name in ("backend", "precision", "provider"):
            if (value := getattr(self.engine, name)) != AUTO:
                msg = f"engine.{name} must be {AUTO}, got {value}: name the engines in rows"
                raise ConfigError(msg)
        if self.frame_size_hw is not None and min(self.frame_size_hw) < 1:
            msg = f"frame_size_hw must be two sizes of at least 1 pixel, got {self.frame_size_hw}"
            raise ConfigError(msg)
