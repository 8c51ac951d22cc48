"""Drawing over frames: what is tinted, what is written, and what stays as it is."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg.errors import ConfigError, InputError
from edgeseg.streaming.rendering.scene_overlay import SceneOverlay
from edgeseg.streaming.results import LineCount, Scene, ZoneCount
from edgeseg.vision.detections import Detections
from edgeseg.vision.drawing import ColorBy, DrawStyle, draw_detections
from edgeseg.vision.masks import MaskCrop, crop_masks
from edgeseg.vision.palette import COLORS_RGB, NEUTRAL, color_from_number
from tests.data import shared

from .test_detections import NAMES, SIZE_HW, some

NOTHING = MaskCrop(pixels=np.zeros((0, 0), np.uint8), left=0, top=0)
PLAIN = DrawStyle(labels=False)


def noise(size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (*size_hw, 3), np.uint8)


def black(size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    return np.zeros((*size_hw, 3), np.uint8)


def squares(
    *boxes: tuple[int, int, int, int], size_hw: tuple[int, int] = SIZE_HW, **facts: Any
) -> Detections:
    """Instances whose masks fill their boxes."""
    masks = [
        MaskCrop(pixels=np.ones((y2 - y1, x2 - x1), np.uint8), left=x1, top=y1) for x1, y1, x2, y2 in boxes
    ]
    count = len(boxes)
    given: dict[str, Any] = {
        "boxes_xyxy": np.array(boxes, np.float32).reshape(count, 4),
        "scores": np.linspace(0.9, 0.6, count, dtype=np.float32),
        "labels": np.ones(count, np.int32),
        "masks": tuple(masks),
        "frame_size_hw": size_hw,
        "class_names": NAMES,
    }
    return Detections(**{**given, **facts})


def tracks(*ids: int) -> np.ndarray:
    return np.array(ids, np.int64)


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        (np.zeros((160, 120, 3), np.uint8), "120x160 frame .* on one of 160x120"),
        (np.zeros((120, 160), np.uint8), r"uint8\[120, 160\]"),
        (np.zeros((120, 160, 4), np.uint8), r"uint8\[120, 160, 4\]"),
        (np.zeros((120, 160, 3), np.float32), r"float32\[120, 160, 3\]"),
    ],
)
def test_a_frame_that_cannot_be_drawn_on(frame: np.ndarray, named: str) -> None:
    with pytest.raises(InputError, match=named):
        some(2).draw(frame)


def test_drawing_leaves_the_frame_alone() -> None:
    frame = noise()
    before = frame.copy()
    style = DrawStyle(boxes=True, color_by=ColorBy.ID)
    scene = Scene(trails={1: np.array([(0, 0), (90, 90)], np.float32)})

    drawn = draw_detections(some(9), frame, style, SceneOverlay(scene, style))

    assert np.array_equal(frame, before)
    assert not np.array_equal(drawn, frame)
    assert not np.shares_memory(drawn, frame)


@pytest.mark.parametrize(
    "scene",
    [None, Scene()],
    ids=["no scene", "an empty scene"],
)
def test_drawing_nothing_gives_a_copy(scene: Scene | None) -> None:
    frame = noise()

    drawn = draw_detections(some(0), frame, overlay=None if scene is None else SceneOverlay(scene))

    assert np.array_equal(drawn, frame)
    assert not np.shares_memory(drawn, frame)


def test_a_frame_that_cannot_be_written_to() -> None:
    frame = noise()
    frame.setflags(write=False)

    assert some(4).draw(frame).flags.writeable


def test_drawing_tints_the_mask_and_nothing_far_from_it() -> None:
    box = np.array([(60, 50, 110, 100)], np.float32)
    masks = crop_masks(np.ones((1, 28, 28), np.float32), box, SIZE_HW)
    one = some(1, boxes_xyxy=box, masks=masks, labels=np.array([2], np.int32))
    drawn = one.draw(np.full((*SIZE_HW, 3), 100, np.uint8))
    inside = drawn[75, 85].astype(int)
    wanted = 0.55 * 100 + 0.45 * np.array(color_from_number(2))
    assert np.abs(inside - wanted).max() <= 1
    assert (drawn[110:] == 100).all()
    assert (drawn[:, :40] == 100).all()


def test_the_tint_has_the_very_pixels_of_the_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeseg.vision.drawing.STRIP_BYTES", 7 * SIZE_HW[1] * 3)
    pixels = np.random.default_rng(2).random((40, 50)) < 0.5
    one = squares((70, 45, 120, 85), masks=(MaskCrop(pixels=pixels.astype(np.uint8), left=70, top=45),))

    drawn = draw_detections(one, black(), DrawStyle(labels=False, edges=False))

    tinted = np.asarray(drawn.any(-1))
    assert not (one.dense_masks()[0] & ~tinted).any()
    assert not tinted[:45].any()
    assert not tinted[85:].any()
    assert not tinted[:, :70].any()
    assert not tinted[:, 120:].any()


def test_a_hole_of_a_mask_stays_free() -> None:
    pixels = np.ones((60, 60), np.uint8)
    pixels[20:40, 20:40] = 0
    one = squares((30, 30, 90, 90), masks=(MaskCrop(pixels=pixels, left=30, top=30),))

    drawn = draw_detections(one, black(), PLAIN)

    assert not drawn[55:65, 55:65].any()
    assert drawn[35, 35].any()


def test_the_better_lies_on_top_and_colours_do_not_mix() -> None:
    two = squares((20, 20, 80, 80), (50, 50, 110, 110), labels=np.array([1, 2], np.int32))

    drawn = draw_detections(two, black(), DrawStyle(labels=False, edges=False))

    assert np.abs(drawn[65, 65] - 0.45 * np.array(color_from_number(1))).max() <= 1
    assert np.abs(drawn[100, 100] - 0.45 * np.array(color_from_number(2))).max() <= 1


def test_strips_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    found, frame = some(30), noise()
    whole = draw_detections(found, frame, PLAIN)

    monkeypatch.setattr("edgeseg.vision.drawing.STRIP_BYTES", 7 * frame[0].nbytes)

    assert np.array_equal(draw_detections(found, frame, PLAIN), whole)


def test_strips_of_trails_leave_no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(4).uniform(-20, 180, (5, 12, 2)).astype(np.float32)
    scene = Scene(trails=dict(enumerate(points, 1)))
    whole = draw_detections(some(0), black(), overlay=SceneOverlay(scene)).any(-1)

    monkeypatch.setattr("edgeseg.streaming.rendering.scene_overlay.STRIP_BYTES", 20 * 4 * SIZE_HW[1])
    strips = draw_detections(some(0), black(), overlay=SceneOverlay(scene)).any(-1)

    # OpenCV cuts lines at the border before it draws them, and they may lie some pixels beside then.
    for one, other in ((strips, whole), (whole, strips)):
        near = cv2.dilate(np.asarray(other, np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
        assert not (one & ~near).any()


@pytest.mark.parametrize(
    "size_hw", [(1, 1), (1, 50), (50, 1), (8, 8), (20, 2000), (1080, 1920), (4320, 7680)]
)
def test_drawing_on_frames_of_any_size(size_hw: tuple[int, int]) -> None:
    drawn = some(12, size_hw).draw(black(size_hw))
    assert drawn.shape == (*size_hw, 3)
    assert drawn.any()


def test_drawing_on_a_view() -> None:
    frame = noise()
    mirrored = frame[:, ::-1, ::-1]
    assert np.array_equal(some(5).draw(mirrored), some(5).draw(np.ascontiguousarray(mirrored)))


@pytest.mark.parametrize(
    ("size_hw", "named"),
    [((48, 48), False), ((480, 30), False), ((64, 64), True), ((480, 640), True), ((4320, 7680), True)],
)
def test_a_name_is_left_out_where_it_would_hide_the_frame(size_hw: tuple[int, int], named: bool) -> None:
    middle = (size_hw[1] // 2, size_hw[0] // 2)
    one = squares((*middle, middle[0] + 4, middle[1] + 4), masks=(NOTHING,), size_hw=size_hw)

    assert one.draw(black(size_hw)).any() == named


def test_a_name_grows_with_the_frame() -> None:
    heights = []
    for size_hw in ((480, 640), (1080, 1920), (4320, 7680)):
        one = squares((200, 200, 210, 210), masks=(NOTHING,), size_hw=size_hw)
        rows = one.draw(black(size_hw)).any((1, 2))
        heights.append(np.count_nonzero(rows))
    assert heights[0] < heights[1] < heights[2]
    assert heights[2] / heights[1] == pytest.approx(4, rel=0.15)


def test_two_of_one_place_are_both_named() -> None:
    two = squares(
        (50, 60, 90, 100), (50, 60, 90, 100), labels=np.array([1, 2], np.int32), masks=(NOTHING,) * 2
    )
    drawn = two.draw(black())

    for label in (1, 2):
        assert np.count_nonzero((drawn == color_from_number(label)).all(-1)) > 200


def test_the_best_choose_first() -> None:
    two = squares(
        (50, 60, 90, 100), (50, 60, 90, 100), labels=np.array([1, 2], np.int32), masks=(NOTHING,) * 2
    )
    alone = two[0].draw(black())
    drawn = two.draw(black())

    assert np.array_equal(drawn[alone.any(-1)], alone[alone.any(-1)])


def test_a_tracked_object_is_named_with_its_id() -> None:
    untracked = squares((50, 60, 90, 100), masks=(NOTHING,))
    known = squares((50, 60, 90, 100), masks=(NOTHING,), track_ids=tracks(12))
    unknown = squares((50, 60, 90, 100), masks=(NOTHING,), track_ids=tracks(0))

    assert np.array_equal(unknown.draw(black()), untracked.draw(black()))
    assert known.draw(black()).any(-1).sum() > untracked.draw(black()).any(-1).sum()


def test_a_class_name_of_any_sort_can_be_written() -> None:
    names = ("__background__", "", " \n\t", "螺栓", "a\nb", "x" * 500)
    boxes = [(10, 20 * row, 40, 20 * row + 10) for row in range(1, 6)]
    found = squares(*boxes, class_names=names, labels=np.arange(1, 6, dtype=np.int32))

    assert found.draw(black()).any()


def test_colour_by_id() -> None:
    found = squares(
        (10, 20, 40, 50), (50, 20, 80, 50), (90, 20, 120, 50), track_ids=tracks(7, 8, 0), masks=(NOTHING,) * 3
    )
    style = DrawStyle(color_by=ColorBy.ID, labels=False, boxes=True)

    drawn = draw_detections(found, black(), style)

    assert [tuple(drawn[20, column].tolist()) for column in (25, 65, 105)] == [
        color_from_number(7),
        color_from_number(8),
        NEUTRAL,
    ]


def test_colour_by_id_where_nothing_is_tracked() -> None:
    found = squares((10, 20, 40, 50), (50, 20, 80, 50))
    drawn = draw_detections(found, black(), DrawStyle(color_by=ColorBy.ID, labels=False, mask_opacity=1))

    assert not np.array_equal(drawn[35, 25], drawn[35, 65])


def test_a_style_that_draws_nothing() -> None:
    style = DrawStyle(mask_opacity=0, edges=False, labels=False, trails=False, scene=False)
    scene = Scene(
        trails={1: np.array([(0, 0), (90, 90)], np.float32)},
        lines=(LineCount(name="gate", start_xy=(0, 60), end_xy=(150, 60)),),
    )
    frame = noise()

    assert np.array_equal(draw_detections(some(5), frame, style, SceneOverlay(scene, style)), frame)


@pytest.mark.parametrize("opacity", [-0.1, 1.1, float("nan")])
def test_opacity_out_of_range(opacity: float) -> None:
    with pytest.raises(ConfigError, match=f"mask_opacity .* got {opacity}"):
        DrawStyle(mask_opacity=opacity)


def test_trails_fade() -> None:
    trail = np.stack((np.linspace(10, 150, 40), np.full(40, 60)), 1).astype(np.float32)
    found = squares((140, 50, 155, 70), track_ids=tracks(3))
    style = DrawStyle(color_by=ColorBy.ID, mask_opacity=0, edges=False, labels=False)

    drawn = (
        draw_detections(found, black(), style, SceneOverlay(Scene(trails={3: trail}), style))
        .astype(int)
        .sum(-1)[60]
    )

    assert drawn[:8].max() == 0
    brightness = drawn[[15, 50, 85, 120, 145]]
    assert (np.diff(brightness) > 0).all()
    assert brightness[-1] == pytest.approx(0.9 * sum(color_from_number(3)), abs=3)


@pytest.mark.parametrize(
    "trail",
    [[], [(5, 5)], [(5, 5), (5, 5)], [(-900, -900), (-800, -800)], [(-50, 60), (1e6, 60)]],
)
def test_trails_that_hardly_are_or_leave_the_frame(trail: list[tuple[float, float]]) -> None:
    scene = Scene(trails={3: np.array(trail, np.float32).reshape(-1, 2)})

    assert draw_detections(some(0), noise(), overlay=SceneOverlay(scene)).shape == (*SIZE_HW, 3)


def test_a_line_its_counts_and_the_way_that_is_forward() -> None:
    size_hw = (600, 800)

    def line(forward: int) -> np.ndarray:
        gate = LineCount(name="gate", start_xy=(100, 300), end_xy=(700, 300), forward=forward, backward=3)
        return draw_detections(some(0, size_hw), black(size_hw), overlay=SceneOverlay(Scene(lines=(gate,))))

    drawn = line(forward=12)

    assert (drawn[300, 110:390] > 200).all()
    # The arrow points to the right of the way from start to end: down.
    assert (drawn[303:306, 400] > 200).all()
    assert not np.array_equal(drawn, line(forward=13))


def test_a_zone_and_its_counts() -> None:
    size_hw = (600, 800)

    def zone(inside: int) -> np.ndarray:
        corners = ((100.0, 100.0), (500.0, 100.0), (500.0, 400.0), (100.0, 400.0))
        dock = ZoneCount(name="dock", corners_xy=corners, inside=inside, entered=9)
        return draw_detections(some(0, size_hw), black(size_hw), overlay=SceneOverlay(Scene(zones=(dock,))))

    drawn = zone(inside=2)

    assert (drawn[400, 120:480] > 200).all()
    assert not drawn[200:390, 150:450].any()
    assert not np.array_equal(drawn, zone(inside=3))


def test_a_line_without_length() -> None:
    scene = Scene(lines=(LineCount(name="", start_xy=(50, 50), end_xy=(50, 50)),))

    assert draw_detections(some(0), black(), overlay=SceneOverlay(scene)).any()


def test_a_crowd_of_real_objects() -> None:
    truth = json.loads(shared("data", "nuclei", "instances_test.json").read_text("utf-8"))
    counts: dict[int, int] = {}
    for row in truth["annotations"]:
        counts[row["image_id"]] = counts.get(row["image_id"], 0) + 1
    image_id = max(counts, key=lambda key: counts[key])
    image = next(image for image in truth["images"] if image["id"] == image_id)
    boxes = np.array([row["bbox"] for row in truth["annotations"] if row["image_id"] == image_id], np.float32)
    boxes[:, 2:] += boxes[:, :2]
    size_hw = (image["height"], image["width"])
    frame = np.asarray(cv2.imread(str(shared("data", "nuclei", "images") / image["file_name"])), np.uint8)
    count = len(boxes)
    found = Detections(
        boxes_xyxy=boxes,
        scores=np.linspace(1, 0.5, count, dtype=np.float32),
        labels=np.ones(count, np.int32),
        masks=crop_masks(np.ones((count, 28, 28), np.float32), boxes, size_hw),
        frame_size_hw=size_hw,
        class_names=("__background__", "nucleus"),
    )

    assert count > 300
    assert found.draw(frame).shape == frame.shape


def test_every_class_has_its_own_colour() -> None:
    assert len({color_from_number(label) for label in range(1, 91)}) == 90
    assert color_from_number(3) == color_from_number(3)
    assert all(0 <= channel <= 255 for number in range(-5, 300) for channel in color_from_number(number))
    assert len(set(COLORS_RGB)) == len(COLORS_RGB)
