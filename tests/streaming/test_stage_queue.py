"""The short queue between two threads, and how either side ends it."""

from __future__ import annotations

import time
from threading import Event, Thread

import pytest

from edgeseg.streaming.stage_queue import Ended, Handoff

LONG_S = 30.0


def in_thread(work) -> Thread:
    thread = Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_items_come_in_order():
    handoff = Handoff(3)
    for item in "abc":
        handoff.put(item)

    assert [handoff.get() for _ in range(3)] == ["a", "b", "c"]


def test_a_full_one_makes_the_giver_wait():
    handoff, done = Handoff(1), Event()
    handoff.put(1)

    def give():
        handoff.put(2)
        done.set()

    thread = in_thread(give)
    assert not done.wait(0.05)
    assert handoff.get() == 1
    assert done.wait(LONG_S)
    thread.join(LONG_S)
    assert handoff.get() == 2


def test_what_waits_is_still_given_after_the_last():
    handoff = Handoff(2)
    handoff.put(1)
    handoff.complete()

    assert handoff.get() == 1
    with pytest.raises(Ended):
        handoff.get()
    with pytest.raises(Ended):
        handoff.poll(LONG_S)


def test_nobody_takes_any_more():
    handoff, ended = Handoff(1), Event()
    handoff.put(1)

    def give():
        try:
            handoff.put(2)
        except Ended:
            ended.set()

    thread = in_thread(give)
    handoff.abandon()
    assert ended.wait(LONG_S)
    thread.join(LONG_S)
    for call in (handoff.get, handoff.wait_empty, lambda: handoff.put(3)):
        with pytest.raises(Ended):
            call()
    with pytest.raises(Ended):
        handoff.pause_until(time.monotonic() + LONG_S)


def test_poll_gives_nothing_when_nothing_comes():
    assert Handoff().poll(0.01) is None


@pytest.mark.parametrize("end", ["put", "complete", "abandon"])
def test_a_waiting_taker_wakes(end):
    handoff, woken = Handoff(), []

    def take():
        try:
            woken.append(handoff.get())
        except Ended:
            woken.append("ended")

    thread = in_thread(take)
    handoff.pause_until(time.monotonic() + LONG_S)
    handoff.put("item") if end == "put" else getattr(handoff, end)()
    thread.join(LONG_S)

    assert woken == ["item" if end == "put" else "ended"]


def test_a_pause_ends_at_its_time_or_when_somebody_waits():
    handoff = Handoff()
    until = time.monotonic() + 0.02
    handoff.pause_until(until)
    assert time.monotonic() >= until

    thread = in_thread(handoff.get)
    handoff.pause_until(time.monotonic() + LONG_S)
    handoff.put(1)
    thread.join(LONG_S)
    assert not thread.is_alive()


def test_waiting_until_all_is_taken():
    handoff, empty = Handoff(2), Event()
    handoff.put(1)

    def wait():
        handoff.wait_empty()
        empty.set()

    thread = in_thread(wait)
    assert not empty.wait(0.05)
    handoff.get()
    assert empty.wait(LONG_S)
    thread.join(LONG_S)
