"""What is hidden stays hidden while a detector blinks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgeseg.streaming.rendering.redaction_hold import HOLD_S, RedactionHold
from edgeseg.vision.boxes import pairwise_iou
from tests.vision.found import make_detections, make_frame

if TYPE_CHECKING:
    from edgeseg.vision.detections import Detections


def lefts(found: Detections) -> list[float]:
    return [float(left) for left in found.boxes_xyxy[:, 0]]


def test_what_is_missed_in_a_frame_is_hidden_in_it() -> None:
    hold = RedactionHold()
    both = make_detections(2)
    assert lefts(hold.update(make_frame(time_s=0.0), both)) == [0, 12]

    assert lefts(hold.update(make_frame(time_s=0.1), both[[1]])) == [12, 0]
    assert lefts(hold.update(make_frame(time_s=0.2), both[[]])) == [12, 0]
    assert lefts(hold.update(make_frame(time_s=0.3), both)) == [0, 12]


def test_only_for_a_moment_after_it_was_last_found() -> None:
    hold, found = RedactionHold(), make_detections(1)
    hold.update(make_frame(time_s=0.0), found)
    hold.update(make_frame(time_s=0.4), found)

    assert len(hold.update(make_frame(time_s=0.4 + HOLD_S), found[[]])) == 1
    assert len(hold.update(make_frame(time_s=0.45 + HOLD_S), found[[]])) == 0


def test_what_moves_a_little_is_not_hidden_twice() -> None:
    hold, found = RedactionHold(), make_detections(1)
    hold.update(make_frame(time_s=0.0), found)
    moved = make_detections(1)
    moved.boxes_xyxy[:, ::2] += 3

    assert lefts(hold.update(make_frame(time_s=0.1), moved)) == [3]


def test_images_have_nothing_before_them() -> None:
    hold, found = RedactionHold(), make_detections(1)
    hold.update(make_frame("a.png"), found)

    assert len(hold.update(make_frame("b.png"), found[[]])) == 0


def test_a_frame_of_another_size_begins_anew() -> None:
    hold = RedactionHold()
    hold.update(make_frame(time_s=0.0), make_detections(1))
    other = make_detections(0, (80, 80))

    assert len(hold.update(make_frame(size_hw=(80, 80), time_s=0.1), other)) == 0


def test_overlap() -> None:
    boxes = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 5, 5]], np.float32)

    assert pairwise_iou(boxes, boxes[:2]) == pytest.approx(np.array([[1, 1 / 3], [1 / 3, 1], [0, 0]]))
    assert pairwise_iou(boxes, boxes[:0]).shape == (3, 0)
