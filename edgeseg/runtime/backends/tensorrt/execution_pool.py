"""The few slots that threads take turns with."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from edgeseg.errors import ArtifactError, EdgeSegError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .execution import Slot

# As many as keep the GPU busy: one computes while the other's frame is copied in or its result out.
SLOTS = 2

logger = logging.getLogger(__name__)


class Slots:
    """As many slots as threads call at once, up to `SLOTS`; the second is made when it is first missed.

    Args:
        make: Makes a slot.

    Attributes:
        graph_note: Of the first slot.

    Raises:
        ArtifactError: The first slot cannot be made.
    """

    def __init__(self, make: Callable[[], Slot]) -> None:
        self._make = make
        self._changed = threading.Condition()
        first = make()
        self.graph_note = first.graph_note
        self._idle = [first]
        self._made = 1
        self._limit = SLOTS
        self._closed = False

    @contextmanager
    def taken(self) -> Iterator[Slot]:
        """Have a slot to oneself, after waiting for one if need be.

        Raises:
            ArtifactError: Closed.
        """
        slot = self._next()
        try:
            yield slot
        finally:
            with self._changed:
                self._idle.append(slot)
                self._changed.notify_all()

    def drain(self) -> None:
        """Let no more be taken, and wait until those that are come back."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(self._idle) == self._made)

    def free(self) -> None:
        """Give everything back; after `drain`."""
        with ExitStack() as stack:
            for slot in self._idle:
                stack.callback(slot.close)

    def _next(self) -> Slot:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._idle or self._made < self._limit)
                if self._closed:
                    msg = "the model is closed; load it again with edgeseg.load"
                    raise ArtifactError(msg)
                if self._idle:
                    return self._idle.pop()
                self._made += 1
            if slot := self._another():
                return slot

    def _another(self) -> Slot | None:
        """Make a slot beside the first; None, for good, where it cannot be made."""
        try:
            return self._make()
        except BaseException as exc:
            with self._changed:
                self._made -= 1
                self._limit = self._made
                self._changed.notify_all()
            if not isinstance(exc, EdgeSegError):
                raise
            logger.warning("one frame is computed at a time, as a second cannot be prepared: %s", str(exc))
            return None
