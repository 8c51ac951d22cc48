from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from edgeseg.vision.masks import MaskCrop, dense_masks
from edgeseg.vision.rle import rle_from_crops

SIZE_HW = (12, 17)
# pycocotools' own code, where it decodes.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def crop(height: int, width: int, left: int, top: int, value: int = 1) -> MaskCrop:
    return MaskCrop(pixels=np.full((height, width), value, np.uint8), left=left, top=top)


def noise(rng: np.random.Generator, size_hw: tuple[int, int]) -> MaskCrop:
    """A random crop inside the frame; often as high as the frame, often dense or thin."""
    height, width = (int(rng.integers(1, side + 1)) if rng.random() < 0.7 else side for side in size_hw)
    top, left = (
        int(rng.integers(0, side - cut + 1)) for side, cut in zip(size_hw, (height, width), strict=True)
    )
    pixels = (rng.random((height, width)) < rng.choice((0.02, 0.5, 0.98))).astype(np.uint8)
    return MaskCrop(pixels=pixels, left=left, top=top)


def check(crops: list[MaskCrop], size_hw: tuple[int, int]) -> None:
    dense = dense_masks(crops, size_hw)
    for found, frame in zip(rle_from_crops(crops, size_hw), dense, strict=True):
        assert json.loads(json.dumps(found)) == found
        assert found["size"] == list(size_hw)
        assert np.array_equal(coco_mask.decode(found), frame)
        # The same text as the dense encoder's: only one encoding is canonical.
        wanted = coco_mask.encode(np.asfortranarray(frame.astype(np.uint8)))
        assert found["counts"] == wanted["counts"].decode()


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(crop(0, 0, 0, 0), id="empty crop"),
        pytest.param(crop(5, 6, 3, 2, value=0), id="nothing set"),
        pytest.param(crop(12, 17, 0, 0), id="full frame"),
        pytest.param(crop(12, 17, 0, 0, value=0), id="full frame with nothing set"),
        pytest.param(crop(12, 1, 0, 0), id="first column"),
        pytest.param(crop(12, 1, 16, 0), id="last column"),
        pytest.param(crop(12, 5, 6, 0), id="full-height columns"),
        pytest.param(crop(1, 17, 0, 0), id="first row"),
        pytest.param(crop(1, 17, 0, 11), id="last row"),
        pytest.param(crop(1, 1, 8, 5), id="single pixel"),
        pytest.param(crop(1, 1, 0, 0), id="first pixel"),
        pytest.param(crop(1, 1, 16, 11), id="last pixel"),
        pytest.param(crop(4, 5, 0, 3), id="left border"),
        pytest.param(crop(4, 5, 12, 3), id="right border"),
        pytest.param(crop(4, 5, 3, 0), id="upper border"),
        pytest.param(crop(4, 5, 3, 8), id="lower border"),
    ],
)
def test_decodes_to_the_dense_mask(one: MaskCrop) -> None:
    check([one], SIZE_HW)


def test_runs_that_go_on_in_the_next_column() -> None:
    pixels = np.zeros((12, 3), np.uint8)
    pixels[7:, 0] = 1
    pixels[:, 1] = 1
    pixels[:4, 2] = 1
    one = MaskCrop(pixels=pixels, left=4, top=0)
    check([one], SIZE_HW)
    assert coco_mask.area(rle_from_crops([one], SIZE_HW)).tolist() == [5 + 12 + 4]


def test_a_run_ends_where_its_column_of_a_lower_crop_ends() -> None:
    # Ends at the bottom of one column, starts at the top of the next: no gap, as the crop is full height.
    check([MaskCrop(pixels=np.array([[0, 1], [1, 0]], np.uint8), left=0, top=0)], (2, 2))
    check([MaskCrop(pixels=np.array([[0, 1], [1, 0]], np.uint8), left=0, top=1)], (3, 2))


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 40), (40, 1), (12, 17), (33, 65), (2, 2)])
def test_random_crops(size_hw: tuple[int, int]) -> None:
    rng = np.random.default_rng(21)
    check([noise(rng, size_hw) for _ in range(200)], size_hw)


def test_a_large_frame() -> None:
    rng = np.random.default_rng(22)
    check([noise(rng, (1080, 1920)) for _ in range(3)], (1080, 1920))


def test_no_crops() -> None:
    assert rle_from_crops([], SIZE_HW) == []


def test_a_pixel_more_changes_the_text() -> None:
    pixels = np.ones((4, 5), np.uint8)
    less = pixels.copy()
    less[2, 2] = 0
    whole, holed = rle_from_crops([MaskCrop(pixels=p, left=1, top=1) for p in (pixels, less)], SIZE_HW)
    assert whole["counts"] != holed["counts"]
