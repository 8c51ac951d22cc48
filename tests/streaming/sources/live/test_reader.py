"""Live sources as one: the newest frame wins, what is lost comes back, and nothing is left behind."""

from __future__ import annotations

import dataclasses
import threading
import time

import psutil
import pytest

from edgeseg.errors import InputError
from edgeseg.streaming.sources.live.reconnector import MOST_HANGING
from edgeseg.vision.frames import Frame, Skipped, SourceKind
from tests.streaming.sources.mjpeg_server import MjpegServer, number_of, until
from tests.streaming.sources.scripted import LOST, QUICK, Camera, open_cameras

pytestmark = pytest.mark.usefixtures("no_threads_left")


def value(item: Frame | Skipped) -> int:
    return int(item.image.max())


def take_for_ever(intake) -> None:
    while True:
        intake.take(4)


def seen(intake, *, all_of: int) -> None:
    """Wait until so many frames have reached the board."""
    until(lambda: intake._board._count >= all_of)


def test_the_newest_frame_wins_and_the_others_are_counted():
    camera = Camera()
    intake = open_cameras(camera)
    camera.put(1, 2, 3)
    seen(intake, all_of=4)

    (frame,) = intake.take(8)
    assert (value(frame), intake.dropped) == (3, {"cam": 3})
    camera.put(4)
    (frame,) = intake.take(8)
    assert (value(frame), intake.dropped) == (4, {"cam": 3})
    assert (intake.kind, intake.names, intake.rates_fps, intake.total) == (
        SourceKind.LIVE,
        ("cam",),
        (25.0,),
        None,
    )
    assert (frame.name, frame.image_id, frame.source) == ("cam", 4, 0)
    assert 0 <= frame.time_s <= time.monotonic()
    assert frame.captured_s <= time.monotonic()
    intake.close()
    assert camera.closed == 1


def test_frames_of_several_sources_have_ids_of_their_own():
    cameras = Camera("a"), Camera("b")
    intake = open_cameras(*cameras)
    frames = intake.take(8)
    while len(frames) < 2:
        frames += intake.take(8)
    for camera in cameras:
        camera.put(7)
    seen(intake, all_of=4)
    frames += intake.take(8)

    assert sorted(frame.image_id for frame in frames) == [0, 1, 2, 3]
    assert [(frame.source, frame.name) for frame in frames[2:]] == [(0, "a"), (1, "b")]
    intake.close()


def test_more_sources_than_fit_take_turns():
    cameras = [Camera(name) for name in "abc"]
    intake = open_cameras(*cameras)
    turns = []
    for turn in range(1, 4):
        for camera in cameras:
            camera.put(turn)
        seen(intake, all_of=3 * (turn + 1))
        turns.append([frame.name for frame in intake.take(2)])

    assert turns == [["a", "b"], ["c", "a"], ["b", "c"]]
    intake.close()


def test_every_frame_that_was_sent_is_taken_or_dropped():
    server = MjpegServer(fps=250.0)
    from edgeseg.streaming.sources.opening import open_intake

    intake = open_intake([server.url])
    numbers = []
    while len(numbers) < 40:
        numbers += [number_of(frame.image) for frame in intake.take(4)]
        time.sleep(0.01)
    server.stopping.set()
    until(lambda: intake._board._count == len(server.sent))
    (dropped,) = intake.dropped.values()
    left = intake._board._newest[0] is not None

    assert numbers == sorted(set(numbers))
    assert dropped > 0
    assert len(server.sent) == len(numbers) + dropped + left
    intake.close()
    server.close()


def test_a_gap_is_told_among_the_frames():
    camera = Camera()
    intake = open_cameras(camera)
    camera.put(Skipped(name="x", reason="spoilt"), 1)
    seen(intake, all_of=2)

    skipped, frame = intake.take(4)

    assert (skipped, value(frame)) == (Skipped(name="cam", reason="spoilt"), 1)
    intake.close()


def test_a_lost_source_comes_back_with_a_word_for_each():
    camera, notes = Camera(), []
    intake = open_cameras(camera, note=notes.append)
    intake.take(1)
    camera.refusals = 3
    camera.put(LOST)

    (frame,) = intake.take(1)

    assert (camera.opened, camera.closed, camera.refusals) == (2, 1, 0)
    assert frame.image_id == 1
    until(lambda: len(notes) == 2)
    assert notes[0] == "cam gives no more pictures; trying to open it again"
    assert notes[1].startswith("cam is back after ")
    assert intake.reconnects == 1
    intake.close()


def test_a_fault_of_the_programs_own_is_a_loss_and_no_end():
    camera, notes = Camera(), []
    intake = open_cameras(camera, note=notes.append)
    intake.take(1)
    camera.put(object())

    assert len(intake.take(1)) == 1
    until(lambda: len(notes) == 2)
    assert notes[0].startswith("cam cannot be read: TypeError: ")
    intake.close()


def test_a_source_that_is_given_up_leaves_the_others_alone():
    cameras, notes = (Camera("a"), Camera("b")), []
    patience = dataclasses.replace(QUICK, give_up_s=0.05)
    intake = open_cameras(*cameras, patience=patience, note=notes.append)
    cameras[0].refusals = 10**6
    cameras[0].put(LOST)
    until(lambda: len(notes) == 2)

    assert "a is given up" in notes[1]
    assert "after it was lost: a does not open" in notes[1]
    cameras[1].put(9)
    frames = intake.take(4)
    while value(frames[-1]) != 9:
        frames += intake.take(4)
    cameras[1].refusals = 10**6
    cameras[1].put(LOST)
    with pytest.raises(InputError, match=r"a is given up .*; b is given up"):
        take_for_ever(intake)
    intake.close()


def test_a_source_that_falls_silent_is_opened_anew_and_its_thread_abandoned():
    camera, notes = Camera(), []
    intake = open_cameras(camera, patience=dataclasses.replace(QUICK, silent_s=0.2), note=notes.append)
    camera.hanging.set()
    intake.take(1)

    (frame,) = intake.take(1)

    assert value(frame) == 0
    assert camera.opened >= 2
    assert "cam has given nothing for" in notes[0]
    # The first thread wakes up late; what it gives is not wanted any more.
    taken = intake._board._count
    camera.hooks[0].put(99)
    until(lambda: camera.closed >= 1)
    assert all(value(frame) != 99 for frame in intake._board._newest if frame)
    assert intake._board._count <= taken + camera.opened
    camera.hanging.clear()
    for hook in camera.hooks:
        hook.put(LOST)
    intake.close()


def test_a_source_that_goes_on_is_left_alone():
    camera = Camera()
    intake = open_cameras(camera, patience=dataclasses.replace(QUICK, silent_s=1.0))
    end_s = time.monotonic() + 2.5
    while time.monotonic() < end_s:
        camera.put(1)
        intake.take(1)

    assert (camera.opened, intake.reconnects) == (1, 0)
    intake.close()


def test_a_driver_that_hangs_again_and_again_does_not_fill_the_machine_with_threads():
    camera, notes = Camera(), []
    patience = dataclasses.replace(QUICK, silent_s=0.1, first_s=0.05, give_up_s=4.0)
    intake = open_cameras(camera, patience=patience, note=notes.append)
    intake.take(1)
    camera.hanging.set()
    camera.put = lambda *values: None

    with pytest.raises(InputError, match=r"cam is given up .*: cam hangs in 4 earlier tries; unplug it"):
        intake.take(1)

    assert camera.opened == 1 + MOST_HANGING - 1
    camera.hanging.clear()
    for hook in camera.hooks:
        hook.put(LOST)
    intake.close()


def test_a_source_that_does_not_open_is_refused_at_once():
    good, bad = Camera("good"), Camera("bad")
    bad.refusals = 1

    with pytest.raises(InputError, match="bad does not open"):
        open_cameras(good, bad)
    until(lambda: good.closed == good.opened)


def test_a_source_without_a_first_frame_is_refused():
    camera = Camera()
    camera.put = lambda *values: None

    with pytest.raises(InputError, match=r"cam gave no picture within 0\.1 s; check that it is switched on"):
        open_cameras(camera, patience=dataclasses.replace(QUICK, first_s=0.1))


def test_stop_ends_a_take_that_waits():
    camera = Camera()
    intake = open_cameras(camera)
    intake.take(1)
    taken: list[object] = []
    taker = threading.Thread(target=lambda: taken.append(intake.take(1)))
    taker.start()

    intake.stop()
    taker.join(timeout=20)

    assert taken == [[]]
    camera.put(5)
    assert intake.take(1) == []
    intake.close()
    intake.close()


def test_after_a_stop_not_even_a_frame_that_is_there_comes():
    camera = Camera()
    intake = open_cameras(camera)
    seen(intake, all_of=1)

    intake.stop()

    assert intake.take(1) == []
    intake.close()


def test_stop_ends_the_wait_for_a_lost_source():
    camera, notes = Camera(), []
    patience = dataclasses.replace(QUICK, pause_s=1000.0, longest_pause_s=1000.0)
    intake = open_cameras(camera, patience=patience, note=notes.append)
    camera.refusals = 10**6
    camera.put(LOST)
    until(lambda: intake._keepers[0]._abandoned)
    # By now it waits for the next try; were it not yet, the test would pass just so.
    threading.Event().wait(0.05)

    intake.close()

    assert len(notes) == 1
    assert intake.reconnects == 0


def test_closing_waits_for_no_thread_that_hangs():
    camera = Camera()
    intake = open_cameras(camera, patience=dataclasses.replace(QUICK, close_s=0.1))
    camera.hanging.set()

    intake.close()

    assert camera.closed == 0
    camera.hanging.clear()
    camera.put(LOST)
    until(lambda: camera.closed == 1)


def test_whatever_a_driver_raises_becomes_a_sentence():
    camera = Camera()

    def fail():
        msg = "no more buffers"
        raise OSError(msg)

    camera.open = fail
    with pytest.raises(InputError, match="cam cannot be read: no more buffers"):
        open_cameras(camera)


def test_memory_and_threads_do_not_grow():
    camera = Camera()
    intake = open_cameras(camera)
    process = psutil.Process()
    threads, frames = threading.active_count(), 0
    for turn in range(30):
        camera.put(*range(100), LOST)
        until(lambda wanted=turn + 2: camera.opened == wanted)
        frames += 100
        if turn == 5:
            before = process.memory_info().rss
    seen(intake, all_of=frames)

    assert threading.active_count() <= threads + 1
    assert process.memory_info().rss - before < 20e6
    intake.close()
