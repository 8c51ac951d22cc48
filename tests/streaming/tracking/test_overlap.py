"""One object, one detection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeseg.streaming.tracking.overlap import remove_duplicates

from .scenes import found, thing

if TYPE_CHECKING:
    from .scenes import Thing


def left(*things: Thing, threshold: float = 0.5) -> list[float]:
    return [round(float(score), 2) for score in remove_duplicates(found(*things), threshold).scores]


def test_twins_of_other_classes_become_one() -> None:
    assert left(thing(100, 100, score=0.9), thing(101, 100, label=2, score=0.8)) == [0.9]


def test_neighbours_stay() -> None:
    assert left(thing(100, 100, score=0.9), thing(130, 100, score=0.8)) == [0.9, 0.8]


def test_one_mask_over_two_objects_goes() -> None:
    parts = thing(100, 100, score=0.9), thing(135, 100, score=0.8)
    assert left(*parts, thing(117, 100, side=75, label=2, score=0.7)) == [0.9, 0.8, 0.7]
    assert left(*parts, thing(117, 100, side=45, label=2, score=0.7)) == [0.9, 0.8]


def test_a_small_thing_on_a_large_one_of_another_class_stays() -> None:
    assert left(thing(100, 100, side=150, score=0.9), thing(100, 100, side=30, label=2, score=0.8)) == [
        0.9,
        0.8,
    ]


def test_a_piece_of_an_object_of_its_own_class_goes() -> None:
    assert left(thing(100, 100, side=150, score=0.9), thing(100, 100, side=30, score=0.8)) == [0.9]


def test_what_is_not_shown_takes_nothing_away() -> None:
    assert left(thing(100, 100, score=0.4), thing(101, 100, label=2, score=0.3)) == [0.4, 0.3]
    assert left(thing(100, 100, score=0.9), thing(101, 100, label=2, score=0.3)) == [0.9]


def test_nothing_stays_nothing() -> None:
    assert left() == []


def test_a_mask_without_pixels_stays() -> None:
    assert left(thing(100, 100, score=0.9), thing(100, 100, side=0, score=0.8)) == [0.9, 0.8]
