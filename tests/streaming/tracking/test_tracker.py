"""Numbers that stay, through occlusion, missed frames, crossings and odd times."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest

from edgeseg.errors import DependencyError
from edgeseg.streaming.tracking import LOWEST_SCORE, SceneTracker, TrackConfig, parse_line, parse_zone
from edgeseg.vision.frames import Frame

from .scenes import FPS, SIZE_HW, Stage, found, ids_at, ids_of, thing

pytest.importorskip("trackers")


def test_the_second_sighting_gives_the_number() -> None:
    stage = Stage()
    first, scene = stage.show(thing(100, 100))
    assert ids_of(first) == [0]
    assert (scene.entered, dict(scene.trails)) == (0, {})
    second, scene = stage.show(thing(105, 100))
    assert ids_of(second) == [1]
    assert (scene.entered, scene.left, scene.entered_by_class) == (1, 0, {"bolt": 1})


def test_numbers_come_in_order_without_gaps() -> None:
    stage = Stage()
    for index in range(60):
        # A flash in every other frame starts tracks that are never seen again.
        flash = [thing(300 + 7 * index % 200, 400, score=0.7)] if index % 2 else []
        things = [thing(60 + 80 * n, 100) for n in range(1 + index // 12)]
        detections, scene = stage.show(*things, *flash)
    assert sorted(set(ids_of(detections)) - {0}) == [1, 2, 3, 4, 5]
    assert scene.entered == 5


def test_low_scores_start_nothing_and_are_not_shown() -> None:
    stage = Stage()
    for _ in range(10):
        detections, scene = stage.show(thing(100, 100, score=0.4))
        assert (len(detections), scene.entered) == (0, 0)


def test_low_scores_do_not_confirm() -> None:
    stage = Stage()
    stage.show(thing(100, 100))
    for _ in range(10):
        _, scene = stage.show(thing(100, 100, score=0.4))
    assert scene.entered == 0


def test_low_scores_keep_a_number_alive() -> None:
    stage = Stage(lost_s=0.2)
    for index in range(40):
        hidden = 10 <= index < 30
        detections, scene = stage.show(thing(100 + 5 * index, 100, score=0.15 if hidden else 0.9))
        assert len(detections) == (0 if hidden else 1)
    assert ids_of(detections) == [1]
    assert scene.entered == 1
    assert LOWEST_SCORE <= 0.15


def test_the_threshold_may_change() -> None:
    stage = Stage()
    for _ in range(3):
        stage.show(thing(100, 100, score=0.6))
    stage.threshold = 0.7
    assert len(stage.show(thing(100, 100, score=0.6))[0]) == 0
    stage.threshold = 0.3
    detections, _ = stage.show(thing(100, 100, score=0.6), thing(300, 300, score=0.4))
    assert ids_at(detections) == {(100, 100): 1, (300, 300): 0}


@pytest.mark.parametrize("missed", [1, 5, 20])
def test_a_number_outlives_missed_frames(missed: int) -> None:
    stage = Stage()
    for index in range(30 + missed):
        if not 15 <= index < 15 + missed:
            detections, scene = stage.show(thing(60 + 8 * index, 100))
        else:
            stage.show()
    assert ids_of(detections) == [1]
    assert (scene.entered, scene.left) == (1, 0)


def test_what_is_gone_for_long_is_another() -> None:
    stage = Stage(lost_s=0.4)
    stage.walk([(100, 100)] * 5)
    for _ in range(12):
        _, scene = stage.show()
    assert (scene.entered, scene.left, dict(scene.trails)) == (1, 1, {})
    stage.show(thing(100, 100))
    detections, scene = stage.show(thing(100, 100))
    assert ids_of(detections) == [2]
    assert scene.entered_by_class == {"bolt": 2}


def test_what_moves_out_of_the_frame_is_gone_at_once() -> None:
    stage = Stage(lost_s=60)
    stage.walk([(x, 100) for x in range(400, 636, 12)])
    for _ in range(6):
        _, scene = stage.show()
    assert (scene.entered, scene.left) == (1, 1)


def test_two_that_cross_keep_their_numbers() -> None:
    stage = Stage()
    for index in range(60):
        right, left = thing(100 + 7 * index, 240), thing(520 - 7 * index, 250, label=2)
        hidden = abs(right["at"][0] - left["at"][0]) < 25
        detections, scene = stage.show(right, *([] if hidden else [left]))
        if index == 5:
            before = ids_at(detections)
    assert sorted(before.values()) == [1, 2]
    after = dict(zip(detections.names, ids_of(detections), strict=True))
    assert after == {"bolt": before[(140, 240)], "nut": before[(480, 250)]}
    assert scene.entered == 2


def test_an_object_behind_another_comes_back_as_itself() -> None:
    stage = Stage()
    for index in range(80):
        walker = thing(60 + 6 * index, 240, side=30)
        hidden = 260 < walker["at"][0] < 380
        detections, scene = stage.show(thing(320, 240, side=110, label=2), *([] if hidden else [walker]))
    assert sorted(ids_of(detections)) == [1, 2]
    assert scene.entered == 2


def test_no_number_twice_in_a_frame() -> None:
    rng = np.random.default_rng(1)
    stage = Stage()
    for _ in range(150):
        things = [
            thing(
                *rng.uniform(20, 460, 2),
                side=rng.uniform(5, 120),
                score=rng.uniform(0.1, 1),
                label=int(label),
            )
            for label in rng.integers(1, 4, rng.integers(0, 25))
        ]
        detections, scene = stage.show(*things)
        numbers = [number for number in ids_of(detections) if number > 0]
        assert len(numbers) == len(set(numbers))
        assert max(numbers, default=0) <= scene.entered
        assert scene.left <= scene.entered
        assert sum(scene.entered_by_class.values()) == scene.entered


def test_a_flip_of_class_changes_neither_number_nor_class() -> None:
    stage = Stage()
    for index in range(20):
        flipped = index % 5 == 4
        detections, scene = stage.show(thing(100 + 4 * index, 100, label=2 if flipped else 1))
        assert detections.names == ["bolt"]
    assert ids_of(detections) == [1]
    assert scene.entered_by_class == {"bolt": 1}


def test_the_class_found_most_wins_in_the_end() -> None:
    stage = Stage()
    stage.walk([(100, 100)] * 3, label=2)
    assert stage.walk([(100, 100)] * 10, label=3).entered_by_class == {"washer": 1}


def test_twins_are_one_object() -> None:
    stage = Stage()
    for _ in range(5):
        detections, scene = stage.show(thing(100, 100), thing(101, 100, label=2, score=0.8))
    assert detections.names == ["bolt"]
    assert scene.entered == 1


def test_empty_frames() -> None:
    stage = Stage()
    for _ in range(5):
        detections, scene = stage.show()
        assert ids_of(detections) == []
        assert detections.track_ids is not None
        assert detections.track_ids.dtype == np.int64
    assert (scene.entered, scene.left, dict(scene.trails)) == (0, 0, {})


def test_objects_that_all_move_far_between_frames() -> None:
    """A belt on a slow device: a part lies nearer to where its neighbour was than to where it was itself."""
    behind = [160 * min(n, 5) + 60 * max(n - 5, 0) for n in range(20)]
    stage = Stage()
    for index in range(40):
        places = {n: 20 + 45 * index - gap for n, gap in enumerate(behind)}
        shown = {n: x for n, x in places.items() if 20 <= x <= 620}
        detections, scene = stage.show(*(thing(x, 240) for x in shown.values()))
        middles = (detections.boxes_xyxy[:, 0] + detections.boxes_xyxy[:, 2]) / 2
        for middle, number in zip(middles, ids_of(detections), strict=True):
            assert number in (0, 1 + min(shown, key=lambda n: abs(shown[n] - middle)))
    assert scene.entered >= 18


def test_trails_follow_the_centre_and_end() -> None:
    stage = Stage(trail_s=0.4)
    for index in range(30):
        _, scene = stage.show(thing(100 + 6 * index, 200))
    trail = scene.trails[1]
    assert trail.dtype == np.float32
    assert trail.shape == (11, 2)
    assert trail[-1] == pytest.approx((274, 200), abs=1)
    assert trail[0] == pytest.approx((274 - 60, 200), abs=1)


@pytest.mark.parametrize(
    "times",
    [
        [None] * 30,
        [0.0] * 30,
        [n / FPS for n in range(15)] + [n / FPS for n in range(15)],
        [(29 - n) / FPS for n in range(30)],
        [float("nan") if n % 3 else n / FPS for n in range(30)],
        [n / FPS + 1e-9 * (n % 2) for n in range(30)],
        [1e9 + n / FPS for n in range(30)],
        [(n + 0.45 * (-1) ** n) / FPS for n in range(30)],
    ],
    ids=["none", "same", "again", "backward", "nan", "tiny", "epoch", "jitter"],
)
def test_odd_times(times: list[float | None]) -> None:
    stage = Stage()
    for index, time_s in enumerate(times):
        detections, scene = stage.show(thing(100 + 5 * index, 100), time_s=time_s)
    assert ids_of(detections) == [1]
    assert (scene.entered, scene.left) == (1, 0)


@pytest.mark.parametrize("fps", [None, 0.0, -1.0, float("nan"), float("inf"), 1.0, 240.0])
def test_odd_rates(fps: float | None) -> None:
    stage = Stage(fps=fps)
    for index in range(10):
        detections, _ = stage.show(thing(100 + 5 * index, 100))
    assert ids_of(detections) == [1]


def test_capture_times_go_before_file_times() -> None:
    stage = Stage(lost_s=0.5)
    stage.show(thing(100, 100), captured_s=100.0)
    for index in range(1, 12):
        stage.show(thing(100, 100), captured_s=100.0 + index / FPS)
    _, scene = stage.show(captured_s=130.0)
    _, scene = stage.show(captured_s=131.0)
    assert scene.left == 1


def test_dropped_frames_do_not_break_motion() -> None:
    """40 pixels a second-twenty-fifth seen only now and then: the time between tells how far it has gone."""
    stage = Stage()
    rng = np.random.default_rng(5)
    index = 0
    x = 0.0
    for _ in range(30):
        index += int(rng.integers(1, 5))
        x = 40 + 4.0 * index
        if x > 600:
            break
        detections, scene = stage.show(thing(x, 100), time_s=index / FPS)
    assert ids_of(detections) == [1]
    assert scene.entered == 1


def test_a_device_slower_than_lost_s_keeps_its_objects() -> None:
    stage = Stage(lost_s=1.0)
    for index in range(12):
        if index != 8:
            detections, scene = stage.show(thing(100 + 2 * index, 100), time_s=3.0 * index)
        else:
            stage.show(time_s=3.0 * index)
    assert ids_of(detections) == [1]
    assert (scene.entered, scene.left) == (1, 0)


def test_a_pause_ends_what_was_there() -> None:
    stage = Stage(lost_s=1.0)
    stage.walk([(100, 100)] * 10)
    stage.show(thing(100, 100), time_s=60.0)
    detections, scene = stage.show(thing(100, 100), time_s=60.04)
    assert ids_of(detections) == [2]
    assert (scene.entered, scene.left) == (2, 1)


def test_what_goes_in_is_not_changed() -> None:
    tracker = SceneTracker(TrackConfig(smooth_masks=0.5), fps=FPS)
    Stage(smooth_masks=0.5)
    detections = found(thing(100, 100), thing(101, 100, label=2, score=0.8))
    copies = [
        np.copy(array) for array in (detections.boxes_xyxy, detections.labels, detections.masks[0].pixels)
    ]
    for index in range(4):
        frame = stage_frame(index)
        tracker.update(frame, detections, 0.5)
    assert detections.track_ids is None
    now: tuple[np.ndarray, ...] = (detections.boxes_xyxy, detections.labels, detections.masks[0].pixels)
    assert all(np.array_equal(copy, array) for copy, array in zip(copies, now, strict=True))


def stage_frame(index: int) -> Frame:
    return Frame(image=np.zeros((1, 1, 3), np.uint8), name="", image_id=index, time_s=index / FPS)


def test_memory_stays_flat_over_ten_thousand_frames() -> None:
    """What is held after 10,000 frames is what was held after 500."""
    stage = Stage(smooth_masks=0.5, lost_s=0.2)
    sizes = []
    for index in range(10_000):
        row = index // 30
        stage.show(thing(30 + 12 * (index % 30), 60 + row % 8 * 50))
        # Both in the middle of a row, and both of them the same row.
        if index in (500, 500 + 38 * 240):
            gc.collect()
            sizes.append(_held(stage.tracker))
    assert stage.tracker._registry.entered == 334
    assert sizes[1] <= sizes[0] * 1.1


def _held(start: object) -> int:
    """Count what can be reached from an object, but for modules, classes and functions."""
    seen: set[int] = set()
    todo = [start]
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, (type, type(sys), type(_held))):
            continue
        seen.add(id(item))
        todo.extend(gc.get_referents(item))
    return len(seen)


def test_without_the_package_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(DependencyError, match="follow objects over time") as caught:
        SceneTracker(TrackConfig(), fps=FPS)
    assert "pip install 'edgeseg[track]'" in str(caught.value)
    assert "pip install --no-deps 'trackers" in str(caught.value)


def test_frames_of_other_sizes_on_the_way() -> None:
    stage = Stage()
    for index in range(30):
        factor = 2 if 10 <= index < 20 else 1
        size_hw = SIZE_HW[0] * factor, SIZE_HW[1] * factor
        item = thing((100 + 5 * index) * factor, 100 * factor, side=40 * factor)
        detections, scene = stage.show(item, size_hw=size_hw)
    assert ids_of(detections) == [1]
    assert scene.entered == 1


def test_a_line_outside_the_first_frame_is_told_once() -> None:
    notes: list[str] = []
    lines = (parse_line("in:100,0,100,480"), parse_line("out:700,0,700,480"))
    zones = (parse_zone("700,0,800,0,800,100"),)
    tracker = SceneTracker(TrackConfig(lines=lines, zones=zones), fps=FPS, note=notes.append)
    for index, size_hw in enumerate([SIZE_HW, SIZE_HW, (240, 320)]):
        frame = Frame(image=np.zeros((1, 1, 3), np.uint8), name="gate.mp4", image_id=index)
        tracker.update(frame, found(size_hw=size_hw), 0.5)
    told = [note.split(" counts nothing")[0] for note in notes]
    assert told == ["gate.mp4: line 'out'", "gate.mp4: zone 1"]
