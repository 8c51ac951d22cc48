"""Annotated images: an annotation file, the folder with its images, and the classes of a model."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from edgeseg.errors import ConfigError, InputError
from edgeseg.vision.frames import Skipped
from edgeseg.vision.images.reader import ImageReader, image_paths

from .annotations import Annotations
from .categories import category_map

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeseg.vision.detections import Detections

    from .annotations import AnnotatedImage

NAMES_SHOWN = 3
IMAGE_FOLDER = "images"
MISSING_REASON = "annotated, and not in the folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """Images to score detectors on; each was found, could be read, and has its annotated size.

    Attributes:
        annotations: The whole annotation file.
        paths: File of each image to score, by ascending image id.
        category_ids: Category id of each label; detections with other labels are not scored.
        skipped: Annotated images that are missing or cannot be read; their instances do not count.
        remark: Sentence about the pairing of classes and categories; empty if there is nothing to say.
        notes: Assumptions that were made in reading the images.
        bit_depth: Bit depth to read the images with, as in `ImageReader`.
    """

    annotations: Annotations
    paths: dict[int, Path]
    category_ids: dict[int, int]
    skipped: tuple[Skipped, ...] = ()
    remark: str = ""
    notes: tuple[str, ...] = ()
    bit_depth: int | None = None

    @property
    def truth(self) -> dict[str, Any]:
        """Annotations of these images as a COCO dataset, without instances of the background."""
        truth, scored = self.annotations.truth(self.paths), set(self.category_ids.values())
        found = [item for item in truth["annotations"] if item["category_id"] in scored]
        return {**truth, "annotations": found}

    def results(self, detections: Detections, image_id: int) -> list[dict[str, Any]]:
        """Convert the detections of an image to COCO results with the category ids of the annotations."""
        ids = self.category_ids
        return [
            {**result, "category_id": ids[result["category_id"]]}
            for result in detections.to_coco(image_id)
            if result["category_id"] in ids
        ]


def image_folder_of(annotations: Path) -> Path:
    """Choose the folder of an annotation file's images: `images` beside it if that exists, else its own."""
    beside = annotations.parent / IMAGE_FOLDER
    return beside if beside.is_dir() else annotations.parent


def labelled_images(
    annotations: Annotations,
    folder: Path,
    class_names: Sequence[str],
    *,
    max_images: int | None = None,
    bit_depth: int | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> LabelledImages:
    """Find and read the file of each annotated image, and find the category of each class.

    Args:
        annotations: Content of the annotation file.
        folder: Folder of the images, in which each is at its `file_name`, or has the last part of it as its
            name anywhere below.
        class_names: Name of each class of the model, by label.
        max_images: Use only this many images, the first by id; None for all.
        bit_depth: Number of bits used of deeper samples, as in `ImageReader`.
        progress: Called with a line before each image is read.

    Raises:
        ConfigError: `max_images` is below 1, or `bit_depth` is not from 8 to 16.
        InputError: The folder is missing, no image in it is found or readable, an image has another size than
            annotated, or there are categories that the model does not have.

    Example:
        >>> from edgeseg.dataset.annotations import read_annotations
        >>> annotations = read_annotations(Path("annotations.json"))
        >>> labelled = labelled_images(annotations, Path(), ("__background__", "bolt", "nut", "washer"))
        >>> labelled.paths[1].name, labelled.category_ids
        ('parts.png', {1: 1, 2: 2, 3: 3})
    """
    if max_images is not None and max_images < 1:
        msg = f"max_images must be at least 1, got {max_images}"
        raise ConfigError(msg)
    classes = category_map(class_names, annotations.categories)
    found, skipped = _match_files(annotations, folder)
    chosen = dict(islice(found.items(), max_images))
    notes: list[str] = []
    reader = ImageReader(bit_depth=bit_depth, note=notes.append)
    paths, unread = _readable_files(annotations, chosen, reader, progress)
    return LabelledImages(
        annotations=annotations,
        paths=paths,
        category_ids=classes.ids,
        skipped=(*skipped, *unread),
        remark=classes.remark,
        notes=tuple(notes),
        bit_depth=bit_depth,
    )


def _readable_files(
    annotations: Annotations, chosen: dict[int, Path], reader: ImageReader, progress: Callable[[str], None]
) -> tuple[dict[int, Path], list[Skipped]]:
    """Read each image once; give the files that can be read, by image id, and why the others cannot."""
    images = {image.image_id: image for image in annotations.images}
    paths: dict[int, Path] = {}
    unread: list[Skipped] = []
    for number, (image_id, path) in enumerate(chosen.items(), start=1):
        progress(f"trying image {number} of {len(chosen)}")
        try:
            size_hw = reader.read(path).shape[:2]
        except InputError as exc:
            unread.append(Skipped(name=images[image_id].file_name, reason=str(exc)))
            continue
        _check_size(images[image_id], path, size_hw, annotations.source)
        paths[image_id] = path
    if not paths:
        msg = f"none of the {len(chosen)} images can be read; the first: {unread[0].reason}"
        raise InputError(msg)
    return paths, unread


def _match_files(annotations: Annotations, folder: Path) -> tuple[dict[int, Path], list[Skipped]]:
    files_by_name: dict[str, list[Path]] = {}
    for file in image_paths(folder):
        files_by_name.setdefault(file.name, []).append(file)
    found: dict[int, Path] = {}
    missing: list[Skipped] = []
    for image in annotations.images:
        if path := _file_of(image, folder, files_by_name):
            found[image.image_id] = path
        else:
            missing.append(Skipped(name=image.file_name, reason=MISSING_REASON))
    if not found:
        names = ", ".join(item.name for item in missing[:NAMES_SHOWN])
        more = ", ..." if len(missing) > NAMES_SHOWN else ""
        count = sum(map(len, files_by_name.values()))
        msg = (
            f"the annotations do not match the images: {annotations.source} describes {len(missing)} "
            f"({names}{more}), and none of these names is among the {count} images in {folder}; name their "
            "folder with --images"
        )
        raise InputError(msg)
    _check_distinct(found, annotations)
    return found, missing


def _file_of(image: AnnotatedImage, folder: Path, files_by_name: dict[str, list[Path]]) -> Path | None:
    name = PurePosixPath(image.file_name.replace("\\", "/"))
    same_name = files_by_name.get(name.name, [])
    exact = folder / name
    if exact in same_name or len(same_name) < 2:
        return exact if exact in same_name else next(iter(same_name), None)
    msg = (
        f"{image.file_name} is annotated, and {folder} has {len(same_name)} images of that name: "
        f"{same_name[0]}, {same_name[1]}; name the folder of the right one with --images"
    )
    raise InputError(msg)


def _check_distinct(found: dict[int, Path], annotations: Annotations) -> None:
    first: dict[Path, int] = {}
    for image_id, path in found.items():
        if (other := first.setdefault(path, image_id)) != image_id:
            msg = f"{annotations.source}: images {other} and {image_id} are both {path}"
            raise InputError(msg)


def _check_size(image: AnnotatedImage, path: Path, size_hw: tuple[int, ...], source: str) -> None:
    if size_hw == image.size_hw:
        return
    turned = ", turned by its EXIF orientation" if size_hw == image.size_hw[::-1] else ""
    msg = (
        f"the annotations do not match the images: {path} is {size_hw[0]}x{size_hw[1]} (height x width"
        f"{turned}), and {source} has it as {image.size_hw[0]}x{image.size_hw[1]}"
    )
    raise InputError(msg)
