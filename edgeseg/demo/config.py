"""Settings of the demo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeseg.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """Settings of the demo.

    Attributes:
        output: Output folder; None for `edgeseg-demo`, or `edgeseg-demo-2` and so on if demos exist already.
        frames: Length of the clip, in frames.
        scored: Number of unseen scenes to score, with one frame each.
        force: Whether to replace an earlier demo in `output`.
    """

    output: Path | None = None
    frames: int = 75
    scored: int = 30
    force: bool = False

    def __post_init__(self) -> None:
        if min(self.frames, self.scored) < 1:
            msg = f"frames and scored must be at least 1, got {self.frames} and {self.scored}"
            raise ConfigError(msg)
