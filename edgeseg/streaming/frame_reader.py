"""Where a run takes its frames from: several sources as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeseg.vision.frames import Frame, Skipped, SourceKind


class FrameReader(Protocol):
    """Frames of one or several sources, taken as many at a time as the model computes together."""

    @property
    def kind(self) -> SourceKind:
        """Image files, videos or live sources."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the sources are called; `Frame.source` is the index."""

    @property
    def rates_fps(self) -> tuple[float | None, ...]:
        """Frames a second of each source, where it is known."""

    @property
    def total(self) -> int | None:
        """Frames to expect from all; None where nobody knows."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """By name, the frames of a live source that a newer one replaced before they were taken."""

    @property
    def reconnects(self) -> int:
        """How often live sources had to be opened again."""

    def take(self, count: int) -> list[Frame | Skipped]:
        """Wait for frames and take them.

        Args:
            count: Most frames to take.

        Returns:
            Of live sources the newest frame of each that has a new one. Of files `count` frames in order,
            fewer only at the end. What could not be read lies among them. Empty at the end, or after `stop`.

        Raises:
            InputError: The sources have failed as a whole.
        """

    def stop(self) -> None:
        """Let a waiting `take`, and all later ones, return nothing; any thread may call it."""

    def close(self) -> None:
        """Release files and cameras, without waiting for one that hangs; harmless if done before."""
