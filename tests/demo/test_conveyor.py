"""The synthetic scene: deterministic, exact, moving as a belt does."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgeseg.demo.conveyor import MIN_VISIBLE, PART_NAMES, ConveyorFrame, ConveyorScene
from edgeseg.errors import InputError

SMALL = (240, 320)


@pytest.fixture(scope="module")
def frames() -> list[ConveyorFrame]:
    return [ConveyorScene(seed=seed).frame(37 * seed) for seed in range(6)]


def test_same_seed_gives_same_frames_in_any_order() -> None:
    one, two = ConveyorScene(seed=5, size_hw=SMALL), ConveyorScene(seed=5, size_hw=SMALL)
    forward = [one.frame(i) for i in (0, 40, 80)]
    backward = [two.frame(i) for i in (80, 40, 0)][::-1]
    for a, b in zip(forward, backward, strict=True):
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.masks, b.masks)
        assert a.track_ids.tolist() == b.track_ids.tolist()


def test_another_seed_gives_another_scene() -> None:
    a, b = (ConveyorScene(seed=seed, size_hw=SMALL).frame(0).image for seed in (1, 2))
    assert np.abs(a.astype(int) - b.astype(int)).mean() > 5


def test_record_shapes_and_types(frames: list[ConveyorFrame]) -> None:
    for frame in frames:
        count = len(frame.labels)
        assert count > 0
        assert frame.image.shape == (480, 640, 3)
        assert frame.image.dtype == np.uint8
        assert frame.masks.shape == (count, 480, 640)
        assert frame.masks.dtype == np.bool_
        assert frame.boxes_xyxy.shape == (count, 4)
        assert len(set(frame.track_ids.tolist())) == count
        assert ((frame.labels >= 1) & (frame.labels <= len(PART_NAMES))).all()
        assert ((frame.visible >= MIN_VISIBLE) & (frame.visible <= 1)).all()


def test_every_class_occurs(frames: list[ConveyorFrame]) -> None:
    assert set(np.concatenate([f.labels for f in frames]).tolist()) == set(range(1, len(PART_NAMES) + 1))


def test_no_pixel_is_in_two_masks(frames: list[ConveyorFrame]) -> None:
    for frame in frames:
        assert frame.masks.sum(axis=0).max() == 1


def test_boxes_are_tight(frames: list[ConveyorFrame]) -> None:
    for frame in frames:
        for box, mask in zip(frame.boxes_xyxy, frame.masks, strict=True):
            rows, columns = np.nonzero(mask)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_holes_are_background(frames: list[ConveyorFrame]) -> None:
    ring = {PART_NAMES.index("washer") + 1, PART_NAMES.index("nut") + 1}
    checked = 0
    for frame in frames:
        free = frame.visible > 0.99
        for label, box, mask in zip(
            frame.labels[free], frame.boxes_xyxy[free], frame.masks[free], strict=True
        ):
            if int(label) in ring:
                x, y = round(float(box[0] + box[2]) / 2), round(float(box[1] + box[3]) / 2)
                assert not mask[y, x]
                checked += 1
    assert checked > 3


def test_parts_touch_and_overlap(frames: list[ConveyorFrame]) -> None:
    cross = np.ones((3, 3), np.uint8)
    touching = overlapped = 0
    for frame in frames:
        grown = [cv2.dilate(mask.view(np.uint8), cross).astype(bool) for mask in frame.masks]
        touching += sum(
            bool((grown[i] & frame.masks[j]).any())
            for i in range(len(grown))
            for j in range(i + 1, len(grown))
        )
        inside = (frame.boxes_xyxy[:, 0] > 0) & (frame.boxes_xyxy[:, 2] < 640)
        overlapped += int((frame.visible[inside] < 0.97).sum())
    assert touching >= 6
    assert overlapped >= 4


@pytest.mark.parametrize("speed_px", [4.0, 6.0, 2.5])
def test_parts_keep_their_number_and_move_with_the_belt(speed_px: float) -> None:
    scene = ConveyorScene(seed=11, size_hw=SMALL, speed_px=speed_px)
    first, second = scene.frame(20), scene.frame(24)
    shared = sorted(set(first.track_ids.tolist()) & set(second.track_ids.tolist()))
    assert len(shared) >= 4
    whole = 0
    for track_id in shared:
        a, b = (int(np.flatnonzero(f.track_ids == track_id)[0]) for f in (first, second))
        assert first.labels[a] == second.labels[b]
        if first.boxes_xyxy[a, 0] > 0 and second.boxes_xyxy[b, 2] < SMALL[1]:
            moved = second.boxes_xyxy[b] - first.boxes_xyxy[a]
            assert moved.tolist() == [4 * speed_px, 0, 4 * speed_px, 0]
            assert np.array_equal(np.roll(first.masks[a], round(4 * speed_px), axis=1), second.masks[b])
            whole += 1
    assert whole >= 2


def test_parts_enter_on_the_left_and_leave_on_the_right() -> None:
    scene = ConveyorScene(seed=3, size_hw=SMALL, speed_px=8)
    seen: dict[int, list[float]] = {}
    for index in range(0, 120, 3):
        frame = scene.frame(index)
        for track_id, box in zip(frame.track_ids.tolist(), frame.boxes_xyxy, strict=True):
            seen.setdefault(track_id, []).append(float(box[0] + box[2]) / 2)
    late = [xs for track_id, xs in seen.items() if len(xs) > 5 and min(xs) < 40]
    assert len(late) > 5
    assert all(np.all(np.diff(xs) > 0) for xs in seen.values())
    assert any(xs[-1] > 290 for xs in late)


def test_a_part_is_the_same_far_into_a_run() -> None:
    whole, late = ConveyorScene(seed=8, size_hw=SMALL), ConveyorScene(seed=8, size_hw=SMALL)
    for index in range(0, 900, 100):
        whole.frame(index)
    assert np.array_equal(whole.frame(5000).image, late.frame(5000).image)


def test_frames_scale_with_the_size() -> None:
    small = ConveyorScene(seed=4, size_hw=(240, 320)).frame(0)
    large = ConveyorScene(seed=4, size_hw=(721, 1283)).frame(0)
    assert large.image.shape == (721, 1283, 3)
    widths = [np.median(f.boxes_xyxy[:, 2] - f.boxes_xyxy[:, 0]) for f in (small, large)]
    assert widths[1] > 2 * widths[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": 1, "size_hw": (100, 640)}, "100x640"),
        ({"seed": 1, "speed_px": -1.0}, "-1.0"),
        ({"seed": 1, "spacing_px": 0.0}, "spacing_px > 0"),
        ({"seed": -3}, "-3"),
    ],
)
def test_impossible_scenes_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ConveyorScene(**arguments)  # type: ignore[arg-type]


def test_negative_frame_is_refused() -> None:
    with pytest.raises(InputError, match="-1"):
        ConveyorScene(seed=1, size_hw=SMALL).frame(-1)
