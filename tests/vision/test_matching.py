"""Which detection is which: one to one by overlap, and equal but for rounding."""

from __future__ import annotations

import numpy as np
import pytest

from edgeseg.vision.matching import Found, has_equal, match_by_overlap

ONES = np.ones(3, int)


@pytest.mark.parametrize(
    ("overlaps", "pairs"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], [(0, 0), (1, 1)]),
        ([[0.0, 0.9], [0.6, 0.0]], [(0, 1), (1, 0)]),
        # The better pair takes what the other one would take, too.
        ([[0.8, 0.6], [0.9, 0.0]], [(0, 1), (1, 0)]),
        ([[0.8, 0.4], [0.9, 0.0]], [(1, 0)]),
        # Of equals the first.
        ([[0.7, 0.7], [0.7, 0.0]], [(0, 0)]),
        ([[0.5, 0.49]], [(0, 0)]),
        ([[0.49], [0.1]], []),
        ([[0.6], [0.7], [0.8]], [(2, 0)]),
    ],
    ids=[
        "same order",
        "turned",
        "best first",
        "each once",
        "tie",
        "bound",
        "too little",
        "more than columns",
    ],
)
def test_largest_overlaps_first(overlaps: list[list[float]], pairs: list[tuple[int, int]]) -> None:
    rows, columns = np.array(overlaps).shape

    assert match_by_overlap(np.array(overlaps), ONES[:rows], ONES[:columns]) == pairs


def test_of_one_label_only() -> None:
    overlaps = np.array([[1.0, 0.6], [0.9, 1.0]])

    assert match_by_overlap(overlaps, np.array([1, 2]), np.array([2, 1])) == [(0, 1), (1, 0)]
    assert match_by_overlap(overlaps, np.array([1, 2]), np.array([3, 4])) == []


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_none_to_match(shape: tuple[int, int]) -> None:
    assert match_by_overlap(np.zeros(shape), ONES[: shape[0]], ONES[: shape[1]]) == []


def found(*rows: tuple[float, float, int]) -> Found:
    """Detections at `x`, with a score and a label."""
    boxes = np.array([(x, 0, x + 10, 10) for x, _, _ in rows], np.float32).reshape(-1, 4)
    scores, labels = (np.array([row[place] for row in rows]) for place in (1, 2))
    return Found(boxes, scores.astype(np.float32), labels.astype(np.int32))


def equal(one: Found, other: Found) -> list[bool]:
    return [bool(each) for each in has_equal(one, other, max_box_error_px=0.5, max_score_error=0.005)]


def test_equal_but_for_rounding() -> None:
    seen = found((10, 0.9, 1), (30, 0.4, 2))

    assert equal(seen, seen) == [True, True]
    assert equal(found((10.4, 0.904, 1)), seen) == [True]
    assert equal(found((10.6, 0.9, 1), (10, 0.894, 1), (10, 0.9, 2)), seen) == [False, False, False]


def test_a_single_coordinate_that_differs_is_another_box() -> None:
    seen = found((10, 0.9, 1))
    for side in range(4):
        boxes = seen.boxes_xyxy.copy()
        boxes[0, side] += 0.6
        assert equal(seen._replace(boxes_xyxy=boxes), seen) == [False]


def test_several_may_have_the_same_equal() -> None:
    assert equal(found((10, 0.9, 1), (10.2, 0.9, 1)), found((10, 0.9, 1))) == [True, True]


def test_none_has_an_equal_among_none() -> None:
    assert equal(found((10, 0.9, 1)), found()) == [False]
    assert equal(found(), found((10, 0.9, 1))) == []
