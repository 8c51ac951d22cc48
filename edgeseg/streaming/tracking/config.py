"""What is asked of tracking."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeseg.errors import ConfigError

from .regions import Line, Zone

LOWEST_SCORE = 0.1
"""What is found with a score from here to the threshold keeps a known object alive, but starts none and is
not shown: a run that tracks asks the model for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackConfig:
    """How objects are followed and counted.

    Attributes:
        lines: Count what crosses them.
        zones: Count what is in them.
        confirm_frames: An object has a number and counts once this many frames have shown it above the
            score threshold.
        lost_s: An object unseen for longer is gone, in seconds; one that comes back later is another.
            Where frames are far apart, two frames may always miss it.
        trail_s: Length of trails, in seconds.
        smooth_masks: Share of the past in each mask, 0 to below 1; 0 leaves masks as they were found.
    """

    lines: tuple[Line, ...] = ()
    zones: tuple[Zone, ...] = ()
    confirm_frames: int = 2
    lost_s: float = 1.0
    trail_s: float = 2.0
    smooth_masks: float = 0.0

    def __post_init__(self) -> None:
        if self.confirm_frames < 1:
            msg = f"confirm_frames must be at least 1, got {self.confirm_frames}"
            raise ConfigError(msg)
        for name, value in {"lost_s": self.lost_s, "trail_s": self.trail_s}.items():
            if not 0 <= value < math.inf:
                msg = f"{name} must be 0 seconds or more, got {value}"
                raise ConfigError(msg)
        if not 0 <= self.smooth_masks < 1:
            msg = f"smooth_masks must be at least 0 and below 1, got {self.smooth_masks}"
            raise ConfigError(msg)
        _check_names("line", [line.name for line in self.lines])
        _check_names("zone", [zone.name for zone in self.zones])


def _check_names(kind: str, names: list[str]) -> None:
    for name in names:
        if name and names.count(name) > 1:
            msg = f"every {kind} must have a name of its own, got {name!r} {names.count(name)} times"
            raise ConfigError(msg)
