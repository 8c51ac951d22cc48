"""What is drawn, when, and what is passed over."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest

from edgeseg.errors import InputError
from edgeseg.streaming.results import Shown
from edgeseg.streaming.web import frame_store as module
from edgeseg.streaming.web.frame_store import LIVE_SIDE_PX, Gallery, encoded, fitted

from .viewing import make_shown, until


@pytest.fixture
def hung():
    return []


@pytest.fixture
def gallery(hung):
    made = Gallery(2, lambda: hung.append(1))
    yield made
    made.close()


def level_of(picture) -> int:
    return int(cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR)[0, 0, 1])


def test_nothing_is_drawn_when_nobody_looks(gallery, hung):
    drawn = []
    for number in range(5):
        gallery.show(make_shown(number, drawn=drawn))

    assert drawn == []
    assert hung == []
    assert gallery.picture(0) is None
    assert gallery.status.frames == 4


def test_only_the_source_that_is_looked_at_is_drawn(gallery):
    drawn = []
    gallery.watch(1, 1)
    gallery.show(make_shown(1, source=0, drawn=drawn))
    gallery.show(make_shown(2, source=1, drawn=drawn))

    until(lambda: gallery.picture(1))
    assert drawn == [2]
    assert gallery.picture(0) is None


def test_a_newcomer_gets_the_last_picture(gallery, hung):
    gallery.show(make_shown(90))
    gallery.watch(0, 1)

    until(lambda: hung)
    assert level_of(gallery.picture(0)) == 90


def test_each_picture_is_drawn_once(gallery):
    drawn = []
    gallery.watch(0, 3)
    shown = make_shown(5, drawn=drawn)
    gallery.show(shown)
    _ = shown.picture

    until(lambda: gallery.picture(0))
    assert drawn == [5]


def test_frames_that_come_too_fast_are_passed_over_but_not_the_last(gallery):
    drawn = []
    gallery.watch(0, 1)
    for number in range(200):
        gallery.show(make_shown(number, drawn=drawn))

    until(lambda: gallery.catch_up() or (gallery.picture(0) and level_of(gallery.picture(0)) == 199))
    assert len(drawn) < 200


@pytest.mark.parametrize("limit", ["MOST_PICTURES_S", "MOST_DELIVERIES_S"])
def test_no_more_pictures_than_are_seen_or_can_be_sent(gallery, monkeypatch, limit):
    monkeypatch.setattr(module, limit, 1e-4)
    gallery.watch(0, 1)
    drawn = []
    for number in range(10):
        gallery.show(make_shown(number, drawn=drawn))
        until(lambda: not gallery._easels[0].busy)

    # The second is due when the first has come; the third hours later.
    assert drawn == [0, 1]


def test_a_picture_in_hand_keeps_nobody_waiting(gallery):
    """While one is being compressed, frames are taken and not drawn."""
    free, drawn = threading.Event(), []
    gallery.workshop.submit(free.wait)
    gallery.watch(0, 1)
    for number in range(50):
        gallery.show(make_shown(number, drawn=drawn))

    assert drawn == [0]
    free.set()
    until(lambda: gallery.catch_up() or (gallery.picture(0) and level_of(gallery.picture(0)) == 49))


def test_those_who_left_cost_nothing(gallery):
    drawn = []
    gallery.watch(0, 1)
    gallery.watch(0, -1)
    gallery.show(make_shown(drawn=drawn))

    assert drawn == []


def test_a_picture_that_cannot_be_drawn_ends_the_run(gallery):
    def draw(result):
        msg = "no paint"
        raise ValueError(msg)

    gallery.show(Shown(make_shown().result, make_shown()._status, draw))
    gallery.watch(0, 1)

    with pytest.raises(ValueError, match="no paint"):
        until(lambda: gallery.show(make_shown()))


def test_the_last_frame_is_drawn_at_the_end():
    gallery = Gallery(1, lambda: None)
    gallery.watch(0, 1)
    for number in range(100):
        gallery.show(make_shown(number))
    gallery.close()

    assert level_of(gallery.picture(0)) == 99
    gallery.watch(0, 1)
    gallery.close()


@pytest.mark.parametrize(
    ("size_hw", "wanted"),
    [
        ((720, 1280), (720, 1280)),
        ((1080, 1920), (720, 1280)),
        ((4000, 3000), (1280, 960)),
        ((1, 9000), (1, 1280)),
    ],
)
def test_large_pictures_are_reduced(size_hw, wanted):
    assert fitted(np.zeros((*size_hw, 3), np.uint8), LIVE_SIDE_PX).shape[:2] == wanted


def test_a_picture_that_no_jpeg_can_hold():
    with pytest.raises(InputError, match=r"70000x1 cannot be written as \.jpg"):
        encoded(np.zeros((1, 70_000, 3), np.uint8), ".jpg")
