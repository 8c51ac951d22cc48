from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from edgeseg.dataset.segmentations import rle_from_segmentation
from edgeseg.errors import InputError

if TYPE_CHECKING:
    from typing import Any

SIZE_HW = (6, 8)


def encoded(mask: np.ndarray) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode()}


def runs_of(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of 0 and 1 down the columns, 0 first."""
    pixels = mask.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(pixels, prepend=0))
    return [int(length) for length in np.diff([0, *edges, len(pixels)])]


@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("size_hw", [(6, 8), (1, 1), (301, 77)])
def test_rle_of_any_mask_passes_unchanged_and_its_runs_become_the_same(
    size_hw: tuple[int, int], density: float
) -> None:
    mask = np.random.default_rng(1).random(size_hw) < density
    rle = encoded(mask)

    assert rle_from_segmentation(rle, size_hw) == rle
    assert rle_from_segmentation({"size": list(size_hw), "counts": runs_of(mask)}, size_hw) == rle


def test_polygons_are_merged() -> None:
    square = [1, 1, 4, 1, 4, 4, 1, 4]
    other = [5.0, 1.0, 7.0, 1.0, 7.0, 4.0, 5.0, 4.0]

    assert coco_mask.area(rle_from_segmentation([square], SIZE_HW)) == 9
    assert coco_mask.area(rle_from_segmentation([square, other], SIZE_HW)) == 15


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        (None, "must have a segmentation of polygons or RLE, got none"),
        ([], "got none"),
        ("1 2 3", "got str"),
        ([1, 2, 3, 4, 5, 6], "6 or more numbers in pairs x, y, got 1"),
        ([[1, 2, 3, 4]], "got 4"),
        ([[1, 2, 3, 4, 5, 6, 7]], "got 7"),
        ([[1, 2, 3, 4, 5, "six"]], "must be a list of numbers"),
        ([[1, 2, 3, 4, 5, [6]]], "must be a list of numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "of pixels of the image, got nan"),
        ([[1, 2, 3, 4, 5, 1e9]], "got 1000000000.0"),
        ({"size": [8, 6], "counts": [48]}, r"of the image's size \[6, 8\] \(height, width\), got \[8, 6\]"),
        ({"counts": [48]}, "got None"),
        ({"size": [6, 8]}, "text or a list of whole numbers, got NoneType"),
        ({"size": [6, 8], "counts": []}, "whole numbers, got list"),
        ({"size": [6, 8], "counts": [47.5]}, "whole numbers, got list"),
        ({"size": [6, 8], "counts": [47]}, "add up to 48 pixels, got 47"),
        ({"size": [6, 8], "counts": [50, -2]}, "add up to 48 pixels"),
        ({"size": [6, 8], "counts": "é"}, "hold 'é', which is no part"),
        ({"size": [6, 8], "counts": "P"}, "are truncated"),
        ({"size": [6, 8], "counts": "5"}, "add up to 48 pixels, got 5"),
    ],
)
def test_a_broken_one_is_refused(segmentation: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        rle_from_segmentation(segmentation, SIZE_HW)


def test_every_truncation_of_a_text_is_noticed() -> None:
    rle = encoded(np.random.default_rng(2).random((40, 50)) < 0.3)
    for end in range(len(rle["counts"])):
        with pytest.raises(InputError, match=r"truncated|add up"):
            rle_from_segmentation({**rle, "counts": rle["counts"][:end]}, (40, 50))


def test_an_outline_that_would_fill_the_memory_is_refused() -> None:
    there_and_back = [0.0, 0.0, 9e4, 0.0] * 50

    with pytest.raises(InputError, match="must be 1048576 pixels long at most, got 9000000"):
        rle_from_segmentation([there_and_back], (100, 100))


def test_a_run_of_endless_digits_is_refused() -> None:
    with pytest.raises(InputError, match="a run that no picture has"):
        rle_from_segmentation({"size": [4, 4], "counts": "o" * 1_000_000}, (4, 4))
