"""The one limit of a picture's size, which every decoder is asked about before it decodes."""

from __future__ import annotations

from edgeseg.errors import InputError

# Telephones give 108 megapixels (12000x9000), medium format 102, line cameras 16384x4096. In three bytes a
# pixel this is 400 MB, and Pillow holds four more a pixel while it decodes.
MAX_PIXELS = 1 << 27
# Of streams and videos, several frames are held at a time. 8K has 33 megapixels.
MAX_VIDEO_PIXELS = 1 << 26
# JPEG's longest. A picture of one row and millions of columns would become one of no height when it is
# scaled to a network's input.
MAX_SIDE_PX = 65535


def check_image_size(size_hw: tuple[int, int], name: object, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse a picture that would take all memory, by what its header says.

    Args:
        size_hw: Height and width that a header states, in pixels.
        name: Of the picture, for the message.
        max_pixels: Pixels it may have.

    Raises:
        InputError: It has more, or a side is too long.
    """
    if reason := size_limit_reason(size_hw, max_pixels):
        msg = f"{name} is refused: {reason}"
        raise InputError(msg)


def size_limit_reason(size_hw: tuple[int, int], max_pixels: int = MAX_PIXELS) -> str:
    """Say why a picture of this size is not decoded; empty where it may be."""
    height, width = size_hw
    if height * width <= max_pixels and max(size_hw) <= MAX_SIDE_PX:
        return ""
    return (
        f"its header states {width}x{height} pixels ({height * width}), and at most {max_pixels} pixels and "
        f"sides of {MAX_SIDE_PX} are decoded; scale it down or cut it into parts"
    )
