"""Where captions stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgeseg.vision.caption_layout import Occupied, place_captions
from edgeseg.vision.captions import Caption, draw_captions
from edgeseg.vision.palette import Color, color_from_number

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZE_HW = (100, 200)
NONE = np.zeros((0, 4), np.float32)


def placed(
    boxes: Sequence[Sequence[float]],
    size_wh: tuple[int, int] = (30, 10),
    captions: np.ndarray = NONE,
    size_hw: tuple[int, int] = SIZE_HW,
) -> list[list[int]]:
    rows = np.array(boxes, np.float32)
    sizes = np.tile(np.array(size_wh, np.float32), (len(rows), 1))
    found = place_captions(rows, sizes, size_hw, Occupied(objects=rows, captions=captions))
    return [[int(value) for value in place] for place in found]


@pytest.mark.parametrize(
    ("box", "place"),
    [
        ((50, 30, 90, 70), [50, 20, 80, 30]),  # above
        ((190, 30, 198, 70), [170, 20, 200, 30]),  # above, moved into the frame
        ((50, 5, 90, 70), [50, 70, 80, 80]),  # below, where there is no room above
        ((50, 2, 90, 99), [90, 2, 120, 12]),  # to the right
        ((90, 2, 199, 99), [60, 2, 90, 12]),  # to the left
        ((0, 0, 200, 100), [0, 0, 30, 10]),  # inside, where there is room nowhere else
    ],
)
def test_the_place_beside_a_box(box: tuple[int, ...], place: list[int]) -> None:
    assert placed([box]) == [place]


def test_captions_do_not_cover_each_other() -> None:
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 1, (120, 2, 2)) * (400, 300), axis=1).reshape(-1, 4)
    places = [place for place in placed(corners.tolist(), size_hw=(300, 400)) if any(place)]
    used = np.zeros((300, 400), int)
    for left, top, right, bottom in places:
        assert (right - left, bottom - top) == (30, 10)
        assert 0 <= left < right <= 400
        assert 0 <= top < bottom <= 300
        used[top:bottom, left:right] += 1

    assert len(places) > 50
    assert used.max() == 1


def test_small_objects_are_not_hidden() -> None:
    (place, *_) = placed([(50, 30, 90, 70), (55, 22, 65, 29)])

    assert place == [50, 70, 80, 80]


def test_a_caption_that_would_hide_objects_wherever_it_stood_is_left_out() -> None:
    crowd = [(x, y, x + 8, y + 8) for x in range(0, 200, 10) for y in range(0, 100, 10)]

    assert not np.any(placed(crowd))


def test_the_first_choose_first_and_the_last_may_find_nothing() -> None:
    places = placed([(50, 30, 52, 32)] * 20)

    assert places[0] == [50, 20, 80, 30]
    assert not any(places[-1])


def test_captions_that_stand_already_are_kept_clear_of() -> None:
    taken = np.array([(0, 0, 200, 29)], np.float32)

    assert placed([(50, 30, 90, 70)], captions=taken) == [[50, 70, 80, 80]]


def test_boxes_without_area_or_far_outside() -> None:
    for left, top, right, bottom in placed([(50, 30, 50, 30), (-900, -900, -800, -800), (1e6, 50, 1e6, 60)]):
        assert 0 <= left <= right <= 200
        assert 0 <= top <= bottom <= 100


def test_no_captions() -> None:
    canvas = np.zeros((100, 100, 3), np.uint8)
    draw_captions(canvas, [], 11)

    assert not canvas.any()


@pytest.mark.parametrize("width", [60, 200])
def test_the_short_text_where_there_is_no_room_for_the_long_one(width: int) -> None:
    canvas = np.zeros((100, width, 3), np.uint8)
    caption = Caption(
        text="some long name #1 90%", color=color_from_number(1), box_xyxy=(10, 30, 20, 40), short="#1"
    )

    draw_captions(canvas, [caption], 11)

    columns = np.count_nonzero(canvas.any((0, 2)))
    assert 0 < columns < 30 if width == 60 else columns > 60


def test_no_more_captions_than_can_be_read() -> None:
    canvas = np.zeros((2000, 2000, 3), np.uint8)
    boxes = [
        (40 * column, 40 * row + 20, 40 * column + 5, 40 * row + 25)
        for row in range(49)
        for column in range(49)
    ]
    captions = [Caption(text="a", color=Color(9, 9, 9), box_xyxy=box) for box in boxes]

    draw_captions(canvas, captions, 11)

    assert canvas[:100].any()
    assert not canvas[1000:].any()
