"""A short queue between two threads that either side can close."""

from __future__ import annotations

import time
from collections import deque
from threading import Condition
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class QueueClosed(Exception):  # noqa: N818 - no error: the other side has finished
    """The other side has closed the queue: nothing more comes, or nobody takes it."""


class StageQueue(Generic[ItemT]):
    """A first-in, first-out queue of bounded length.

    Args:
        size: Most items that wait in it; `put` blocks beyond.
    """

    def __init__(self, size: int = 1) -> None:
        self._items: deque[ItemT] = deque()
        self._size = size
        self._changed = Condition()
        self._waiting_readers = 0
        self._complete = False
        self._abandoned = False

    def put(self, item: ItemT) -> None:
        """Wait for room and hand an item over.

        Raises:
            QueueClosed: Nobody takes items any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or len(self._items) < self._size)
            if self._abandoned:
                raise QueueClosed
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> ItemT:
        """Wait for an item and take it.

        Raises:
            QueueClosed: All items are taken and no more come.
        """
        with self._changed:
            self._waiting_readers += 1
            self._changed.notify_all()
            try:
                self._changed.wait_for(self._is_ready)
                return self._pop()
            finally:
                self._waiting_readers -= 1

    def poll(self, timeout_s: float) -> ItemT | None:
        """Take an item if one comes in time, else None.

        Raises:
            QueueClosed: As `get`.
        """
        with self._changed:
            return self._pop() if self._changed.wait_for(self._is_ready, timeout_s) else None

    def wait_empty(self) -> None:
        """Wait until everything handed over has been taken.

        Raises:
            QueueClosed: Nobody takes items any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or not self._items)
            if self._abandoned:
                raise QueueClosed

    def pause_until(self, deadline_s: float) -> None:
        """Wait until `time.monotonic()` is so late, or until somebody waits for an item.

        Raises:
            QueueClosed: Nobody takes items any more.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._abandoned or self._waiting_readers > 0, max(0.0, deadline_s - time.monotonic())
            )
            if self._abandoned:
                raise QueueClosed

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

    def _is_ready(self) -> bool:
        return bool(self._items) or self._complete or self._abandoned

    def _pop(self) -> ItemT:
        if not self._items:
            raise QueueClosed
        item = self._items.popleft()
        self._changed.notify_all()
        return item
