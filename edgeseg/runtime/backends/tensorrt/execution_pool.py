"""The few executions that threads share."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from edgeseg.errors import EdgeSegError
from edgeseg.runtime.contract import closed_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .execution import Execution

# As many as keep the GPU busy: one computes while the other's frame is copied in or its result out.
POOL_SIZE = 2

logger = logging.getLogger(__name__)


class ExecutionPool:
    """As many executions as threads call at once, up to `POOL_SIZE`; the second is created when first needed.

    Args:
        make: Creates an execution.

    Attributes:
        graph_note: Of the first execution.

    Raises:
        ArtifactError: The first execution cannot be created.
    """

    def __init__(self, make: Callable[[], Execution]) -> None:
        self._make = make
        self._changed = threading.Condition()
        first = make()
        self.graph_note = first.graph_note
        self._idle = [first]
        self._made = 1
        self._limit = POOL_SIZE
        self._closed = False

    @contextmanager
    def acquired(self) -> Iterator[Execution]:
        """Acquire an execution for exclusive use, waiting for one if necessary.

        Raises:
            ArtifactError: Closed.
        """
        execution = self._acquire()
        try:
            yield execution
        finally:
            with self._changed:
                self._idle.append(execution)
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
            for execution in self._idle:
                stack.callback(execution.close)

    def _acquire(self) -> Execution:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._idle or self._made < self._limit)
                if self._closed:
                    raise closed_error()
                if self._idle:
                    return self._idle.pop()
                self._made += 1
            if execution := self._try_make():
                return execution

    def _try_make(self) -> Execution | None:
        """Create a further execution; None, from then on always, where it cannot be created."""
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
