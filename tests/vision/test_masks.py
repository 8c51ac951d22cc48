from __future__ import annotations

import numpy as np
import pytest

from edgeseg.errors import InputError
from edgeseg.vision.masks import MaskCrop, crop_masks, dense_masks, paste_masks

SIDE = 28


def blobs(rng: np.random.Generator, count: int, side: int = SIDE) -> np.ndarray:
    """Smooth probabilities as a mask head gives them: ellipses with soft edges, many cut by the box."""
    axis = (np.arange(side) + 0.5) / side
    centre = rng.uniform(0.3, 0.7, (count, 2, 1, 1))
    radius = rng.uniform(0.15, 0.6, (count, 2, 1, 1))
    away = ((axis - centre[:, 0]) / radius[:, 0]) ** 2 + ((axis[:, None] - centre[:, 1]) / radius[:, 1]) ** 2
    return (1 / (1 + np.exp(6 * (away - 1)))).astype(np.float32)


def boxes_in(rng: np.random.Generator, count: int, size_hw: tuple[int, int], spill: float) -> np.ndarray:
    """Boxes of 3 pixels to the whole frame; with `spill`, partly outside."""
    height, width = size_hw
    sides = np.exp(rng.uniform(np.log(3), np.log((width, height)), (count, 2)))
    low = np.array((-spill * width, -spill * height))
    corners = low + rng.uniform(0, 1, (count, 2)) * (np.array((width, height)) * (1 + 2 * spill) - sides)
    # torchvision cannot paste a box that lies outside altogether.
    corners = np.minimum(np.maximum(corners, 2 - sides), np.array((width, height)) - 2)
    return np.concatenate((corners, corners + sides), 1).astype(np.float32)


def torchvision_masks(masks: np.ndarray, boxes: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    torch = pytest.importorskip("torch")
    roi_heads = pytest.importorskip("torchvision.models.detection.roi_heads")
    pasted = roi_heads.paste_masks_in_image(
        torch.from_numpy(masks[:, None]), torch.from_numpy(boxes), size_hw
    )
    return np.asarray(pasted[:, 0].numpy() >= 0.5)


def ious(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    both, either = (a & b).sum((1, 2)), (a | b).sum((1, 2))
    return np.where(either, both / np.maximum(either, 1), 1.0)


@pytest.mark.parametrize("size_hw", [(480, 640), (301, 217), (64, 64)])
@pytest.mark.parametrize("spill", [0.0, 0.2])
def test_agrees_with_torchvision(size_hw: tuple[int, int], spill: float) -> None:
    rng = np.random.default_rng(11)
    masks, boxes = blobs(rng, 80), boxes_in(rng, 80, size_hw, spill)
    found, wanted = paste_masks(masks, boxes, size_hw), torchvision_masks(masks, boxes, size_hw)
    assert found.dtype == np.bool_
    assert found.shape == (80, *size_hw)
    assert wanted.any((1, 2)).sum() > 60
    assert ious(found, wanted).min() >= 0.99


def test_a_mask_shifted_by_a_pixel_does_not_agree() -> None:
    rng = np.random.default_rng(11)
    masks, boxes = blobs(rng, 80), boxes_in(rng, 80, (301, 217), 0.0)
    shifted = paste_masks(masks, boxes + 1, (301, 217))
    assert ious(shifted, torchvision_masks(masks, boxes, (301, 217))).min() < 0.9


@pytest.mark.parametrize("side", [14, 28, 56])
def test_masks_of_any_side(side: int) -> None:
    rng = np.random.default_rng(12)
    masks, boxes = blobs(rng, 20, side), boxes_in(rng, 20, (200, 300), 0.1)
    found, wanted = paste_masks(masks, boxes, (200, 300)), torchvision_masks(masks, boxes, (200, 300))
    assert ious(found, wanted).min() >= 0.99


def test_tiny_boxes() -> None:
    rng = np.random.default_rng(13)
    masks = blobs(rng, 60)
    corners = rng.uniform(0, 40, (60, 2))
    boxes = np.concatenate((corners, corners + rng.uniform(0, 2.5, (60, 2))), 1).astype(np.float32)
    found, wanted = paste_masks(masks, boxes, (40, 40)), torchvision_masks(masks, boxes, (40, 40))
    assert np.array_equal(found, wanted)


def test_boxes_at_and_across_each_border() -> None:
    boxes = np.array(
        [
            (0, 10, 30, 40),
            (70, 10, 100, 40),
            (10, 0, 40, 30),
            (10, 50, 40, 80),
            (-15, 10, 15, 40),
            (85, 10, 115, 40),
            (10, -15, 40, 15),
            (10, 65, 40, 95),
            (-20, -20, 120, 100),
            (0, 0, 100, 80),
        ],
        np.float32,
    )
    masks = blobs(np.random.default_rng(14), len(boxes))
    found, wanted = paste_masks(masks, boxes, (80, 100)), torchvision_masks(masks, boxes, (80, 100))
    assert ious(found, wanted).min() >= 0.99


def test_boxes_without_area() -> None:
    masks = np.ones((3, SIDE, SIDE), np.float32)
    boxes = np.array([(5, 5, 5, 5), (5, 5, 5, 25), (5, 5, 25, 5)], np.float32)
    found, wanted = paste_masks(masks, boxes, (30, 30)), torchvision_masks(masks, boxes, (30, 30))
    assert np.array_equal(found, wanted)


def test_no_masks() -> None:
    masks, boxes = np.zeros((0, SIDE, SIDE), np.float32), np.zeros((0, 4), np.float32)
    assert crop_masks(masks, boxes, (48, 64)) == ()
    assert paste_masks(masks, boxes, (48, 64)).shape == (0, 48, 64)


@pytest.mark.parametrize(
    "box",
    [(-50, 10, -20, 40), (200, 10, 230, 40), (10, -50, 40, -20), (10, 200, 40, 230), (1e6, 1e6, 1e6, 1e6)],
)
def test_a_box_outside_the_frame(box: tuple[float, ...]) -> None:
    masks = np.ones((1, SIDE, SIDE), np.float32)
    (crop,) = crop_masks(masks, np.array([box], np.float32), (64, 64))
    assert crop.pixels.size == 0
    assert not dense_masks([crop], (64, 64)).any()


@pytest.mark.parametrize("box", [(0, 0, 65500, 20), (0, 0, 20, 65500)])
def test_a_frame_of_65500_by_20(box: tuple[float, ...]) -> None:
    size_hw = (int(box[3]), int(box[2]))
    masks = np.ones((1, SIDE, SIDE), np.float32)
    (found,) = paste_masks(masks, np.array([box], np.float32), size_hw)
    assert found.mean() >= 0.95


def test_a_crop_is_no_larger_than_its_box() -> None:
    masks = np.ones((1, SIDE, SIDE), np.float32)
    (crop,) = crop_masks(masks, np.array([(100, 50, 140, 90)], np.float32), (1080, 1920))
    assert max(crop.pixels.shape) <= 40 * 30 / 28 + 2
    assert crop.pixels.dtype == np.uint8
    assert set(np.unique(crop.pixels)) <= {0, 1}


def test_a_probability_of_one_half_is_inside() -> None:
    box = np.array([(10, 10, 50, 50)], np.float32)
    for value, inside in ((0.5, True), (0.499, False)):
        found = paste_masks(np.full((1, SIDE, SIDE), value, np.float32), box, (60, 60))
        assert found[0, 30, 30] == inside


def test_dense_masks_are_the_crops_in_place() -> None:
    rng = np.random.default_rng(15)
    crops = crop_masks(blobs(rng, 30), boxes_in(rng, 30, (90, 70), 0.3), (90, 70))
    for crop, frame in zip(crops, dense_masks(crops, (90, 70)), strict=True):
        height, width = crop.pixels.shape
        place = np.s_[crop.top : crop.top + height, crop.left : crop.left + width]
        assert np.array_equal(frame[place], crop.pixels)
        assert frame.sum() == crop.pixels.sum()


def test_the_masks_given_are_left_alone() -> None:
    masks = blobs(np.random.default_rng(16), 3)
    boxes = np.array([(1, 2, 30, 40)] * 3, np.float32)
    before = masks.copy()
    crops = crop_masks(masks, boxes, (50, 50))
    crops[0].pixels[:] = 1
    assert np.array_equal(masks, before)


def test_unequal_numbers() -> None:
    with pytest.raises(InputError, match="got 3 masks and 2 boxes"):
        crop_masks(np.zeros((3, SIDE, SIDE), np.float32), np.zeros((2, 4), np.float32), (64, 64))


def test_no_crops_give_no_frames() -> None:
    assert dense_masks([], (7, 9)).shape == (0, 7, 9)
    assert dense_masks([MaskCrop(pixels=np.ones((2, 3), np.uint8), left=6, top=5)], (7, 9)).sum() == 6
