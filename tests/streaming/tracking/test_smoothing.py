"""Masks over time."""

from __future__ import annotations

import numpy as np
import pytest

from edgeseg.streaming.tracking.overlap import mask_iou
from edgeseg.streaming.tracking.smoothing import MaskObservation, blend, mask_from_soft_mask
from edgeseg.vision.masks import MaskCrop

from .scenes import Stage, disc, found, thing


def box_of(x: float, y: float, side: float = 60) -> np.ndarray:
    return np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], np.float32)


def sight(mask: MaskCrop, box: np.ndarray, step: int) -> MaskObservation:
    centre = (box[:2] + box[2:]) / 2
    size = box[2:] - box[:2]
    return MaskObservation(mask=mask, size_px=tuple(size), centre_xy=tuple(centre), time_s=step / 25)


def test_a_steady_object_stays_as_it_is() -> None:
    box = box_of(100, 100)
    soft = None
    for step in range(5):
        soft = blend(soft, sight(disc(box), box, step), 0.6)
    assert soft is not None
    assert mask_iou(mask_from_soft_mask(soft), disc(box)) == 1.0


@pytest.mark.parametrize("speed", [0, 3, 15, 59])
def test_trembling_shrinks_and_fast_objects_do_not_smear(speed: int) -> None:
    rng = np.random.default_rng(3)
    better = []
    for _ in range(8):
        soft = None
        for step in range(6 + 240 // max(speed, 8)):
            box = box_of(50 + speed * step, 100)
            shaken = box + rng.normal(0, 1.5, 4).astype(np.float32)
            soft = blend(soft, sight(disc(shaken), shaken, step), 0.7)
            if step > 3:
                better.append(
                    mask_iou(mask_from_soft_mask(soft), disc(box)) - mask_iou(disc(shaken), disc(box))
                )
    assert np.mean(better) > 0.005


def test_it_grows_with_its_box() -> None:
    soft = None
    for step, side in enumerate(range(40, 120, 4)):
        box = box_of(100, 100, side)
        soft = blend(soft, sight(disc(box), box, step), 0.6)
    assert soft is not None
    assert mask_iou(mask_from_soft_mask(soft), disc(box)) > 0.97


def test_a_turn_is_followed() -> None:
    soft = None
    for step in range(40):
        x = 60 + 6 * step if step < 20 else 300 - 6 * step
        box = box_of(x, 100)
        soft = blend(soft, sight(disc(box), box, step), 0.6)
        assert mask_iou(mask_from_soft_mask(soft), disc(box)) > 0.7
    assert soft is not None
    assert mask_iou(mask_from_soft_mask(soft), disc(box)) > 0.95


def test_another_shape_starts_afresh() -> None:
    box = box_of(100, 100)
    soft = blend(None, sight(disc(box), box, 0), 0.9)
    half = MaskCrop(pixels=np.ones((60, 20), np.uint8), left=70, top=70)
    assert mask_iou(mask_from_soft_mask(blend(soft, sight(half, box, 1), 0.9)), half) == 1.0


def test_empty_masks_pass() -> None:
    box = box_of(100, 100)
    empty = MaskCrop(pixels=np.zeros((0, 0), np.uint8), left=0, top=0)
    soft = blend(blend(None, sight(disc(box), box, 0), 0.5), sight(empty, box, 1), 0.5)
    assert mask_from_soft_mask(soft).pixels.size == 0
    assert mask_iou(mask_from_soft_mask(blend(soft, sight(disc(box), box, 2), 0.5)), disc(box)) == 1.0


def test_it_is_off_unless_asked_for() -> None:
    pytest.importorskip("trackers")
    plain, smooth = Stage(), Stage(smooth_masks=0.9)
    for side in (60, 60, 60, 60, 66):
        seen = [stage.show(thing(100, 100, side=side))[0].masks[0] for stage in (plain, smooth)]
    assert np.array_equal(seen[0].pixels, disc(box_of(100, 100, 66)).pixels)
    assert seen[0].pixels.shape == seen[1].pixels.shape


def test_the_tracker_gives_smoothed_masks() -> None:
    pytest.importorskip("trackers")
    rng = np.random.default_rng(0)
    stage = Stage(smooth_masks=0.7)
    changed = []
    for _ in range(20):
        side = float(60 + rng.normal(0, 2))
        shown, _ = stage.show(thing(100, 100, side=side))
        wanted = found(thing(100, 100, side=side)).masks[0].pixels
        assert shown.masks[0].pixels.shape == wanted.shape
        changed.append(not np.array_equal(shown.masks[0].pixels, wanted))
    assert sum(changed) > 5


def test_masks_at_the_edge_of_the_frame_stay_as_found() -> None:
    pytest.importorskip("trackers")
    stage = Stage(smooth_masks=0.7)
    for side in (60, 62, 58, 61, 59):
        shown, _ = stage.show(thing(20, 100, side=side))
        wanted = found(thing(20, 100, side=side)).masks[0].pixels
        assert np.array_equal(shown.masks[0].pixels, wanted)
