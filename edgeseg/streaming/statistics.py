"""Counting and timing while a run goes on."""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import TYPE_CHECKING

from .outputs.writers import json_from_scene
from .pipeline import STAGES
from .results import Status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeseg.errors import EdgeSegError
    from edgeseg.runtime.host.health import Health
    from edgeseg.vision.frames import Skipped

    from .config import RunSummary
    from .controls import Controls
    from .frame_reader import FrameReader
    from .results import FrameResult, Scene

# What the rate and the stage times of the state are taken over.
RECENT_FRAMES = 60
RECENT_S = 5.0
MIN_RECENT_FRAMES = 4
# A stream that gives corrupt frames for days must not fill the memory.
MAX_LISTED_SKIPPED = 1000


class RunStatistics:
    """What has been done so far, and what ended it.

    Args:
        controls: Has the threshold in force.
        frame_reader: Knows what was dropped.

    Attributes:
        frames: Number of frames whose results are written.
        skipped: Inputs that could not be read, the first thousand.
        skipped_count: All of them.
        interrupted: Ctrl-C was pressed.
        error: What stopped the run.
    """

    def __init__(self, controls: Controls, frame_reader: FrameReader) -> None:
        self._controls, self._frame_reader = controls, frame_reader
        self.frames = 0
        self.skipped: list[Skipped] = []
        self.skipped_count = 0
        self.interrupted = False
        self.error: EdgeSegError | None = None
        self._by_class: Counter[str] = Counter()
        self._last_by_class: Counter[str] = Counter()
        self._stages_ms = dict.fromkeys(STAGES, 0.0)
        self._ages_ms: tuple[float, float] | None = None
        self._scenes: dict[str, Scene] = {}
        self._newest_age_ms: float | None = None
        self._recent: deque[tuple[float, Mapping[str, float]]] = deque(maxlen=RECENT_FRAMES)
        self._started_s = self._first_s = self._last_s = time.monotonic()

    def add_skipped(self, item: Skipped) -> None:
        """Count an input that gave no frame."""
        self.skipped_count += 1
        if len(self.skipped) < MAX_LISTED_SKIPPED:
            self.skipped.append(item)

    def add(self, result: FrameResult, output_ms: float) -> None:
        """Count a frame.

        Args:
            result: The frame; its results are written.
            output_ms: What drawing and writing them took.
        """
        self._last_s = time.monotonic()
        if not self.frames:
            self._first_s = self._last_s
        self.frames += 1
        self._last_by_class = Counter(result.detections.names)
        self._by_class.update(self._last_by_class)
        stages_ms = {**result.stages_ms, "output": output_ms}
        for stage, taken_ms in stages_ms.items():
            self._stages_ms[stage] += taken_ms
        self._recent.append((self._last_s, stages_ms))
        self._newest_age_ms = result.age_ms
        if result.scene is not None:
            self._scenes[self._frame_reader.names[result.frame.source]] = result.scene
        if result.age_ms is not None:
            total, highest = self._ages_ms or (0.0, 0.0)
            self._ages_ms = (total + result.age_ms, max(highest, result.age_ms))

    def status(self, health: Health) -> Status:
        """Tell how the run goes."""
        now = time.monotonic()
        recent = [(moment, stages) for moment, stages in self._recent if moment > now - RECENT_S]
        window = recent if len(recent) >= MIN_RECENT_FRAMES else list(self._recent)[-MIN_RECENT_FRAMES:]
        return Status(
            uptime_s=now - self._started_s,
            frames=self.frames,
            fps=_rate([moment for moment, _ in window]),
            stages_ms={
                stage: sum(stages[stage] for _, stages in window) / max(1, len(window)) for stage in STAGES
            },
            age_ms=self._newest_age_ms,
            dropped=dict(self._frame_reader.dropped),
            skipped=self.skipped_count,
            reconnects=self._frame_reader.reconnects,
            score_threshold=self._controls.score_threshold,
            instances_by_class=dict(self._last_by_class),
            health=health,
        )

    def summary(
        self,
        model: str,
        computed_by: str,
        health: Health,
        output: Path | None,
        outputs: dict[str, str],
    ) -> RunSummary:
        """Put it into a record."""
        from .config import RunSummary

        frames = max(1, self.frames)
        total, highest = self._ages_ms or (None, None)
        return RunSummary(
            sources=self._frame_reader.names,
            model=model,
            computed_by=computed_by,
            score_threshold=self._controls.score_threshold,
            frames=self.frames,
            fps=round(max(0, self.frames - 1) / max(1e-9, self._last_s - self._first_s), 3),
            instances=self._by_class.total(),
            instances_by_class=dict(self._by_class.most_common()),
            skipped=tuple(self.skipped),
            skipped_count=self.skipped_count,
            dropped=dict(self._frame_reader.dropped),
            reconnects=self._frame_reader.reconnects,
            stages_ms={stage: round(taken_ms / frames, 2) for stage, taken_ms in self._stages_ms.items()},
            age_mean_ms=None if total is None else round(total / frames, 1),
            age_max_ms=None if highest is None else round(highest, 1),
            scenes={name: json_from_scene(scene) for name, scene in self._scenes.items()},
            health=health,
            output="" if output is None else str(output),
            outputs=outputs,
            interrupted=self.interrupted,
            error=None if self.error is None else str(self.error),
        )


def _rate(moments_s: list[float]) -> float:
    """Frames a second between the first and the last of some moments."""
    if len(moments_s) < 2:
        return 0.0
    return (len(moments_s) - 1) / max(1e-9, moments_s[-1] - moments_s[0])
