"""Reading image files strictly: an image is read completely or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from edgeseg.errors import InputError
from edgeseg.files.reading import read_failure

from .bitdepth import (
    check_bit_depth,
    is_negative,
    is_normalised,
    largest_sample,
    read_deep_samples,
    reduce_to_8_bits,
    used_bits,
)
from .headers import FULL_BIT_DEPTH, stated_bits
from .pillow import IMAGE_SUFFIXES, check_complete, is_image, open_image, page_count_text
from .upright import orientation_from_image, row_reader, upright_bgr

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image


def image_paths(folder: Path) -> list[Path]:
    """List the images below a folder, sorted by path.

    Files with the suffix of an image count, and files without a suffix that contain an image.

    Raises:
        InputError: The folder does not exist or cannot be read.

    Example:
        >>> from pathlib import Path
        >>> [path.name for path in image_paths(Path())]
        ['parts.png']
    """
    if not folder.is_dir():
        msg = f"no folder at {folder}"
        raise InputError(msg)
    try:
        # Searching below a folder ignores errors, so check the folder itself.
        os.scandir(folder).close()
    except OSError as exc:
        raise InputError(read_failure(f"the folder {folder}", exc)) from exc
    return sorted(path for path in folder.rglob("*") if _may_be_image(path, folder))


class ImageReader:
    """Reader for the image files of one set; it returns them upright, with 8 bits and three channels.

    EXIF orientation is applied, transparency is dropped, and of several pages or frames the first is read. If
    samples have more than 8 bits, the file says how many of them are used; if it does not, the smallest bit
    depth of cameras (8, 10, 12, 14 or 16) that holds all samples is taken. The reader notes each assumption
    that a user may not expect once.

    Args:
        bit_depth: Number of bits used of samples with more than 8, in all images; None finds it for each
            image.
        note: Called with each assumption, as a sentence.

    Attributes:
        note: The argument `note`.

    Raises:
        ConfigError: `bit_depth` is not from 8 to 16.

    Example:
        >>> from pathlib import Path
        >>> reader = ImageReader(note=print)
        >>> image = reader.read(Path("parts.png"))
        >>> image.shape, image.dtype.name
        ((64, 96, 3), 'uint8')
    """

    def __init__(
        self, *, bit_depth: int | None = None, note: Callable[[str], None] = lambda sentence: None
    ) -> None:
        check_bit_depth(bit_depth)
        self._bit_depth = bit_depth
        self.note = note
        self._assumed_bits: list[int] = []
        self._has_noted_pages = False

    def read(self, path: Path) -> NDArray[np.uint8]:
        """Read one image file.

        Returns:
            `uint8[H, W, 3]`, BGR.

        Raises:
            InputError: The file is missing, not an image, truncated or corrupt, has more pixels than
                `MAX_PIXELS`, or has samples that the bit depth does not hold.
        """
        with open_image(path) as image:
            image.load()
            check_complete(image, path)
            pages = page_count_text(image, path)
            frame = self._bgr(image, path)
        self._note_pages(pages, path)
        return frame

    def _bgr(self, image: Image.Image, path: Path) -> NDArray[np.uint8]:
        size_hw, orientation = (image.height, image.width), orientation_from_image(image)
        if (samples := read_deep_samples(image, path)) is None:
            return upright_bgr(row_reader(image, "RGB"), size_hw, orientation)
        read_8_bits = self._8_bit_reader(samples, image, path)
        # Only the samples are needed from here on, and Pillow's picture takes as much memory again.
        image.close()
        return upright_bgr(read_8_bits, size_hw, orientation)

    def _8_bit_reader(
        self, samples: NDArray[Any], image: Image.Image, path: Path
    ) -> Callable[[slice], NDArray[np.uint8]]:
        """Choose the bits that are used, and return a function that gives their upper 8 for some rows."""
        largest = largest_sample(samples)
        bits = self._bit_depth or stated_bits(image, path, largest)
        if bits is None:
            bits = used_bits(samples)
            if not is_normalised(samples, largest):
                self._note_bits(path, bits, largest)
        elif largest >= 1 << bits:
            msg = (
                f"{path} has samples of up to {largest:g}, and a bit depth of {bits} ends at "
                f"{(1 << bits) - 1}; give a larger one, or none"
            )
            raise InputError(msg)
        normalised, negative = is_normalised(samples, largest), is_negative(image)

        def rows(band: slice) -> NDArray[np.uint8]:
            read_8_bits = reduce_to_8_bits(samples[band], bits, normalised=normalised)
            return 255 - read_8_bits if negative else read_8_bits

        return rows

    def _note_bits(self, path: Path, bits: int, largest: float) -> None:
        if bits in self._assumed_bits:
            return
        others, most = " and ".join(map(str, self._assumed_bits)), max([bits, *self._assumed_bits])
        self._assumed_bits.append(bits)
        if bits == FULL_BIT_DEPTH:
            return
        read = f"{path} is read as an image of {bits} bits, because its largest sample is {largest:g}"
        if others and most <= FULL_BIT_DEPTH:
            self.note(f"{read}, and others as of {others}; if all are of one camera, pass --bit-depth {most}")
        else:
            self.note(
                f"{read}, and so are others like it; if the camera has another bit depth, pass --bit-depth"
            )

    def _note_pages(self, pages: str, path: Path) -> None:
        if pages and not self._has_noted_pages:
            self._has_noted_pages = True
            self.note(f"page 1 of {pages} of {path} is used, and of every other image with several pages")


def read_image(path: Path, *, bit_depth: int | None = None) -> NDArray[np.uint8]:
    """Read an image file as `ImageReader` does, without notes about assumptions.

    Returns:
        `uint8[H, W, 3]`, BGR.

    Raises:
        InputError: As `ImageReader.read`.
        ConfigError: `bit_depth` is not from 8 to 16.

    Example:
        >>> from pathlib import Path
        >>> read_image(Path("parts.png")).shape
        (64, 96, 3)
    """
    return ImageReader(bit_depth=bit_depth).read(path)


def _may_be_image(path: Path, folder: Path) -> bool:
    # Hidden files are thumbnails, checkpoints of notebooks, or files that macOS adds.
    if any(part.startswith(".") for part in path.relative_to(folder).parts) or not path.is_file():
        return False
    return path.suffix.lower() in IMAGE_SUFFIXES or (not path.suffix and is_image(path))
