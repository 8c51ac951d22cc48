"""Several live sources as one: always the newest frame of each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edgeseg.streaming.shutdown import close_at_exit, is_closed
from edgeseg.vision.frames import Frame, Skipped, SourceKind

from .reconnector import Keeper, Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeseg.vision.frames import LiveSource

    from .latest_frames import Board


class NewestFrames:
    """The `Intake` of live sources; each is read in threads of its own.

    Args:
        names: Of the sources, no two alike.
        openers: Open them, in the same order.
        board: Takes their frames.
        patience: How long to wait for them.
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
        board: Board,
        patience: Patience,
        note: Callable[[str], None],
    ) -> None:
        self.names = tuple(names)
        self._board, self._patience = board, patience
        self._keepers = [
            Keeper(name, index, opener, board, patience, note)
            for index, (name, opener) in enumerate(zip(names, openers, strict=True))
        ]
        close_at_exit(self)
        try:
            for keeper in self._keepers:
                keeper.wait_ready()
        except BaseException:
            self.close()
            raise

    @property
    def rates_fps(self) -> tuple[float | None, ...]:
        """See `Intake.rates_fps`."""
        return tuple(keeper.fps for keeper in self._keepers)

    @property
    def dropped(self) -> Mapping[str, int]:
        """See `Intake.dropped`."""
        return dict(zip(self.names, self._board.dropped, strict=True))

    @property
    def reconnects(self) -> int:
        """See `Intake.reconnects`."""
        return sum(keeper.reconnects for keeper in self._keepers)

    def take(self, count: int) -> list[Frame | Skipped]:
        """See `Intake.take`."""
        return self._board.take(count)

    def stop(self) -> None:
        """See `Intake.stop`."""
        self._board.stop()
        for keeper in self._keepers:
            keeper.stop()

    def close(self) -> None:
        """See `Intake.close`."""
        self.stop()
        end_s = time.monotonic() + self._patience.close_s
        for keeper in self._keepers:
            keeper.join(max(0.0, end_s - time.monotonic()))
        is_closed(self)
