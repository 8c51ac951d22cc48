"""Live sources as one: the newest frame wins, what is lost comes back, and nothing is left behind."""

from __future__ import annotations

import dataclasses
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psutil
import pytest

from edgeseg.errors import ConfigError, InputError
from edgeseg.streaming.sources.live import connection, reconnector
from edgeseg.streaming.sources.live.reader import LiveReader
from edgeseg.streaming.sources.live.reconnector import MAX_HANGING, ReconnectPolicy
from edgeseg.vision.frames import Frame, Skipped, SourceKind
from tests.streaming.sources.mjpeg_server import MjpegServer, number_of, until
from tests.streaming.sources.scripted import LOST, QUICK, Camera, open_cameras
from tests.vision.found import all_frames, as_frame, capture_of, time_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from edgeseg.streaming.frame_reader import FrameReader

pytestmark = pytest.mark.usefixtures("no_threads_left")


def value(item: Frame | Skipped) -> int:
    return int(as_frame(item).image.max())


def opened(camera: Camera, times: int) -> Callable[[], bool]:
    return lambda: camera.opened == times


def take_for_ever(frame_reader: FrameReader) -> None:
    while True:
        frame_reader.take(4)


def seen(frame_reader: LiveReader, *, all_of: int) -> None:
    """Wait until so many frames have reached the board."""
    until(lambda: frame_reader._latest._count >= all_of)


def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    camera = Camera()
    frame_reader = open_cameras(camera)
    camera.put(1, 2, 3)
    seen(frame_reader, all_of=4)

    (frame,) = all_frames(frame_reader.take(8))
    assert (value(frame), frame_reader.dropped) == (3, {"cam": 3})
    camera.put(4)
    (frame,) = all_frames(frame_reader.take(8))
    assert (value(frame), frame_reader.dropped) == (4, {"cam": 3})
    assert (frame_reader.kind, frame_reader.names, frame_reader.rates_fps, frame_reader.total) == (
        SourceKind.LIVE,
        ("cam",),
        (25.0,),
        None,
    )
    assert (frame.name, frame.image_id, frame.source) == ("cam", 4, 0)
    assert 0 <= time_of(frame) <= time.monotonic()
    assert capture_of(frame) <= time.monotonic()
    frame_reader.close()
    assert camera.closed == 1


def test_frames_of_several_sources_have_ids_of_their_own() -> None:
    cameras = Camera("a"), Camera("b")
    frame_reader = open_cameras(*cameras)
    frames = all_frames(frame_reader.take(8))
    while len(frames) < 2:
        frames += all_frames(frame_reader.take(8))
    for camera in cameras:
        camera.put(7)
    seen(frame_reader, all_of=4)
    frames += all_frames(frame_reader.take(8))

    assert sorted(frame.image_id for frame in frames) == [0, 1, 2, 3]
    assert [(frame.source, frame.name) for frame in frames[2:]] == [(0, "a"), (1, "b")]
    frame_reader.close()


def test_more_sources_than_fit_take_turns() -> None:
    cameras = [Camera(name) for name in "abc"]
    frame_reader = open_cameras(*cameras)
    turns = []
    for turn in range(1, 4):
        for camera in cameras:
            camera.put(turn)
        seen(frame_reader, all_of=3 * (turn + 1))
        turns.append([frame.name for frame in frame_reader.take(2)])

    assert turns == [["a", "b"], ["c", "a"], ["b", "c"]]
    frame_reader.close()


def test_every_frame_that_was_sent_is_taken_or_dropped() -> None:
    server = MjpegServer(fps=250.0)
    from edgeseg.streaming.sources.opening import open_frame_reader

    frame_reader = open_frame_reader([server.url])
    assert isinstance(frame_reader, LiveReader)
    numbers: list[int] = []
    while len(numbers) < 40:
        numbers += [number_of(frame.image) for frame in all_frames(frame_reader.take(4))]
        time.sleep(0.01)
    server.stopping.set()
    until(lambda: frame_reader._latest._count == len(server.sent))
    (dropped,) = frame_reader.dropped.values()
    left = frame_reader._latest._newest[0] is not None

    assert numbers == sorted(set(numbers))
    assert dropped > 0
    assert len(server.sent) == len(numbers) + dropped + left
    frame_reader.close()
    server.close()


def test_a_gap_is_told_among_the_frames() -> None:
    camera = Camera()
    frame_reader = open_cameras(camera)
    camera.put(Skipped(name="x", reason="spoilt"), 1)
    seen(frame_reader, all_of=2)

    skipped, frame = frame_reader.take(4)

    assert (skipped, value(frame)) == (Skipped(name="cam", reason="spoilt"), 1)
    frame_reader.close()


def test_a_lost_source_comes_back_with_a_word_for_each() -> None:
    camera = Camera()
    notes: list[str] = []
    frame_reader = open_cameras(camera, note=notes.append)
    frame_reader.take(1)
    camera.refusals = 3
    camera.put(LOST)

    (frame,) = all_frames(frame_reader.take(1))

    assert (camera.opened, camera.closed, camera.refusals) == (2, 1, 0)
    assert frame.image_id == 1
    until(lambda: len(notes) == 2)
    assert notes[0] == "cam gives no more pictures; trying to open it again"
    assert notes[1].startswith("cam is back after ")
    assert frame_reader.reconnects == 1
    frame_reader.close()


def test_a_fault_of_the_programs_own_is_a_loss_and_no_end() -> None:
    camera = Camera()
    notes: list[str] = []
    frame_reader = open_cameras(camera, note=notes.append)
    frame_reader.take(1)
    camera.put(object())

    assert len(frame_reader.take(1)) == 1
    until(lambda: len(notes) == 2)
    assert notes[0].startswith("cam cannot be read: TypeError: ")
    frame_reader.close()


def test_a_source_that_is_given_up_leaves_the_others_alone() -> None:
    cameras = Camera("a"), Camera("b")
    notes: list[str] = []
    policy = dataclasses.replace(QUICK, give_up_s=0.05)
    frame_reader = open_cameras(*cameras, policy=policy, note=notes.append)
    cameras[0].refusals = 10**6
    cameras[0].put(LOST)
    until(lambda: len(notes) == 2)

    assert "a is given up" in notes[1]
    assert "after it was lost: a does not open" in notes[1]
    cameras[1].put(9)
    frames = frame_reader.take(4)
    while value(frames[-1]) != 9:
        frames += frame_reader.take(4)
    cameras[1].refusals = 10**6
    cameras[1].put(LOST)
    with pytest.raises(InputError, match=r"a is given up .*; b is given up"):
        take_for_ever(frame_reader)
    frame_reader.close()


def test_a_source_that_falls_silent_is_opened_anew_and_its_thread_abandoned() -> None:
    camera = Camera()
    notes: list[str] = []
    frame_reader = open_cameras(camera, policy=dataclasses.replace(QUICK, silent_s=0.2), note=notes.append)
    camera.hanging.set()
    frame_reader.take(1)

    (frame,) = all_frames(frame_reader.take(1))

    assert value(frame) == 0
    assert camera.opened >= 2
    assert "cam has given nothing for" in notes[0]
    # The first thread wakes up late; what it gives is not wanted any more.
    taken = frame_reader._latest._count
    camera.hooks[0].put(99)
    until(lambda: camera.closed >= 1)
    assert all(value(frame) != 99 for frame in frame_reader._latest._newest if frame)
    assert frame_reader._latest._count <= taken + camera.opened
    camera.hanging.clear()
    for hook in camera.hooks:
        hook.put(LOST)
    frame_reader.close()


class Clock:
    """Stands still but for the test.

    Attributes:
        now_s: What it shows.
        looks: How often it was looked at.
    """

    def __init__(self) -> None:
        self.now_s, self.looks = 1000.0, 0

    def monotonic(self) -> float:
        self.looks += 1
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Move on, and wait until that was noticed."""
        self.now_s += seconds
        looks = self.looks
        until(lambda: self.looks > looks)


def test_a_source_that_goes_on_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(reconnector, "time", clock)
    monkeypatch.setattr(connection, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    camera = Camera()
    frame_reader = open_cameras(camera, policy=dataclasses.replace(QUICK, silent_s=1.0))
    for number in range(1, 6):
        camera.put(number)
        seen(frame_reader, all_of=number + 1)
        clock.advance(0.9)

    assert (camera.opened, frame_reader.reconnects) == (1, 0)
    frame_reader.close()


def test_a_driver_that_hangs_again_and_again_does_not_fill_the_machine_with_threads() -> None:
    camera = Camera()
    notes: list[str] = []
    policy = dataclasses.replace(QUICK, silent_s=0.1, first_s=0.05, give_up_s=4.0)
    frame_reader = open_cameras(camera, policy=policy, note=notes.append)
    frame_reader.take(1)
    camera.hanging.set()
    camera.mute = True

    with pytest.raises(InputError, match=r"cam is given up .*: cam hangs in 4 earlier tries; unplug it"):
        frame_reader.take(1)

    assert camera.opened == 1 + MAX_HANGING - 1
    camera.hanging.clear()
    for hook in camera.hooks:
        hook.put(LOST)
    frame_reader.close()


def test_a_source_that_does_not_open_is_refused_at_once() -> None:
    good, bad = Camera("good"), Camera("bad")
    bad.refusals = 1

    with pytest.raises(InputError, match="bad does not open"):
        open_cameras(good, bad)
    until(lambda: good.closed == good.opened)


def test_a_source_without_a_first_frame_is_refused() -> None:
    camera = Camera()
    camera.mute = True

    with pytest.raises(InputError, match=r"cam gave no picture within 0\.1 s; check that it is switched on"):
        open_cameras(camera, policy=dataclasses.replace(QUICK, first_s=0.1))


def test_stop_ends_a_take_that_waits() -> None:
    camera = Camera()
    frame_reader = open_cameras(camera)
    frame_reader.take(1)
    taken: list[object] = []
    taker = threading.Thread(target=lambda: taken.append(frame_reader.take(1)))
    taker.start()

    frame_reader.stop()
    taker.join(timeout=20)

    assert taken == [[]]
    camera.put(5)
    assert frame_reader.take(1) == []
    frame_reader.close()
    frame_reader.close()


def test_after_a_stop_not_even_a_frame_that_is_there_comes() -> None:
    camera = Camera()
    frame_reader = open_cameras(camera)
    seen(frame_reader, all_of=1)

    frame_reader.stop()

    assert frame_reader.take(1) == []
    frame_reader.close()


def test_stop_ends_the_wait_for_a_lost_source() -> None:
    camera = Camera()
    notes: list[str] = []
    policy = dataclasses.replace(QUICK, pause_s=1000.0, longest_pause_s=1000.0)
    frame_reader = open_cameras(camera, policy=policy, note=notes.append)
    camera.refusals = 10**6
    camera.put(LOST)
    until(lambda: frame_reader._reconnectors[0]._abandoned)
    # By now it waits for the next try; were it not yet, the test would pass just so.
    threading.Event().wait(0.05)

    frame_reader.close()

    assert len(notes) == 1
    assert frame_reader.reconnects == 0


def test_closing_waits_for_no_thread_that_hangs() -> None:
    camera = Camera()
    frame_reader = open_cameras(camera, policy=dataclasses.replace(QUICK, close_s=0.1))
    camera.hanging.set()

    frame_reader.close()

    assert camera.closed == 0
    camera.hanging.clear()
    camera.put(LOST)
    until(lambda: camera.closed == 1)


def test_whatever_a_driver_raises_becomes_a_sentence() -> None:
    class Failing(Camera):
        def open(self) -> NoReturn:
            msg = "no more buffers"
            raise OSError(msg)

    with pytest.raises(InputError, match="cam cannot be read: no more buffers"):
        open_cameras(Failing())


def test_memory_and_threads_do_not_grow() -> None:
    camera = Camera()
    frame_reader = open_cameras(camera)
    process = psutil.Process()
    threads, frames = threading.active_count(), 0
    for turn in range(30):
        camera.put(*range(100), LOST)
        until(opened(camera, turn + 2))
        frames += 100
        if turn == 5:
            before = process.memory_info().rss
    seen(frame_reader, all_of=frames)

    assert threading.active_count() <= threads + 1
    assert process.memory_info().rss - before < 20e6
    frame_reader.close()


def test_the_time_to_give_up_after_is_not_negative() -> None:
    with pytest.raises(ConfigError, match=r"give_up_s must be 0 or more, got -1"):
        ReconnectPolicy(give_up_s=-1)
