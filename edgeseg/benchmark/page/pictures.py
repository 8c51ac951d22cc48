"""The same images as every row sees them, small enough for a page."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edgeseg.benchmark.row import RowState
from edgeseg.errors import ArtifactError, InputError
from edgeseg.runtime.detections import Detections
from edgeseg.runtime.drawing import draw_detections
from edgeseg.runtime.images import read_image
from edgeseg.runtime.masks import MaskCrop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgeseg.benchmark.report import BenchmarkReport, ShownImage
    from edgeseg.benchmark.row import Row

MOST_IMAGES = 4
# All pictures together, before base64 makes them a third larger: the page stays below 2 MB.
BUDGET_BYTES = 1_250_000
# Longer side in pixels and JPEG quality, the best first; the first that fits is taken.
STEPS = ((640, 85), (560, 80), (480, 78), (400, 75), (320, 72), (240, 68), (180, 60), (120, 50))
CLASSES_NAMED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image with what one row found.

    Attributes:
        row: Of the report.
        uri: The JPEG itself, as `data:`.
        size_hw: Of the JPEG, in pixels.
        found: How many instances above a score of 0.5.
        text: What they are, in words.
    """

    row: Row
    uri: str
    size_hw: tuple[int, int]
    found: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """One image in all rows; `pictures` is empty where the image is no longer there."""

    image: ShownImage
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class _Drawn:
    row: Row
    detections: Detections


def read_images(report: BenchmarkReport) -> dict[str, NDArray[np.uint8]]:
    """Read the images that a report shows from where it read them.

    Returns:
        Name to `uint8[H, W, 3]` BGR; without those that are gone or cannot be read.
    """
    from pathlib import Path

    images = {}
    for image in report.images[:MOST_IMAGES]:
        try:
            images[image.name] = read_image(Path(image.path))
        except InputError:
            continue
    return images


def galleries(report: BenchmarkReport, images: Mapping[str, NDArray[np.uint8]]) -> tuple[Gallery, ...]:
    """Draw the report's images as every row that ran sees them.

    Args:
        report: With `images` and the rows' `detections`; the first four images are shown.
        images: Name to `uint8[H, W, 3]` BGR, of the size that the report says.

    Raises:
        InputError: An image is of another size than its detections.
        ArtifactError: A row's detections are none of this model.
    """
    shown = report.images[:MOST_IMAGES]
    found = {
        image.image_id: [
            _Drawn(row, _detections(row, image, report.class_names)) for row in report.rows if _has_seen(row)
        ]
        for image in shown
        if image.name in images
    }
    for image in shown:
        if image.name in images:
            _check_size(image, images[image.name])
    for longer_px, quality in STEPS:
        drawn = tuple(
            Gallery(
                image=image,
                pictures=tuple(
                    _picture(item, image, images[image.name], (longer_px, quality))
                    for item in found.get(image.image_id, ())
                ),
            )
            for image in shown
        )
        if sum(len(picture.uri) for gallery in drawn for picture in gallery.pictures) <= BUDGET_BYTES * 4 / 3:
            break
    return drawn


def _has_seen(row: Row) -> bool:
    """Tell whether a row came as far as the images: one that broke and found nothing may not have."""
    return row.state is RowState.OK or bool(row.detections)


def _check_size(image: ShownImage, pixels: NDArray[np.uint8]) -> None:
    if pixels.shape[:2] != tuple(image.size_hw):
        msg = (
            f"{image.name} must be {image.size_hw[0]}x{image.size_hw[1]} (height x width) as when it was "
            f"measured, got {pixels.shape[0]}x{pixels.shape[1]}; run `edgeseg benchmark` again"
        )
        raise InputError(msg)


def _detections(row: Row, image: ShownImage, class_names: Sequence[str]) -> Detections:
    """Turn COCO results back into detections."""
    from pycocotools import mask as coco_mask

    mine = [item for item in row.detections if item["image_id"] == image.image_id]
    boxes = np.array([item["bbox"] for item in mine], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    try:
        return Detections(
            boxes_xyxy=boxes,
            scores=np.array([item["score"] for item in mine], np.float32),
            labels=np.array([item["category_id"] for item in mine], np.int32),
            masks=tuple(
                MaskCrop(pixels=np.asarray(coco_mask.decode(item["segmentation"]), np.uint8), left=0, top=0)
                for item in mine
            ),
            frame_size_hw=(image.size_hw[0], image.size_hw[1]),
            class_names=tuple(class_names),
        )
    except InputError as exc:
        msg = f"the detections of {row.name} are none of this model: {exc}; run `edgeseg benchmark` again"
        raise ArtifactError(msg) from exc


def _picture(drawn: _Drawn, image: ShownImage, pixels: NDArray[np.uint8], step: tuple[int, int]) -> Picture:
    longer_px, quality = step
    factor = min(longer_px / max(image.size_hw), 1.0)
    # Names and outlines are drawn in the small picture: drawn in the large one they would shrink with it.
    small = _scaled(pixels, factor)
    size_hw = (small.shape[0], small.shape[1])
    canvas = draw_detections(_shrunk(drawn.detections, size_hw), small)
    data: Any = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return Picture(
        row=drawn.row,
        uri="data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii"),
        size_hw=size_hw,
        found=len(drawn.detections),
        text=_in_words(drawn.detections),
    )


def _scaled(pixels: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    height, width = (max(1, round(side * factor)) for side in pixels.shape[:2])
    scaled = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(scaled, np.uint8)


def _shrunk(detections: Detections, size_hw: tuple[int, int]) -> Detections:
    factors = np.array([size_hw[1], size_hw[0]] * 2) / np.array([*detections.frame_size_hw[::-1]] * 2)
    return Detections(
        boxes_xyxy=(detections.boxes_xyxy * factors).astype(np.float32),
        scores=detections.scores,
        labels=detections.labels,
        masks=tuple(
            MaskCrop(
                pixels=np.asarray(
                    cv2.resize(mask.pixels, size_hw[::-1], interpolation=cv2.INTER_AREA), np.uint8
                ),
                left=0,
                top=0,
            )
            for mask in detections.masks
        ),
        frame_size_hw=size_hw,
        class_names=detections.class_names,
    )


def _in_words(detections: Detections) -> str:
    counts = Counter(detections.names).most_common()
    named = [f"{count} {name}" for name, count in counts[:CLASSES_NAMED]]
    rest = sum(count for _, count in counts[CLASSES_NAMED:])
    return ", ".join([*named, f"{rest} others"] if rest else named) or "nothing found"
