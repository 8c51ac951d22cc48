"""Files read ahead: all of them, in order, and never far ahead."""

from __future__ import annotations

import threading
from itertools import count

import cv2
import numpy as np
import pytest

from edgeseg.errors import InputError
from edgeseg.streaming.sources.prefetch import LEAST_AHEAD, MOST_AHEAD, FramesAhead
from edgeseg.vision.frames import Frame, Skipped, SourceKind

from .mjpeg_server import until

pytestmark = pytest.mark.usefixtures("no_threads_left")


class Film:
    """Frames 0, 1, 2 and so on; counts how many were asked for."""

    kind, fps = SourceKind.VIDEO, 10.0

    def __init__(self, frames: int, *, pixels: int = 4, ends_with: Exception | None = None) -> None:
        self.total, self.ends_with, self.shape = frames, ends_with, (pixels, 1, 3)
        self.asked, self.closed = 0, False

    def __iter__(self):
        for index in range(self.total):
            self.asked += 1
            image = np.broadcast_to(np.uint8(index % 256), self.shape)
            yield Frame(image=image, name="film", image_id=index, time_s=index / 10)
        if self.ends_with:
            raise self.ends_with

    def close(self) -> None:
        self.closed = True


def numbers(items) -> list[int]:
    return [item.image_id for item in items]


def test_every_frame_in_order_as_many_as_fit():
    film = Film(7)
    intake = FramesAhead([film], ["film"])

    assert [numbers(intake.take(3)) for _ in range(4)] == [[0, 1, 2], [3, 4, 5], [6], []]
    assert (intake.kind, intake.names, intake.total, intake.rates_fps) == (
        SourceKind.VIDEO,
        ("film",),
        7,
        (10.0,),
    )
    assert (intake.dropped, intake.reconnects, film.closed) == ({}, 0, True)
    intake.close()
    intake.close()


def test_it_reads_ahead_but_not_far():
    film = Film(100)
    intake = FramesAhead([film], ["film"])
    until(lambda: film.asked == MOST_AHEAD + 1)
    intake.take(5)

    until(lambda: film.asked == MOST_AHEAD + 6)
    intake.close()
    assert film.asked == MOST_AHEAD + 6
    assert film.closed


def test_of_large_pictures_it_reads_few_ahead():
    film = Film(100, pixels=200 * 1024 * 1024)
    intake = FramesAhead([film], ["film"])
    until(lambda: film.asked == LEAST_AHEAD + 1)
    assert numbers(intake.take(1)) == [0]
    until(lambda: film.asked == LEAST_AHEAD + 2)

    intake.close()
    assert film.asked == LEAST_AHEAD + 2


def test_more_than_is_read_ahead_can_be_taken_at_once():
    intake = FramesAhead([Film(40)], ["film"])

    assert numbers(intake.take(3 * MOST_AHEAD)) == list(range(3 * MOST_AHEAD))
    intake.close()


def test_several_take_turns_until_the_longest_ends():
    intake = FramesAhead([Film(2), Film(4)], ["a", "b"])

    frames = intake.take(10)

    assert [(frame.source, frame.image_id, frame.name) for frame in frames] == [
        (0, 0, "a"),
        (1, 1, "b"),
        (0, 2, "a"),
        (1, 3, "b"),
        (1, 4, "b"),
        (1, 5, "b"),
    ]
    assert intake.total == 6
    intake.close()


def test_nobody_knows_the_total_of_a_stream_and_a_film():
    endless = Film(1)
    endless.total, endless.__class__ = None, type("Endless", (Film,), {"__iter__": lambda self: iter(())})

    intake = FramesAhead([Film(3), endless], ["a", "b"])

    assert intake.total is None
    intake.close()


def test_skipped_inputs_come_beside_the_frames():
    film = Film(0)
    skipped = [Skipped(name="film", reason=str(number)) for number in range(3)]
    frames = list(Film(3))
    items = [skipped[0], frames[0], skipped[1], frames[1], skipped[2]]
    film.__class__ = type("Gaps", (Film,), {"__iter__": lambda self: iter(items)})
    intake = FramesAhead([film], ["film"])

    assert intake.take(2) == [skipped[0], frames[0], skipped[1], frames[1]]
    assert intake.take(2) == [skipped[2]]
    assert intake.take(2) == []
    intake.close()


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (InputError("the disk is gone"), "the disk is gone"),
        (OSError("no such device"), "film cannot be read further: no such device"),
        (cv2.error("no memory"), "film cannot be read further: no memory"),
    ],
)
def test_a_failure_comes_after_the_frames_before_it(failure, words):
    intake = FramesAhead([Film(3, ends_with=failure)], ["film"])

    assert numbers(intake.take(5)) == [0, 1, 2]
    with pytest.raises(InputError, match=words):
        intake.take(5)
    intake.close()


def test_a_fault_of_the_programs_own_is_no_end_of_the_film():
    intake = FramesAhead([Film(1, ends_with=TypeError("bug"))], ["film"])

    assert len(intake.take(1)) == 1
    with pytest.raises(TypeError, match="bug"):
        intake.take(1)
    intake.close()


def test_stop_ends_a_take_that_waits():
    hold = threading.Event()
    film = Film(3)
    film.__class__ = type("Slow", (Film,), {"__iter__": lambda self: (hold.wait() for _ in count())})
    intake = FramesAhead([film], ["film"])
    taken: list[object] = []
    taker = threading.Thread(target=lambda: taken.append(intake.take(1)))
    taker.start()

    intake.stop()
    taker.join(timeout=20)

    assert taken == [[]]
    hold.set()
    intake.close()
