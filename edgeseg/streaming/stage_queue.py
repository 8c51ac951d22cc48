"""What one thread hands to the next: a short queue that either side can end."""

from __future__ import annotations

import time
from collections import deque
from threading import Condition
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class Ended(Exception):  # noqa: N818 - no error: the other side has finished
    """The other side has gone: nothing more comes, or nobody takes it."""


class Handoff(Generic[ItemT]):
    """A first-in, first-out queue of bounded length.

    Args:
        size: Most items that wait in it; `put` blocks beyond.
    """

    def __init__(self, size: int = 1) -> None:
        self._items: deque[ItemT] = deque()
        self._size = size
        self._changed = Condition()
        self._takers = 0
        self._complete = False
        self._abandoned = False

    def put(self, item: ItemT) -> None:
        """Wait for room and hand an item over.

        Raises:
            Ended: Nobody takes items any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or len(self._items) < self._size)
            if self._abandoned:
                raise Ended
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> ItemT:
        """Wait for an item and take it.

        Raises:
            Ended: All items are taken and no more come.
        """
        with self._changed:
            self._takers += 1
            self._changed.notify_all()
            try:
                self._changed.wait_for(self._settled)
                return self._taken()
            finally:
                self._takers -= 1

    def poll(self, timeout_s: float) -> ItemT | None:
        """Take an item if one comes in time, else None.

        Raises:
            Ended: As `get`.
        """
        with self._changed:
            return self._taken() if self._changed.wait_for(self._settled, timeout_s) else None

    def wait_empty(self) -> None:
        """Wait until everything handed over has been taken.

        Raises:
            Ended: Nobody takes items any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or not self._items)
            if self._abandoned:
                raise Ended

    def pause_until(self, moment_s: float) -> None:
        """Wait until `time.monotonic()` is so late, or until somebody waits for an item.

        Raises:
            Ended: Nobody takes items any more.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._abandoned or self._takers > 0, max(0.0, moment_s - time.monotonic())
            )
            if self._abandoned:
                raise Ended

    def complete(self) -> None:
        """Say, as the one who puts, that no more items come; those that wait can still be taken."""
        with self._changed:
            self._complete = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Say, as the one who gets, that no more are taken; those that wait are forgotten."""
        with self._changed:
            self._abandoned = True
            self._items.clear()
            self._changed.notify_all()

    def _settled(self) -> bool:
        return bool(self._items) or self._complete or self._abandoned

    def _taken(self) -> ItemT:
        if not self._items:
            raise Ended
        item = self._items.popleft()
        self._changed.notify_all()
        return item
