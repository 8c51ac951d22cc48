"""Several live sources as one: always the newest frame of each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edgeseg.streaming.shutdown import close_at_exit, forget_at_exit
from edgeseg.vision.frames import Frame, Skipped, SourceKind

from .reconnector import Reconnector, ReconnectPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeseg.vision.frames import LiveSource

    from .latest_frames import LatestFrames


class LiveReader:
    """The `FrameReader` of live sources; each is read in threads of its own.

    Args:
        names: Of the sources, no two alike.
        openers: Open them, in the same order.
        latest: Takes their frames.
        policy: How long to wait for them.
        note: Told, from other threads, when a source is lost, back or given up.

    Raises:
        EdgeSegError: One does not open.
    """

    kind = SourceKind.LIVE
    total = None

    def __init__(
        self,
        names: Sequence[str],
        openers: Sequence[Callable[[], LiveSource]],
        latest: LatestFrames,
        policy: ReconnectPolicy,
        note: Callable[[str], None],
    ) -> None:
        self.names = tuple(names)
        self._latest, self._policy = latest, policy
        self._reconnectors = [
            Reconnector(name, index, opener, latest, policy, note)
            for index, (name, opener) in enumerate(zip(names, openers, strict=True))
        ]
        close_at_exit(self)
        try:
            for reconnector in self._reconnectors:
                reconnector.wait_ready()
        except BaseException:
            self.close()
            raise

    @property
    def rates_fps(self) -> tuple[float | None, ...]:
        """See `FrameReader.rates_fps`."""
        return tuple(reconnector.fps for reconnector in self._reconnectors)

    @property
    def dropped(self) -> Mapping[str, int]:
        """See `FrameReader.dropped`."""
        return dict(zip(self.names, self._latest.dropped, strict=True))

    @property
    def reconnects(self) -> int:
        """See `FrameReader.reconnects`."""
        return sum(reconnector.reconnects for reconnector in self._reconnectors)

    def take(self, count: int) -> list[Frame | Skipped]:
        """See `FrameReader.take`."""
        return self._latest.take(count)

    def stop(self) -> None:
        """See `FrameReader.stop`."""
        self._latest.stop()
        for reconnector in self._reconnectors:
            reconnector.stop()

    def close(self) -> None:
        """See `FrameReader.close`."""
        self.stop()
        end_s = time.monotonic() + self._policy.close_s
        for reconnector in self._reconnectors:
            reconnector.join(max(0.0, end_s - time.monotonic()))
        forget_at_exit(self)
