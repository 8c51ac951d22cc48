"""Reading COCO annotation files strictly, so that detections are scored against exactly what a file says."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeseg.errors import InputError
from edgeseg.files.reading import read_failure, read_regular
from edgeseg.vision.images.limits import check_image_size

from .categories import Categories, read_categories, read_whole_number
from .segmentations import rle_from_segmentation

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SECTIONS = ("images", "annotations", "categories")
# An image with a longer side is a mistake in the file.
MAX_SIDE_PX = 100_000

# COCO's own annotation files of 2017 have 0.5 GB.
MAX_FILE_BYTES = 2 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedImage:
    """An image as an annotation file describes it; `size_hw` is its height and width in pixels."""

    image_id: int
    file_name: str
    size_hw: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotations:
    """The content of a COCO annotation file.

    Attributes:
        source: Name of the file, for messages.
        images: All images, by ascending id.
        categories: All categories, and which of them the instances use.
        instances: All instances in COCO's format, each with `id`, `image_id`, `category_id`, `bbox` (xywh),
            `area`, `iscrowd` and `segmentation`, which is compressed RLE.
    """

    source: str
    images: tuple[AnnotatedImage, ...]
    categories: Categories
    instances: tuple[dict[str, Any], ...]

    def truth(self, image_ids: Iterable[int]) -> dict[str, Any]:
        """Select the images with these ids and their instances, as a COCO dataset."""
        requirement = set(image_ids)
        return {
            "images": [
                {
                    "id": image.image_id,
                    "file_name": image.file_name,
                    "height": image.size_hw[0],
                    "width": image.size_hw[1],
                }
                for image in self.images
                if image.image_id in requirement
            ],
            "annotations": [item for item in self.instances if item["image_id"] in requirement],
            "categories": [{"id": key, "name": name} for key, name in self.categories.names.items()],
        }


def read_annotations(path: Path) -> Annotations:
    """Read a COCO annotation file.

    Raises:
        InputError: The file is missing, empty, truncated or no COCO instances file, or an entry is invalid.

    Example:
        >>> from pathlib import Path
        >>> annotations = read_annotations(Path("annotations.json"))
        >>> [image.file_name for image in annotations.images], len(annotations.instances)
        (['parts.png'], 1)
        >>> annotations.categories.names
        {1: 'bolt', 2: 'nut', 3: 'washer'}
    """
    content = _content(path)
    categories = read_categories(content["categories"], content["annotations"], str(path))
    images: dict[int, AnnotatedImage] = {}
    for item in content["images"]:
        image = _image(item, path)
        if image.image_id in images:
            msg = f"{path}: ids of images must differ, {image.image_id} is there twice"
            raise InputError(msg)
        images[image.image_id] = image
    instances = (_instance(item, images, path) for item in content["annotations"])
    return Annotations(
        source=str(path),
        images=tuple(images[key] for key in sorted(images)),
        categories=categories,
        instances=tuple(instances),
    )


def _content(path: Path) -> dict[str, list[Any]]:
    try:
        text = read_regular(path, max_bytes=MAX_FILE_BYTES).decode("utf-8-sig")
    except FileNotFoundError as exc:
        msg = f"no annotations at {path}"
        raise InputError(msg) from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(read_failure(f"annotations from {path}", exc)) from exc
    if not text.strip():
        msg = f"annotations {path} are empty ({path.stat().st_size} bytes); copy the file again"
        raise InputError(msg)
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError) as exc:
        msg = f"annotations {path} are truncated or not JSON: {exc}"
        raise InputError(msg) from exc
    _check_sections(content, path)
    return dict(content)


def _check_sections(content: Any, path: Path) -> None:
    requirement = "annotations must be a COCO object with lists of images, annotations and categories"
    if not isinstance(content, dict):
        results = "; a list is what COCO results are" if isinstance(content, list) else ""
        msg = f"{requirement}, {path} holds a {type(content).__name__}{results}"
        raise InputError(msg)
    if missing := [name for name in SECTIONS if not isinstance(content.get(name), list)]:
        msg = f"{requirement}, {path} has no {missing[0]}"
        raise InputError(msg)
    if empty := [name for name in SECTIONS if not content[name]]:
        msg = f"{path} must have at least one of {', '.join(SECTIONS)} each; its list of {empty[0]} is empty"
        raise InputError(msg)
    for name in SECTIONS:
        if wrong := [item for item in content[name] if not isinstance(item, dict)]:
            msg = f"{path}: {name} must be a list of objects, got {wrong[0]!r}"
            raise InputError(msg)


def _image(item: dict[str, Any], path: Path) -> AnnotatedImage:
    image_id = read_whole_number(item, "id", f"{path}: an image")
    where = f"{path}: image {image_id}"
    size_hw = (read_whole_number(item, "height", where), read_whole_number(item, "width", where))
    if not all(0 < side <= MAX_SIDE_PX for side in size_hw):
        msg = f"{where}: height and width must be 1 to {MAX_SIDE_PX}, got {size_hw[0]} and {size_hw[1]}"
        raise InputError(msg)
    check_image_size(size_hw, where)
    return AnnotatedImage(image_id=image_id, file_name=_text(item, "file_name", where), size_hw=size_hw)


def _instance(item: dict[str, Any], images: dict[int, AnnotatedImage], path: Path) -> dict[str, Any]:
    where = f"{path}: annotation {item.get('id')}"
    image_id, category_id = (
        read_whole_number(item, "image_id", where),
        read_whole_number(item, "category_id", where),
    )
    if image_id not in images:
        msg = f"{where} is of image {image_id}, which the file does not describe"
        raise InputError(msg)
    try:
        rle = rle_from_segmentation(item.get("segmentation"), images[image_id].size_hw)
    except InputError as exc:
        msg = f"{where}: {exc}"
        raise InputError(msg) from exc
    bbox = _bbox(item.get("bbox"), rle, where)
    return {
        "id": item.get("id"),
        "image_id": image_id,
        "category_id": category_id,
        "bbox": bbox,
        "area": bbox[2] * bbox[3],
        "segmentation": rle,
        "iscrowd": int(bool(item.get("iscrowd"))),
    }


def _bbox(bbox: Any, rle: dict[str, Any], where: str) -> list[float]:
    if bbox is None:
        from pycocotools import mask as coco_mask

        return [float(value) for value in coco_mask.toBbox(rle)]
    if (
        not isinstance(bbox, list)
        or len(bbox) != 4
        or not all(type(value) in (int, float) and math.isfinite(value) for value in bbox)
        or min(bbox[2:]) < 0
    ):
        msg = f"{where}: bbox must be x, y, width and height in pixels, got {bbox}"
        raise InputError(msg)
    return [float(value) for value in bbox]


def _text(item: dict[str, Any], name: str, where: str) -> str:
    value = item.get(name)
    if isinstance(value, str) and value.strip():
        return value
    msg = f"{where}: {name} must be a text, got {value!r}"
    raise InputError(msg)
