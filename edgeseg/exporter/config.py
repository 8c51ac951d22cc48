"""Settings of an export, and the counts and thresholds that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeseg.bundle.manifest import DEFAULT_PATH
from edgeseg.errors import ConfigError
from edgeseg.spec import check_size

from .profiles import PROFILES, Profile, scaled_size


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """Settings of an export; None keeps the model's own value.

    Attributes:
        checkpoint: Path of a `.pth` or `.safetensors` file.
        profile: Preset of input size, proposals and detections; values given explicitly take precedence.
        sizes_hw: Heights and widths of the input in pixels, multiples of 32, the main size first; empty for
            the training size scaled by the profile.
        classes: File with class names.
        settings: JSON file with settings that cannot be read from the checkpoint.
        factory: `package.module:function` that builds the model.
        check: Folder of images for the parity check; None for the built-in ones.
        parity: Whether to run the parity check.
        force: Whether to replace a bundle at `output`.
    """

    checkpoint: Path
    output: Path = DEFAULT_PATH
    profile: Profile = Profile.ACCURATE
    sizes_hw: tuple[tuple[int, int], ...] = ()
    batch: int = 1
    classes: Path | None = None
    max_detections: int | None = None
    max_proposals: int | None = None
    score_threshold: float | None = None
    nms_threshold: float | None = None
    settings: Path | None = None
    factory: str | None = None
    check: Path | None = None
    parity: bool = True
    force: bool = False

    def __post_init__(self) -> None:
        for size_hw in self.sizes_hw:
            check_size(size_hw)
        if len(set(self.sizes_hw)) < len(self.sizes_hw):
            names = ", ".join(f"{height} {width}" for height, width in self.sizes_hw)
            msg = f"input sizes must differ from each other, got {names}"
            raise ConfigError(msg)
        for name in ("batch", "max_detections", "max_proposals"):
            if (count := getattr(self, name)) is not None and count < 1:
                msg = f"{name} must be at least 1, got {count}"
                raise ConfigError(msg)
        for name in ("score_threshold", "nms_threshold"):
            if (share := getattr(self, name)) is not None and not 0 <= share <= 1:
                msg = f"{name} must be within 0 and 1, got {share}"
                raise ConfigError(msg)

    @property
    def input_size_hw(self) -> tuple[int, int] | None:
        """Height and width of the main input size, in pixels; None if none was given."""
        return self.sizes_hw[0] if self.sizes_hw else None

    def chosen_sizes_hw(self, training_size_hw: tuple[int, int]) -> tuple[tuple[int, int], ...]:
        """Return height and width of each input size; by default the training size scaled by the profile."""
        return self.sizes_hw or (scaled_size(training_size_hw, PROFILES[self.profile].size_share),)

    def size_hw(self, training_size_hw: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of the main input size, in pixels."""
        return self.chosen_sizes_hw(training_size_hw)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionLimits:
    """Counts and thresholds that torchvision stores in the model."""

    max_detections: int
    max_proposals: int
    score_threshold: float
    nms_threshold: float


def detection_limits(model: Any, config: ExportConfig) -> DetectionLimits:
    """Take each limit from `config`, else from torchvision's `model`, capped by the profile.

    Raises:
        ConfigError: There are more proposals than a pyramid level ranks.
    """
    heads, rpn = model.roi_heads, model.rpn
    own = DetectionLimits(
        max_detections=heads.detections_per_img,
        max_proposals=rpn._post_nms_top_n["testing"],
        score_threshold=heads.score_thresh,
        nms_threshold=heads.nms_thresh,
    )
    asked = {name: getattr(config, name) for name in DetectionLimits.__slots__}
    given = {name: value for name, value in asked.items() if value is not None}
    limits = replace(own, **{**_capped(own, config.profile), **given})
    ranked = rpn._pre_nms_top_n["testing"]
    if not 1 <= limits.max_proposals <= ranked:
        msg = f"proposals must be 1 to {ranked}, as many as a level ranks; got {limits.max_proposals}"
        raise ConfigError(msg)
    return limits


def _capped(own: DetectionLimits, profile: Profile) -> dict[str, int]:
    """Return the profile's limits, but none above the model's, so that a profile never makes it slower."""
    settings = PROFILES[profile]
    caps = {"max_proposals": settings.max_proposals, "max_detections": settings.max_detections}
    return {name: min(getattr(own, name), cap) for name, cap in caps.items() if cap is not None}


def apply_limits(limits: DetectionLimits, model: Any) -> None:
    """Set torchvision's `model` to the same counts and thresholds, so that it can be the reference."""
    model.rpn._post_nms_top_n["testing"] = limits.max_proposals
    model.roi_heads.detections_per_img = limits.max_detections
    model.roi_heads.score_thresh = limits.score_threshold
    model.roi_heads.nms_thresh = limits.nms_threshold
