"""The short queue between two threads, and how either side ends it."""

from __future__ import annotations

import time
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest

from edgeseg.streaming.stage_queue import QueueClosed, StageQueue

if TYPE_CHECKING:
    from collections.abc import Callable

LONG_S = 30.0


def in_thread(work: Callable[[], object]) -> Thread:
    thread = Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_items_come_in_order() -> None:
    queue = StageQueue[str](3)
    for item in "abc":
        queue.put(item)

    assert [queue.get() for _ in range(3)] == ["a", "b", "c"]


def test_a_full_one_makes_the_giver_wait() -> None:
    queue, done = StageQueue[int](1), Event()
    queue.put(1)

    def give() -> None:
        queue.put(2)
        done.set()

    thread = in_thread(give)
    assert not done.wait(0.05)
    assert queue.get() == 1
    assert done.wait(LONG_S)
    thread.join(LONG_S)
    assert queue.get() == 2


def test_what_waits_is_still_given_after_the_last() -> None:
    queue = StageQueue[int](2)
    queue.put(1)
    queue.complete()

    assert queue.get() == 1
    with pytest.raises(QueueClosed):
        queue.get()
    with pytest.raises(QueueClosed):
        queue.poll(LONG_S)


def test_nobody_takes_any_more() -> None:
    queue, ended = StageQueue[int](1), Event()
    queue.put(1)

    def give() -> None:
        try:
            queue.put(2)
        except QueueClosed:
            ended.set()

    thread = in_thread(give)
    queue.abandon()
    assert ended.wait(LONG_S)
    thread.join(LONG_S)
    for call in (queue.get, queue.wait_empty, lambda: queue.put(3)):
        with pytest.raises(QueueClosed):
            call()
    with pytest.raises(QueueClosed):
        queue.pause_until(time.monotonic() + LONG_S)


def test_poll_gives_nothing_when_nothing_comes() -> None:
    assert StageQueue().poll(0.01) is None


@pytest.mark.parametrize("end", ["put", "complete", "abandon"])
def test_a_waiting_taker_wakes(end: str) -> None:
    queue = StageQueue[str]()
    woken: list[str] = []

    def take() -> None:
        try:
            woken.append(queue.get())
        except QueueClosed:
            woken.append("ended")

    thread = in_thread(take)
    queue.pause_until(time.monotonic() + LONG_S)
    queue.put("item") if end == "put" else getattr(queue, end)()
    thread.join(LONG_S)

    assert woken == ["item" if end == "put" else "ended"]


def test_a_pause_ends_at_its_time_or_when_somebody_waits() -> None:
    queue = StageQueue[int]()
    until = time.monotonic() + 0.02
    queue.pause_until(until)
    assert time.monotonic() >= until

    thread = in_thread(queue.get)
    queue.pause_until(time.monotonic() + LONG_S)
    queue.put(1)
    thread.join(LONG_S)
    assert not thread.is_alive()


def test_waiting_until_all_is_taken() -> None:
    queue, empty = StageQueue[int](2), Event()
    queue.put(1)

    def wait() -> None:
        queue.wait_empty()
        empty.set()

    thread = in_thread(wait)
    assert not empty.wait(0.05)
    queue.get()
    assert empty.wait(LONG_S)
    thread.join(LONG_S)
