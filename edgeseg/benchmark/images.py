"""Which images are timed, compared, scored and shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeseg.dataset.annotations import read_annotations
from edgeseg.dataset.labelled import LabelledImages, image_folder_of, labelled_images
from edgeseg.errors import InputError
from edgeseg.vision.frames import Skipped
from edgeseg.vision.images.reader import image_paths, read_image
from edgeseg.vision.images.samples import SAMPLES

from .report import ShownImage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeseg.spec import ModelSpec

    from .config import BenchmarkConfig

Item = TypeVar("Item")
# Results agree or not, and more images tell it no better.
MAX_COMPARED = 8
MAX_SHOWN = 4
BUILT_IN = "the four built-in photographs"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkImages:
    """Images that have been read once and are good.

    Attributes:
        source: Folder, or that they are built in.
        paths: Image id to file: all that are scored, or that are compared where nothing is scored.
        labelled: With annotations; None without.
        skipped: What could not be read or is missing.
        batches: `uint8[F, B, H, W, 3]` BGR, to time.
        shown: Whose detections the report holds.
    """

    source: str
    paths: dict[int, Path]
    labelled: LabelledImages | None
    skipped: tuple[Skipped, ...]
    batches: NDArray[np.uint8]
    shown: tuple[ShownImage, ...]

    @property
    def compared(self) -> tuple[int, ...]:
        """Ids of the images on which rows are compared."""
        return tuple(evenly_spaced(list(self.paths), MAX_COMPARED))


def load_images(
    config: BenchmarkConfig, spec: ModelSpec, progress: Callable[[str], None] = lambda line: None
) -> BenchmarkImages:
    """Read what is to be measured on.

    Args:
        config: Folder, annotations, how many and how large.
        spec: Of the bundle: its classes, input size and batch.
        progress: Called with a line before each image is tried.

    Raises:
        InputError: No such folder, no readable image in it, or annotations of other images.
        ConfigError: `max_images` is below 1.
    """
    folder, labelled = config.images, None
    if config.annotations is not None:
        folder = config.images or image_folder_of(config.annotations)
        annotations = read_annotations(config.annotations)
        labelled = labelled_images(
            annotations, folder, spec.class_names, max_images=config.max_images, progress=progress
        )
        paths, skipped = labelled.paths, labelled.skipped
    else:
        paths, skipped = _readable_images(folder or SAMPLES, progress)
    root = folder or SAMPLES
    shown = tuple(
        _shown_image(image_id, paths[image_id], root) for image_id in evenly_spaced(list(paths), MAX_SHOWN)
    )
    timed = [paths[image_id] for image_id in evenly_spaced(list(paths), config.frames)]
    return BenchmarkImages(
        source=str(folder) if folder else BUILT_IN,
        paths=paths,
        labelled=labelled,
        skipped=skipped,
        batches=_batches(timed, config.frame_size_hw or spec.input_size_hw, spec.batch),
        shown=shown,
    )


def evenly_spaced(items: Sequence[Item], count: int) -> list[Item]:
    """Take at most so many from the whole length."""
    if len(items) <= count:
        return [*items]
    return [items[number * len(items) // count] for number in range(count)]


def _readable_images(
    folder: Path, progress: Callable[[str], None]
) -> tuple[dict[int, Path], tuple[Skipped, ...]]:
    """Take some images evenly, others in the place of those that cannot be read; ids count from 1."""
    paths = image_paths(folder)
    if not paths:
        msg = f"there must be an image to measure on, found none in {folder}; name another with --images"
        raise InputError(msg)
    found: dict[int, Path] = {}
    skipped: list[Skipped] = []
    for path in dict.fromkeys((*evenly_spaced(paths, MAX_COMPARED), *paths)):
        if len(found) == MAX_COMPARED:
            break
        progress(f"trying image {len(found) + 1}")
        try:
            read_image(path)
        except InputError as exc:
            skipped.append(Skipped(name=path.relative_to(folder).as_posix(), reason=str(exc)))
            continue
        found[len(found) + 1] = path
    if not found:
        msg = f"none of the {len(paths)} images in {folder} can be read; the first: {skipped[0].reason}"
        raise InputError(msg)
    return found, tuple(skipped)


def _shown_image(image_id: int, path: Path, root: Path) -> ShownImage:
    height, width = read_image(path).shape[:2]
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    return ShownImage(image_id=image_id, name=name, path=str(path.resolve()), size_hw=(height, width))


def _batches(paths: Sequence[Path], size_hw: tuple[int, int], batch: int) -> NDArray[np.uint8]:
    """Scale each image and put `batch` in a row together, beginning again where there are no more."""
    frames = [cv2.resize(read_image(path), size_hw[::-1]) for path in paths]
    rows = [
        np.stack([frames[(start + number) % len(frames)] for number in range(batch)])
        for start in range(0, len(frames), batch)
    ]
    return np.stack(rows)
