"""Reading image files strictly: what is read is right, and what is broken is said to be."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from edgeseg.errors import InputError
from edgeseg.files.reading import read_failure

from .bitdepth import (
    check_bit_depth,
    is_negative,
    is_normalized,
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
    """List the images below a folder: files with an image's suffix, or with none and image content, sorted.

    Raises:
        InputError: No such folder, or it may not be read.
    """
    if not folder.is_dir():
        msg = f"no folder at {folder}"
        raise InputError(msg)
    try:
        # What is below is looked for in silence.
        os.scandir(folder).close()
    except OSError as exc:
        raise InputError(read_failure(f"the folder {folder}", exc)) from exc
    return sorted(path for path in folder.rglob("*") if _may_be_image(path, folder))


class ImageReader:
    """Reads the image files of one set: each upright, in 8 bits and three channels.

    EXIF orientation is applied, transparency is dropped, of several pages or frames the first is taken. Where
    samples have more than 8 bits, as many are used as the file says, or else the fewest of a camera's (8, 10,
    12, 14 or 16) that hold them all. What a user may not expect is said once.

    Args:
        bit_depth: How many bits of a larger sample are used, in all images; None to find it for each.
        note: Called with a sentence.

    Attributes:
        note: As given.

    Raises:
        ConfigError: `bit_depth` is not from 8 to 16.
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
        """Read one.

        Returns:
            `uint8[H, W, 3]`, BGR.

        Raises:
            InputError: Missing, not an image, truncated, corrupt, of more pixels than `MAX_PIXELS`, or with
                samples that the bit depth does not hold.
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
        # The samples are all that is needed, and Pillow's picture takes as much again.
        image.close()
        return upright_bgr(read_8_bits, size_hw, orientation)

    def _8_bit_reader(
        self, samples: NDArray[Any], image: Image.Image, path: Path
    ) -> Callable[[slice], NDArray[np.uint8]]:
        """Choose the bits; gives a function that takes the upper 8 of them in some rows."""
        largest = largest_sample(samples)
        bits = self._bit_depth or stated_bits(image, path, largest)
        if bits is None:
            bits = used_bits(samples)
            if not is_normalized(samples, largest):
                self._note_bits(path, bits, largest)
        elif largest >= 1 << bits:
            msg = (
                f"{path} has samples of up to {largest:g}, and a bit depth of {bits} ends at "
                f"{(1 << bits) - 1}; give a larger one, or none"
            )
            raise InputError(msg)
        normalized, negative = is_normalized(samples, largest), is_negative(image)

        def rows(band: slice) -> NDArray[np.uint8]:
            read_8_bits = reduce_to_8_bits(samples[band], bits, normalized=normalized)
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
    """Read an image file as `ImageReader` does, without a remark.

    Returns:
        `uint8[H, W, 3]`, BGR.

    Raises:
        InputError: As `ImageReader.read`.
        ConfigError: `bit_depth` is not from 8 to 16.
    """
    return ImageReader(bit_depth=bit_depth).read(path)


def _may_be_image(path: Path, folder: Path) -> bool:
    # Hidden: thumbnails, checkpoints of notebooks, what macOS adds.
    if any(part.startswith(".") for part in path.relative_to(folder).parts) or not path.is_file():
        return False
    return path.suffix.lower() in IMAGE_SUFFIXES or (not path.suffix and is_image(path))
