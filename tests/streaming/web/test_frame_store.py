"""What is drawn, when, and what is passed over."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgeseg.errors import InputError
from edgeseg.streaming.results import RenderedFrame
from edgeseg.streaming.web import frame_store as module
from edgeseg.streaming.web.frame_store import LIVE_SIDE_PX, FrameStore, encode_image, fit_image

from .viewing import decoded, make_shown, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NoReturn

    from edgeseg.streaming.results import FrameResult
    from edgeseg.streaming.web.frame_store import CompressedImage


@pytest.fixture
def on_frame() -> list[int]:
    return []


@pytest.fixture
def frame_store(on_frame: list[int]) -> Iterator[FrameStore]:
    made = FrameStore(2, lambda: on_frame.append(1))
    yield made
    made.close()


def level_of(picture: CompressedImage | None) -> int:
    assert picture is not None
    return int(decoded(picture.jpeg)[0, 0, 1])


def shows(frame_store: FrameStore, level: int) -> Callable[[], bool]:
    """Whether the picture of source 0, after catching up, has a level."""

    def reached() -> bool:
        frame_store.catch_up()
        return frame_store.picture(0) is not None and level_of(frame_store.picture(0)) == level

    return reached


def test_nothing_is_drawn_when_nobody_looks(frame_store: FrameStore, on_frame: list[int]) -> None:
    drawn: list[int] = []
    for number in range(5):
        frame_store.put(make_shown(number, drawn=drawn))

    assert drawn == []
    assert on_frame == []
    assert frame_store.picture(0) is None
    assert frame_store.status is not None
    assert frame_store.status.frames == 4


def test_only_the_source_that_is_looked_at_is_drawn(frame_store: FrameStore) -> None:
    drawn: list[int] = []
    frame_store.count_viewers(1, 1)
    frame_store.put(make_shown(1, source=0, drawn=drawn))
    frame_store.put(make_shown(2, source=1, drawn=drawn))

    until(lambda: frame_store.picture(1))
    assert drawn == [2]
    assert frame_store.picture(0) is None


def test_a_newcomer_gets_the_last_picture(frame_store: FrameStore, on_frame: list[int]) -> None:
    frame_store.put(make_shown(90))
    frame_store.count_viewers(0, 1)

    until(lambda: on_frame)
    assert level_of(frame_store.picture(0)) == 90


def test_each_picture_is_drawn_once(frame_store: FrameStore) -> None:
    drawn: list[int] = []
    frame_store.count_viewers(0, 3)
    shown = make_shown(5, drawn=drawn)
    frame_store.put(shown)
    _ = shown.image

    until(lambda: frame_store.picture(0))
    assert drawn == [5]


def test_frames_that_come_too_fast_are_passed_over_but_not_the_last(frame_store: FrameStore) -> None:
    drawn: list[int] = []
    frame_store.count_viewers(0, 1)
    for number in range(200):
        frame_store.put(make_shown(number, drawn=drawn))

    until(shows(frame_store, 199))
    assert len(drawn) < 200


@pytest.mark.parametrize("limit", ["MAX_IMAGES_PER_S", "MAX_DELIVERIES_PER_S"])
def test_no_more_pictures_than_are_seen_or_can_be_sent(
    frame_store: FrameStore, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(module, limit, 1e-4)
    frame_store.count_viewers(0, 1)
    drawn: list[int] = []
    for number in range(10):
        frame_store.put(make_shown(number, drawn=drawn))
        until(lambda: not frame_store._states[0].busy)

    # The second is due when the first has come; the third hours later.
    assert drawn == [0, 1]


def test_a_picture_in_hand_keeps_nobody_waiting(frame_store: FrameStore) -> None:
    """While one is being compressed, frames are taken and not drawn."""
    free = threading.Event()
    drawn: list[int] = []
    frame_store.executor.submit(free.wait)
    frame_store.count_viewers(0, 1)
    for number in range(50):
        frame_store.put(make_shown(number, drawn=drawn))

    assert drawn == [0]
    free.set()
    until(shows(frame_store, 49))


def test_those_who_left_cost_nothing(frame_store: FrameStore) -> None:
    drawn: list[int] = []
    frame_store.count_viewers(0, 1)
    frame_store.count_viewers(0, -1)
    frame_store.put(make_shown(drawn=drawn))

    assert drawn == []


def test_a_picture_that_cannot_be_drawn_ends_the_run(frame_store: FrameStore) -> None:
    def draw(result: FrameResult) -> NoReturn:
        msg = "no paint"
        raise ValueError(msg)

    frame_store.put(RenderedFrame(make_shown().result, make_shown()._status, draw))
    frame_store.count_viewers(0, 1)

    with pytest.raises(ValueError, match="no paint"):
        until(lambda: frame_store.put(make_shown()))


def test_the_last_frame_is_drawn_at_the_end() -> None:
    frame_store = FrameStore(1, lambda: None)
    frame_store.count_viewers(0, 1)
    for number in range(100):
        frame_store.put(make_shown(number))
    frame_store.close()

    assert level_of(frame_store.picture(0)) == 99
    frame_store.count_viewers(0, 1)
    frame_store.close()


@pytest.mark.parametrize(
    ("size_hw", "wanted"),
    [
        ((720, 1280), (720, 1280)),
        ((1080, 1920), (720, 1280)),
        ((4000, 3000), (1280, 960)),
        ((1, 9000), (1, 1280)),
    ],
)
def test_large_pictures_are_reduced(size_hw: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert fit_image(np.zeros((*size_hw, 3), np.uint8), LIVE_SIDE_PX).shape[:2] == wanted


def test_a_picture_that_no_jpeg_can_hold() -> None:
    with pytest.raises(InputError, match=r"70000x1 cannot be written as \.jpg"):
        encode_image(np.zeros((1, 70_000, 3), np.uint8), ".jpg")
