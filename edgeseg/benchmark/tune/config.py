"""The settings of a search."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from edgeseg.bundle.manifest import DEFAULT_PATH
from edgeseg.errors import ConfigError
from edgeseg.exporter.config import ExportConfig
from edgeseg.runtime.choice import ANY_ENGINE, EngineChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneLimits:
    """What the model must keep to; at least one of the two.

    Attributes:
        max_latency_ms: Median of a call, frames in to masks out; None for no limit.
        max_map_drop: Points of AP, of boxes or of masks, that may be lost against FP32 at full size; None for
            no limit.
    """

    max_latency_ms: float | None = None
    max_map_drop: float | None = None

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in self.__slots__ if getattr(self, name) is not None}
        if not given:
            msg = "a search needs a limit; pass --max-latency-ms, --max-map-drop or both"
            raise ConfigError(msg)
        for name, value in given.items():
            if not 0 < value < math.inf:
                msg = f"{name} must be above 0 and finite, got {value}"
                raise ConfigError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneConfig:
    """What to search, on what and for how long.

    Attributes:
        checkpoint: `.pth` or `.safetensors`.
        limits: What the model must keep to.
        annotations: COCO file to measure AP on; None to measure agreement with FP32 at full size.
        images: Those of the annotations, or to agree on; None for `images` beside the annotations.
        max_annotated: Images to score, the first by id; None for all.
        calib: Images to calibrate INT8 with; None to leave INT8 out.
        calib_images: Number of calibration images; None for all usable ones, up to 50.
        output: Where the chosen bundle is written; None to write none.
        force: Replace a bundle at `output`.
        size_hw: Full size, of which others are shares; None for that of training.
        classes: File with class names.
        settings: File with settings that the checkpoint does not show.
        factory: `package.module:function` that builds the model.
        max_detections: None for the model's own.
        check: Images for the parity check of the chosen bundle.
        engine: Try only engines that it accepts, of `auto` all that run here, GPUs alone where there is one;
            threads of None are one a core and less.
        minutes: After which no further measurement begins.
        frames: Images that are timed.
        turns: Through all engines of a size; the last comparison has twice as many.
    """

    checkpoint: Path
    limits: TuneLimits
    annotations: Path | None = None
    images: Path | None = None
    max_annotated: int | None = None
    calib: Path | None = None
    calib_images: int | None = None
    output: Path | None = None
    force: bool = False
    size_hw: tuple[int, int] | None = None
    classes: Path | None = None
    settings: Path | None = None
    factory: str | None = None
    max_detections: int | None = None
    check: Path | None = None
    engine: EngineChoice = ANY_ENGINE
    minutes: float = 30.0
    frames: int = 3
    turns: int = 4

    def __post_init__(self) -> None:
        if self.annotations is None and self.images is None:
            msg = "accuracy is measured on images; pass --annotations FILE, or --images DIR without any"
            raise ConfigError(msg)
        for name in ("frames", "turns", "calib_images", "max_annotated", "max_detections"):
            if (value := getattr(self, name)) is not None and value < 1:
                msg = f"{name} must be at least 1, got {value}"
                raise ConfigError(msg)
        if not 0 < self.minutes < math.inf:
            msg = f"minutes must be above 0 and finite, got {self.minutes}"
            raise ConfigError(msg)

    @property
    def export_config(self) -> ExportConfig:
        """How every candidate is exported, but for its size and proposals."""
        return ExportConfig(
            checkpoint=self.checkpoint,
            output=self.output or DEFAULT_PATH,
            sizes_hw=() if self.size_hw is None else (self.size_hw,),
            classes=self.classes,
            settings=self.settings,
            factory=self.factory,
            max_detections=self.max_detections,
            check=self.check,
            force=self.force,
        )

    def export_config_at(self, size_hw: tuple[int, int], max_proposals: int) -> ExportConfig:
        """How one of them is exported."""
        return replace(self.export_config, sizes_hw=(size_hw,), max_proposals=max_proposals)
