"""Files read ahead: all of them, in order, and never far ahead."""

from __future__ import annotations

import threading
from itertools import count
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edgeseg.errors import InputError
from edgeseg.streaming.sources.prefetch import MAX_PREFETCHED, MIN_PREFETCHED, PrefetchReader
from edgeseg.vision.frames import Frame, Skipped, Source, SourceKind
from tests.vision.found import all_frames

from .mjpeg_server import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

pytestmark = pytest.mark.usefixtures("no_threads_left")


class Film(Source):
    """Frames 0, 1, 2 and so on; counts how many were asked for."""

    kind, fps = SourceKind.VIDEO, 10.0
    total = 0

    def __init__(self, frames: int, *, pixels: int = 4, ends_with: Exception | None = None) -> None:
        self.total, self.ends_with, self.shape = frames, ends_with, (pixels, 1, 3)
        self.asked, self.closed = 0, False

    def __iter__(self) -> Iterator[Frame | Skipped]:
        for index in range(self.total):
            self.asked += 1
            image = np.broadcast_to(np.uint8(index % 256), self.shape)
            yield Frame(image=image, name="film", image_id=index, time_s=index / 10)
        if self.ends_with:
            raise self.ends_with

    def close(self) -> None:
        self.closed = True


def numbers(items: Iterable[Frame | Skipped]) -> list[int]:
    return [frame.image_id for frame in all_frames(items)]


def test_every_frame_in_order_as_many_as_fit() -> None:
    film = Film(7)
    frame_reader = PrefetchReader([film], ["film"])

    assert [numbers(frame_reader.take(3)) for _ in range(4)] == [[0, 1, 2], [3, 4, 5], [6], []]
    assert (frame_reader.kind, frame_reader.names, frame_reader.total, frame_reader.rates_fps) == (
        SourceKind.VIDEO,
        ("film",),
        7,
        (10.0,),
    )
    assert (frame_reader.dropped, frame_reader.reconnects, film.closed) == ({}, 0, True)
    frame_reader.close()
    frame_reader.close()


def test_it_reads_ahead_but_not_far() -> None:
    film = Film(100)
    frame_reader = PrefetchReader([film], ["film"])
    until(lambda: film.asked == MAX_PREFETCHED + 1)
    frame_reader.take(5)

    until(lambda: film.asked == MAX_PREFETCHED + 6)
    frame_reader.close()
    assert film.asked == MAX_PREFETCHED + 6
    assert film.closed


def test_of_large_pictures_it_reads_few_ahead() -> None:
    film = Film(100, pixels=200 * 1024 * 1024)
    frame_reader = PrefetchReader([film], ["film"])
    until(lambda: film.asked == MIN_PREFETCHED + 1)
    assert numbers(frame_reader.take(1)) == [0]
    until(lambda: film.asked == MIN_PREFETCHED + 2)

    frame_reader.close()
    assert film.asked == MIN_PREFETCHED + 2


def test_more_than_is_read_ahead_can_be_taken_at_once() -> None:
    frame_reader = PrefetchReader([Film(40)], ["film"])

    assert numbers(frame_reader.take(3 * MAX_PREFETCHED)) == list(range(3 * MAX_PREFETCHED))
    frame_reader.close()


def test_several_take_turns_until_the_longest_ends() -> None:
    frame_reader = PrefetchReader([Film(2), Film(4)], ["a", "b"])

    frames = all_frames(frame_reader.take(10))

    assert [(frame.source, frame.image_id, frame.name) for frame in frames] == [
        (0, 0, "a"),
        (1, 1, "b"),
        (0, 2, "a"),
        (1, 3, "b"),
        (1, 4, "b"),
        (1, 5, "b"),
    ]
    assert frame_reader.total == 6
    frame_reader.close()


def test_nobody_knows_the_total_of_a_stream_and_a_film() -> None:
    class Endless(Source):
        kind, total, fps = SourceKind.VIDEO, None, None

        def __iter__(self) -> Iterator[Frame | Skipped]:
            return iter(())

        def close(self) -> None:
            pass

    frame_reader = PrefetchReader([Film(3), Endless()], ["a", "b"])

    assert frame_reader.total is None
    frame_reader.close()


def test_skipped_inputs_come_beside_the_frames() -> None:
    film = Film(0)
    skipped = [Skipped(name="film", reason=str(number)) for number in range(3)]
    frames = list(Film(3))
    items = [skipped[0], frames[0], skipped[1], frames[1], skipped[2]]
    film.__class__ = type("Gaps", (Film,), {"__iter__": lambda self: iter(items)})
    frame_reader = PrefetchReader([film], ["film"])

    assert frame_reader.take(2) == [skipped[0], frames[0], skipped[1], frames[1]]
    assert frame_reader.take(2) == [skipped[2]]
    assert frame_reader.take(2) == []
    frame_reader.close()


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (InputError("the disk is gone"), "the disk is gone"),
        (OSError("no such device"), "film cannot be read further: no such device"),
        (cv2.error("no memory"), "film cannot be read further: no memory"),
    ],
)
def test_a_failure_comes_after_the_frames_before_it(failure: Exception, words: str) -> None:
    frame_reader = PrefetchReader([Film(3, ends_with=failure)], ["film"])

    assert numbers(frame_reader.take(5)) == [0, 1, 2]
    with pytest.raises(InputError, match=words):
        frame_reader.take(5)
    frame_reader.close()


def test_a_fault_of_the_programs_own_is_no_end_of_the_film() -> None:
    frame_reader = PrefetchReader([Film(1, ends_with=TypeError("bug"))], ["film"])

    assert len(frame_reader.take(1)) == 1
    with pytest.raises(TypeError, match="bug"):
        frame_reader.take(1)
    frame_reader.close()


def test_stop_ends_a_take_that_waits() -> None:
    hold = threading.Event()
    film = Film(3)
    film.__class__ = type("Slow", (Film,), {"__iter__": lambda self: (hold.wait() for _ in count())})
    frame_reader = PrefetchReader([film], ["film"])
    taken: list[object] = []
    taker = threading.Thread(target=lambda: taken.append(frame_reader.take(1)))
    taker.start()

    frame_reader.stop()
    taker.join(timeout=20)

    assert taken == [[]]
    hold.set()
    frame_reader.close()
