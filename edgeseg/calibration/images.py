"""Choose the calibration images by a random seed, and read them one at a time."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from edgeseg.errors import CalibrationError, ConfigError, InputError
from edgeseg.files.reading import sha256_from_file
from edgeseg.vision.images.bitdepth import check_bit_depth
from edgeseg.vision.images.reader import ImageReader, image_paths, read_image

from .table import Method

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray

# The ranges of a handful of images are those of their scenes and lights; what lies outside is clipped.
MIN_IMAGES = 10
DEFAULT_IMAGES = 100
# Largest less smallest level of each channel up to which an image is of one colour; JPEG adds one or two.
FLAT_LEVELS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationConfig:
    """Which images to measure and how to cut their ranges.

    Attributes:
        folder: Searched with all folders below it.
        images: How many to take, neither more nor fewer; None for those that are there, up to `max_images`.
        max_images: How many are enough.
        seed: Random seed for choosing the images, 0 or more.
        method: How ranges are cut.
        bit_depth: As `ImageReader`.
        resume: Go on with an interrupted calibration.
    """

    folder: Path
    images: int | None = None
    max_images: int = DEFAULT_IMAGES
    seed: int = 0
    method: Method = Method.ENTROPY
    bit_depth: int | None = None
    resume: bool = False

    @property
    def wanted(self) -> int:
        """How many to look for."""
        return self.max_images if self.images is None else self.images

    def __post_init__(self) -> None:
        if self.wanted < MIN_IMAGES:
            msg = (
                f"calibration needs at least {MIN_IMAGES} images, got {self.wanted}: ranges of so few would "
                "clip what other images hold"
            )
            raise ConfigError(msg)
        if self.seed < 0:
            msg = f"seed must be 0 or more, got {self.seed}"
            raise ConfigError(msg)
        check_bit_depth(self.bit_depth)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationImage:
    """An image that was found usable.

    Attributes:
        name: Path relative to the folder, with forward slashes.
        sha256: Of the file.
        size_hw: Height and width, in pixels.
    """

    name: str
    sha256: str
    size_hw: tuple[int, int]


def images_sha256(images: Iterable[CalibrationImage]) -> str:
    """Hash names and contents of images, whatever their order."""
    lines = sorted(f"{image.name}\0{image.sha256}\n" for image in images)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def choose_images(
    config: CalibrationConfig,
    progress: Callable[[str], None] = lambda line: None,
    note: Callable[[str], None] = lambda line: None,
) -> tuple[CalibrationImage, ...]:
    """Choose images in an order that the seed decides, each read once to know that it can be used.

    Args:
        config: Where, how many, which seed.
        progress: Called with a line for every image.
        note: Called with the name of every image that is skipped, and why, as the next takes its place; where
            there are fewer than are enough; and with what `ImageReader` says.

    Raises:
        CalibrationError: No such folder, fewer usable images in it than asked for, or a handful.
    """
    paths = _shuffled_paths(config)
    reader = ImageReader(bit_depth=config.bit_depth, note=note)
    chosen: dict[str, CalibrationImage] = {}  # by the hash of their content
    flat_count = 0
    for path in paths:
        progress(f"choosing images: {len(chosen) + 1} of {min(config.wanted, len(paths))}")
        try:
            image = _calibration_image(path, config.folder, reader)
            if image.sha256 in chosen:
                note(f"skipped {path}: the same as {chosen[image.sha256].name}")
            chosen.setdefault(image.sha256, image)
        except _FlatImageError as exc:
            flat_count += 1
            note(f"skipped {exc}")
        except InputError as exc:
            note(f"skipped: {exc}")
        if len(chosen) == config.wanted:
            return tuple(chosen.values())
    if config.images is not None or len(chosen) < MIN_IMAGES:
        raise _too_few_images_error(
            config, found=len(chosen), skipped=len(paths) - len(chosen), flat_count=flat_count
        )
    note(
        f"calibrating on all {len(chosen)} usable images in {config.folder}; {config.wanted} of different "
        "scenes would give ranges that fit more of what the model will see"
    )
    return tuple(chosen.values())


def read_calibration_image(
    folder: Path, image: CalibrationImage, *, bit_depth: int | None = None
) -> NDArray[np.uint8]:
    """Read an image, `uint8[H, W, 3]` BGR, which must still be what it was when it was chosen.

    Raises:
        CalibrationError: It was altered or removed since.
    """
    path = folder / image.name
    try:
        frame = read_image(path, bit_depth=bit_depth)
        unchanged = sha256_from_file(path) == image.sha256
    except (InputError, OSError) as exc:
        msg = f"{path} could be read when calibration began and no longer can: {exc}"
        raise CalibrationError(msg) from exc
    if not unchanged:
        msg = f"{path} was altered while calibrating; start again without --resume"
        raise CalibrationError(msg)
    return frame


class _FlatImageError(InputError):
    """An image of one colour."""


def _shuffled_paths(config: CalibrationConfig) -> list[Path]:
    folder = config.folder
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "is not there"
        msg = f"calibration needs a folder of images, and {folder} {what}"
        raise CalibrationError(msg)
    paths = image_paths(folder)
    if not paths:
        msg = f"calibration needs images, found none in {folder}"
        raise CalibrationError(msg)
    random.Random(config.seed).shuffle(paths)
    return paths


def _calibration_image(path: Path, folder: Path, reader: ImageReader) -> CalibrationImage:
    """Read an image to the end and hash its file.

    Raises:
        InputError: It cannot be read, or is of one colour.
    """
    frame = reader.read(path)
    if all(_level_range(frame, channel) <= FLAT_LEVELS for channel in range(3)):
        msg = f"{path}: it is of one flat colour and carries no ranges"
        raise _FlatImageError(msg)
    height, width = frame.shape[:2]
    name = path.relative_to(folder).as_posix()
    return CalibrationImage(name=name, sha256=sha256_from_file(path), size_hw=(height, width))


def _level_range(frame: NDArray[np.uint8], channel: int) -> float:
    # NumPy's minimum over the pixels of a colour image takes thirty times as long.
    low, high, *_ = cv2.minMaxLoc(cv2.extractChannel(frame, channel))
    return high - low


def _too_few_images_error(
    config: CalibrationConfig, *, found: int, skipped: int, flat_count: int
) -> CalibrationError:
    if not found and flat_count == skipped:
        return CalibrationError(
            f"all {flat_count} images in {config.folder} are of one flat colour and carry no ranges; "
            "calibrate on images like those that the model will see"
        )
    skipped_note = f" ({skipped} skipped)" if skipped else ""
    needed, advice = f"{config.wanted}", f"pass --images {found} to accept"
    if found < MIN_IMAGES:
        needed, advice = f"at least {MIN_IMAGES}", "add images like those that the model will see"
    return CalibrationError(
        f"calibration needs {needed} images, found {found} in {config.folder}{skipped_note}; {advice}"
    )
