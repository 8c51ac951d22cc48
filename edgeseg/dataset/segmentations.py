"""Checking COCO's three kinds of segmentation, and converting them to one: compressed run lengths (RLE).

pycocotools computes on segmentations in C without checks: a broken one would crash it, or silently give wrong
scores.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeseg.errors import InputError

# The x and y of a triangle.
MIN_COORDINATES = 6
# pycocotools follows outlines in steps of a fifth of a pixel; one far outside the image would fill memory.
MAX_COORDINATE_PX = 1e5
# The steps of an outline of this length take 80 MB. Even a coastline across 100 megapixels is shorter.
MAX_OUTLINE_PX = 1 << 20
# No run length of a picture has more bits.
MAX_RUN_BITS = 60


def rle_from_segmentation(segmentation: Any, size_hw: tuple[int, int]) -> dict[str, Any]:
    """Convert the segmentation of an annotation to compressed RLE.

    Args:
        segmentation: Polygons, or RLE with `counts` as a list or as compressed text.
        size_hw: Height and width of the image, in pixels.

    Returns:
        `{"size": [H, W], "counts": str}`.

    Raises:
        InputError: The segmentation is missing, of another kind or size, or its runs do not fill the image.

    Example:
        >>> rle_from_segmentation({"size": [3, 5], "counts": [3, 2, 1, 2, 1, 2, 4]}, (3, 5))
        {'size': [3, 5], 'counts': '3210003'}
    """
    if isinstance(segmentation, list) and segmentation:
        return _rle_from_polygons(segmentation, size_hw)
    if isinstance(segmentation, dict):
        return _checked_rle(segmentation, size_hw)
    msg = "it must have a segmentation of polygons or RLE, got " + (
        "none" if not segmentation else type(segmentation).__name__
    )
    raise InputError(msg)


def _rle_from_polygons(polygons: list[Any], size_hw: tuple[int, int]) -> dict[str, Any]:
    from pycocotools import mask as coco_mask

    for polygon in polygons:
        _check_polygon(polygon)
    merged = coco_mask.merge(coco_mask.frPyObjects(polygons, *size_hw))
    return {"size": list(size_hw), "counts": merged["counts"].decode("ascii")}


def _check_polygon(polygon: Any) -> None:
    try:
        points = np.asarray(polygon, np.float64)
    except (TypeError, ValueError) as exc:
        msg = "a polygon must be a list of numbers x1, y1, x2, y2, ..."
        raise InputError(msg) from exc
    if points.ndim != 1 or points.size < MIN_COORDINATES or points.size % 2:
        msg = f"a polygon must be {MIN_COORDINATES} or more numbers in pairs x, y, got {points.size}"
        raise InputError(msg)
    if not (np.abs(points) <= MAX_COORDINATE_PX).all():
        outside = points[~(np.abs(points) <= MAX_COORDINATE_PX)]
        msg = f"a polygon must be of pixels of the image, got {outside[0]}"
        raise InputError(msg)
    corners = points.reshape(-1, 2)
    length = np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1).sum()
    if length > MAX_OUTLINE_PX:
        msg = f"the outline of a polygon must be {MAX_OUTLINE_PX} pixels long at most, got {length:.0f}"
        raise InputError(msg)


def _checked_rle(rle: dict[str, Any], size_hw: tuple[int, int]) -> dict[str, Any]:
    size, counts = rle.get("size"), rle.get("counts")
    if size != list(size_hw):
        msg = f"its RLE must be of the image's size {list(size_hw)} (height, width), got {size}"
        raise InputError(msg)
    runs = runs_from_text(counts) if isinstance(counts, str) else _runs_from_list(counts)
    if min(runs, default=0) < 0 or sum(runs) != size_hw[0] * size_hw[1]:
        msg = f"the runs of its RLE must add up to {size_hw[0] * size_hw[1]} pixels, got {sum(runs)}"
        raise InputError(msg)
    if isinstance(counts, str):
        return {"size": size, "counts": counts}
    from pycocotools import mask as coco_mask

    encoded = coco_mask.frPyObjects({"size": size, "counts": counts}, *size_hw)
    return {"size": size, "counts": encoded["counts"].decode("ascii")}


def _runs_from_list(counts: Any) -> list[int]:
    if isinstance(counts, list) and counts and all(type(run) is int for run in counts):
        return counts
    msg = f"the counts of its RLE must be text or a list of whole numbers, got {type(counts).__name__}"
    raise InputError(msg)


def runs_from_text(counts: str) -> list[int]:
    """Decode the text of COCO's compressed RLE.

    Each character holds five bits, the lowest first. From the fourth run on, the difference to the run two
    before is stored.

    Returns:
        Lengths of alternating runs of 0 and 1, down the columns of the image.

    Raises:
        InputError: The text is not compressed RLE, or it is truncated.

    Source:
        pycocotools 2.0.11, `rleFrString` in `maskApi.c`.

    Example:
        >>> runs_from_text("3210003")
        [3, 2, 1, 2, 1, 2, 4]
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        code = ord(character) - 48
        if not 0 <= code < 64:
            msg = f"the counts of its RLE hold {character!r}, which is no part of the encoding"
            raise InputError(msg)
        value |= (code & 0x1F) << shift
        shift += 5
        if shift > MAX_RUN_BITS:
            msg = "the counts of its RLE hold a run that no picture has"
            raise InputError(msg)
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        msg = "the counts of its RLE are truncated"
        raise InputError(msg)
    return runs
