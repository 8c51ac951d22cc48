"""The same images as every row sees them, small enough for a page."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edgeseg.benchmark.report import ShownImage
from edgeseg.benchmark.row import Row, RowState
from edgeseg.errors import InputError
from edgeseg.vision.drawing import DrawStyle, draw_detections
from edgeseg.vision.images.reader import read_image

from .decoded_results import detections_from_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgeseg.benchmark.report import BenchmarkReport
    from edgeseg.vision.detections import Detections

MAX_IMAGES = 4
# All pictures together, as they stand in the page, which stays below 2 MB.
BUDGET_BYTES = 1_600_000
# Longer side in pixels and JPEG quality, the best first; the first that fits is taken.
ENCODINGS = ((640, 82), (560, 80), (480, 78), (400, 75), (320, 72), (240, 68), (180, 60), (120, 50))
CLASSES_NAMED = 4
# More names than this hide what they name.
MOST_NAMED = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedImage:
    """An image with what one row found.

    Attributes:
        uri: The JPEG itself, as `data:`.
        size_hw: Height and width of the JPEG, in pixels.
        found: Number of instances with a score above 0.5.
        text: What they are, in words.
    """

    row: Row
    uri: str
    size_hw: tuple[int, int]
    found: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """One image in all rows.

    Attributes:
        readable: Whether the image was given.
        pictures: In the order of the report; none if the image was not given or no row has come to it.
    """

    image: ShownImage
    readable: bool
    pictures: tuple[RenderedImage, ...]

    @property
    def columns(self) -> int:
        """How many stand beside each other on a wide screen, so that the last row is as full as can be."""
        count = len(self.pictures)
        return 2 if count in (1, 2, 4) else min((3, 4), key=lambda columns: -count % columns)


def read_images(report: BenchmarkReport) -> dict[int, NDArray[np.uint8]]:
    """Read the images that the page shows from where the benchmark read them.

    Returns:
        `ShownImage.image_id` to `uint8[H, W, 3]` BGR; without those that are gone or can no longer be read.
    """
    images = {}
    for image in report.images[:MAX_IMAGES]:
        try:
            images[image.image_id] = read_image(Path(image.path))
        except InputError:
            continue
    return images


def galleries(report: BenchmarkReport, images: Mapping[int, NDArray[np.uint8]]) -> tuple[Gallery, ...]:
    """Draw the report's images as every row that ran sees them.

    Args:
        report: With `images` and the rows' `detections`; the first four images are shown.
        images: `ShownImage.image_id` to `uint8[H, W, 3]` BGR, of the size that the report says.

    Raises:
        InputError: An image is of another size than the one that was measured.
        ArtifactError: A row's detections are of another model or broken.
    """
    shown = report.images[:MAX_IMAGES]
    rows = [row for row in report.rows if _reached_images(row)]
    available_images = [image for image in shown if image.image_id in images]
    for image in available_images:
        _check_size(image, images[image.image_id])
    drawn: dict[int, tuple[RenderedImage, ...]] = {}
    if rows and available_images:
        encoding = _choose_encoding(available_images, images, rows, report.class_names)
        drawn = {
            image.image_id: _pictures(image, images[image.image_id], rows, report.class_names, encoding)
            for image in available_images
        }
    return tuple(
        Gallery(image=image, readable=image in available_images, pictures=drawn.get(image.image_id, ()))
        for image in shown
    )


def _reached_images(row: Row) -> bool:
    """Tell whether a row came as far as the images: one that broke and found nothing may not have."""
    return row.state is RowState.OK or bool(row.detections)


def _check_size(image: ShownImage, pixels: NDArray[np.uint8]) -> None:
    if pixels.shape[:2] != tuple(image.size_hw):
        msg = (
            f"{image.name} must be {image.size_hw[0]}x{image.size_hw[1]} (height x width) as when it was "
            f"measured, got {pixels.shape[0]}x{pixels.shape[1]}; run `edgeseg benchmark` again"
        )
        raise InputError(msg)


def _choose_encoding(
    available_images: Sequence[ShownImage],
    images: Mapping[int, NDArray[np.uint8]],
    rows: Sequence[Row],
    class_names: Sequence[str],
) -> tuple[int, int]:
    """Choose size and quality by drawing the row that found most; all others are alike in bytes."""
    fullest = max(rows, key=lambda row: len(row.detections))
    for encoding in ENCODINGS:
        pictures = [
            _pictures(image, images[image.image_id], [fullest], class_names, encoding)
            for image in available_images
        ]
        if len(rows) * sum(len(picture.uri) for (picture,) in pictures) <= BUDGET_BYTES:
            return encoding
    return ENCODINGS[-1]


def _pictures(
    image: ShownImage,
    pixels: NDArray[np.uint8],
    rows: Sequence[Row],
    class_names: Sequence[str],
    encoding: tuple[int, int],
) -> tuple[RenderedImage, ...]:
    longer_px, quality = encoding
    # Names and outlines are drawn in the small picture: drawn in the large one they would shrink with it.
    small = _scaled(pixels, longer_px)
    size_hw = (small.shape[0], small.shape[1])
    found = [detections_from_row(row, image, class_names, size_hw) for row in rows]
    style = DrawStyle(labels=max(map(len, found), default=0) <= MOST_NAMED)
    pictures = []
    for row, detections in zip(rows, found, strict=True):
        data = _jpeg(draw_detections(detections, small, style), quality)
        pictures.append(
            RenderedImage(
                row=row,
                uri="data:image/jpeg;base64," + base64.b64encode(data).decode("ascii"),
                size_hw=size_hw,
                found=len(detections),
                text=_in_words(detections),
            )
        )
    return tuple(pictures)


def _scaled(pixels: NDArray[np.uint8], longer_px: int) -> NDArray[np.uint8]:
    factor = min(longer_px / max(pixels.shape[:2]), 1.0)
    height, width = (max(1, round(side * factor)) for side in pixels.shape[:2])
    scaled = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(scaled, np.uint8)


def _jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    data: Any = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return bytes(data.tobytes())


def _in_words(detections: Detections) -> str:
    counts = Counter(detections.names).most_common()
    named = [f"{count} {name}" for name, count in counts[:CLASSES_NAMED]]
    rest = sum(count for _, count in counts[CLASSES_NAMED:])
    return ", ".join([*named, f"{rest} others"] if rest else named) or "nothing found"
