"""Settings of tracking."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeseg.errors import ConfigError

from .regions import Line, Zone

LOWEST_SCORE = 0.1
"""A detection that scores between this and the threshold keeps a known object alive, but starts no new one
and is not shown. A run that tracks therefore asks the model for detections down to this score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackConfig:
    """How objects are tracked and counted.

    Attributes:
        lines: Lines whose crossings are counted.
        zones: Zones in which objects are counted.
        confirm_frames: Number of frames that must show an object above the score threshold before it gets
            a track id and counts.
        lost_s: Time after which an unseen object is gone, in seconds; if it comes back later, it counts as
            another. However far apart frames are, an object may always be missing from two of them.
        trail_s: Length of trails, in seconds.
        smooth_masks: Weight of earlier masks in each mask, from 0 to below 1; 0 leaves masks as they were
            found.

    Example:
        >>> import edgeseg
        >>> from edgeseg.streaming.tracking import Line
        >>> gate = Line(start_xy=(0.4, 0.0), end_xy=(0.4, 1.0), name="gate")
        >>> track = edgeseg.TrackConfig(lines=(gate,))
        >>> stream = edgeseg.stream(edgeseg.load("edgeseg-model"), "belt.avi", track=track)
        >>> *_, last = stream.results()
        >>> last.detections.track_ids.tolist()
        [1, 2, 3]
        >>> last.scene.entered_by_class, last.scene.lines[0].backward
        ({'bolt': 1, 'nut': 1, 'washer': 1}, 1)
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
