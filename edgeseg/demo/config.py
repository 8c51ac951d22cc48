"""What a user may say about a demo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeseg.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """What to show.

    Attributes:
        output: Folder for everything the demo makes; None for `edgeseg-demo`, or `edgeseg-demo-2` and so on
            where there are demos already.
        frames: Length of the clip.
        scored: Unseen scenes to score, a frame each.
        force: Replace an earlier demo there.
    """

    output: Path | None = None
    frames: int = 75
    scored: int = 30
    force: bool = False

    def __post_init__(self) -> None:
        if min(self.frames, self.scored) < 1:
            msg = f"frames and scored must be at least 1, got {self.frames} and {self.scored}"
            raise ConfigError(msg)
