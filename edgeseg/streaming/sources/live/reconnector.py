"""Keeping a live source open: what is lost or hangs is opened again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from tenacity import (
    RetryError,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_delay,
    stop_never,
    stop_when_event_set,
    wait_exponential,
)

from edgeseg.errors import ConfigError, EdgeSegError, InputError

from .connection import SourceConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeseg.vision.frames import LiveSource

    from .latest_frames import LatestFrames

# How soon a stop, a loss or a silence is noticed.
POLL_S = 0.05
# Threads of one source that may hang in a driver at a time, before no more are tried.
MAX_HANGING = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectPolicy:
    """How long to wait for a live source, and how to open it again.

    Attributes:
        first_s: How long to wait for the first frame after opening, in seconds.
        silent_s: How long to wait for the next frame, in seconds, before the source is reopened.
        pause_s: Pause between the first two attempts to reopen it, in seconds; doubles with each attempt.
        longest_pause_s: Longest pause between two attempts, in seconds.
        give_up_s: How long to try to reopen a lost source, in seconds; None retries forever.
        close_s: How long closing waits for the threads of all sources together, in seconds.
    """

    first_s: float = 20.0
    silent_s: float = 10.0
    pause_s: float = 0.5
    longest_pause_s: float = 10.0
    give_up_s: float | None = None
    close_s: float = 2.0

    def __post_init__(self) -> None:
        if self.give_up_s is not None and not self.give_up_s >= 0:
            msg = f"give_up_s must be 0 or more, got {self.give_up_s}"
            raise ConfigError(msg)


class Reconnector:
    """Opens a live source, and again when it is lost, until stopped.

    Args:
        name: Of the source.
        index: Of the source among the `LatestFrames`.
        opener: Opens it; it is lost when reading it raises, and over when its frames end.
        latest: Takes the frames.
        policy: How long to wait for it.
        note: Told when it is lost and when it is back.
    """

    def __init__(
        self,
        name: str,
        index: int,
        opener: Callable[[], LiveSource],
        latest: LatestFrames,
        policy: ReconnectPolicy,
        note: Callable[[str], None],
    ) -> None:
        self.name, self._index, self._opener = name, index, opener
        self._latest, self._policy, self._note = latest, policy, note
        self.reconnects = 0
        self.fps: float | None = None
        self._stopping = Event()
        self._current = Lock()
        self._abandoned: list[SourceConnection] = []
        self._connection = self._connect()
        self._thread = Thread(target=self._run, name=f"edgeseg-keep-{name}", daemon=True)

    def wait_ready(self) -> None:
        """Wait for the first frame, then watch over the source.

        Raises:
            EdgeSegError: It does not open, or gives no frame in time.
        """
        self._await_frame(self._connection)
        self.fps = self._connection.fps
        self._thread.start()

    def stop(self) -> None:
        """Give nothing more; waits for nothing."""
        self._stopping.set()
        with self._current:
            self._connection.cancel()

    def join(self, timeout_s: float) -> None:
        """Wait for the threads, but not for one that hangs."""
        end_s = time.monotonic() + timeout_s
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        self._connection.join(end_s - time.monotonic())

    def _run(self) -> None:
        failure: EdgeSegError | None = None
        try:
            while loss := self._wait_for_loss():
                self._note(f"{loss}; trying to open it again")
                self._open_again()
        except EdgeSegError as exc:
            failure = exc
            self._note(f"{exc}")
        self._latest.close_source(self._index, failure)

    def _wait_for_loss(self) -> str:
        """Wait until the source is lost, and say how; empty when it came to its end or was stopped."""
        connection = self._connection
        while not self._stopping.is_set():
            if connection.ended.wait(POLL_S):
                is_wanted = self._stopping.is_set() or connection.error is None
                return "" if is_wanted else str(connection.error)
            silent_s = time.monotonic() - connection.last_s
            if connection.live and silent_s > self._policy.silent_s:
                self._abandon(connection)
                return f"{self.name} has given nothing for {silent_s:.0f} s"
        return ""

    def _open_again(self) -> None:
        """Try until it gives frames again.

        Raises:
            InputError: It does not, within the time for that.
        """
        lost_s, policy = time.monotonic(), self._policy
        give_up = stop_never if policy.give_up_s is None else stop_after_delay(policy.give_up_s)
        tries = Retrying(
            retry=retry_if_exception_type(EdgeSegError),
            wait=wait_exponential(multiplier=policy.pause_s, max=policy.longest_pause_s),
            stop=stop_when_event_set(self._stopping) | give_up,
            sleep=sleep_using_event(self._stopping),
        )
        try:
            tries(self._try_again)
        except RetryError as exc:
            if self._stopping.is_set():
                return
            gone_s = time.monotonic() - lost_s
            last = exc.last_attempt.exception()
            msg = f"{self.name} is given up {gone_s:.0f} s after it was lost: {last}"
            raise InputError(msg) from exc
        if not self._stopping.is_set():
            self.reconnects += 1
            self._note(f"{self.name} is back after {time.monotonic() - lost_s:.1f} s")

    def _try_again(self) -> None:
        self._abandoned = [earlier for earlier in self._abandoned if not earlier.ended.is_set()]
        if len(self._abandoned) >= MAX_HANGING:
            msg = f"{self.name} hangs in {MAX_HANGING} earlier tries; unplug it or restart its driver"
            raise InputError(msg)
        connection = self._connect()
        try:
            self._await_frame(connection)
        except EdgeSegError:
            self._abandon(connection)
            raise

    def _abandon(self, connection: SourceConnection) -> None:
        connection.cancel()
        self._abandoned.append(connection)

    def _connect(self) -> SourceConnection:
        with self._current:
            connection = SourceConnection(self.name, self._opener, partial(self._latest.put, self._index))
            self._connection = connection
            connection.start()
            if self._stopping.is_set():
                connection.cancel()
        return connection

    def _await_frame(self, connection: SourceConnection) -> None:
        end_s = time.monotonic() + self._policy.first_s
        while not connection.ready.wait(POLL_S) and not self._stopping.is_set():
            if connection.ended.is_set() and not connection.ready.is_set():
                raise connection.error or InputError(f"{self.name} ended before its first frame")
            if time.monotonic() > end_s:
                within = f"within {self._policy.first_s:g} s"
                msg = f"{self.name} gave no picture {within}; check that it is switched on"
                raise InputError(msg)
