"""Profiles: presets of input size, proposals and detections that trade accuracy for speed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from edgeseg.errors import ConfigError
from edgeseg.settings import SIZE_MULTIPLE


class Profile(str, Enum):
    """Preset of speed against accuracy."""

    FAST = "fast"
    BALANCED = "balanced"
    ACCURATE = "accurate"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSettings:
    """Settings of a profile.

    The size is relative to the full size, so that it works for any aspect ratio: objects shrink by the same
    factor whatever the format of the camera.

    Attributes:
        size_share: Factor for both sides of the full size; above 0, at most 1.
        max_proposals: Upper limit of proposals; None for the model's own.
        max_detections: Upper limit of detections; None for the model's own.
    """

    size_share: float = 1.0
    max_proposals: int | None = None
    max_detections: int | None = None


# Measured in docs/tuning.md: the last 700 proposals cost time and gain nothing; size costs accuracy wherever
# objects are small, so only `fast` gives some of it up.
PROFILES = MappingProxyType(
    {
        Profile.FAST: ProfileSettings(size_share=0.8, max_proposals=200, max_detections=50),
        Profile.BALANCED: ProfileSettings(max_proposals=300),
        Profile.ACCURATE: ProfileSettings(),
    }
)


def scaled_size(size_hw: tuple[int, int], share: float) -> tuple[int, int]:
    """Scale a size to the nearest multiples of 32, taking the larger one in a tie.

    Args:
        size_hw: Height and width, in pixels.
        share: Factor for both sides; above 0.

    Raises:
        ConfigError: The share is not above 0.
    """
    if not share > 0:
        msg = f"a share of a size must be above 0, got {share}"
        raise ConfigError(msg)
    height, width = (
        max(1, int(side * share / SIZE_MULTIPLE + 0.5 + 1e-9)) * SIZE_MULTIPLE for side in size_hw
    )
    return height, width
