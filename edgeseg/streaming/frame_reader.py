"""The interface through which a run reads frames from one or several sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeseg.vision.frames import Frame, Skipped, SourceKind


class FrameReader(Protocol):
    """Reads frames of one or several sources in batches."""

    @property
    def kind(self) -> SourceKind:
        """Kind of the sources: image files, videos or live sources."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sources, indexed by `Frame.source`."""

    @property
    def rates_fps(self) -> tuple[float | None, ...]:
        """Frames per second of each source; None if unknown."""

    @property
    def total(self) -> int | None:
        """Number of frames expected from all sources together; None if unknown."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """By source name, the number of live frames that a newer one replaced before they were taken."""

    @property
    def reconnects(self) -> int:
        """How often live sources had to be reopened."""

    def take(self, count: int) -> list[Frame | Skipped]:
        """Wait for frames and take them.

        Args:
            count: Maximum number of frames to take.

        Returns:
            For live sources, the newest frame of each source that has a new one, at most `count`. For files,
            `count` frames in order, fewer only at the end. Inputs that could not be read are included as
            `Skipped`. Empty at the end, or after `stop`.

        Raises:
            InputError: All sources have failed.
        """

    def stop(self) -> None:
        """Make the current and all later calls of `take` return an empty list; any thread may call it."""

    def close(self) -> None:
        """Release files and cameras without waiting for one that hangs; may be called more than once."""
