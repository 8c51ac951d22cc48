"""The one limit of a picture's size, which every decoder is asked about before it decodes."""

from __future__ import annotations

from edgeseg.errors import InputError

# Telephones give 108 megapixels (12000x9000), medium format 102, line cameras 16384x4096. In three bytes a
# pixel this is 400 MB, and Pillow holds four more a pixel while it decodes.
MOST_PIXELS = 1 << 27
# Of streams and videos, several frames are held at a time. 8K has 33 megapixels.
MOST_MOVING_PIXELS = 1 << 26
# JPEG's longest. A picture of one row and millions of columns would become one of no height when it is
# scaled to a network's input.
LONGEST_SIDE = 65535


def check_pixels(size_hw: tuple[int, int], name: object, most: int = MOST_PIXELS) -> None:
    """Refuse a picture that would take all memory, by what its header says.

    Args:
        size_hw: Height and width that a header states, in pixels.
        name: Of the picture, for the message.
        most: Pixels it may have.

    Raises:
        InputError: It has more, or a side is too long.
    """
    if reason := too_large(size_hw, most):
        msg = f"{name} is refused: {reason}"
        raise InputError(msg)


def too_large(size_hw: tuple[int, int], most: int = MOST_PIXELS) -> str:
    """Say why a picture of this size is not decoded; empty where it may be."""
    height, width = size_hw
    if height * width <= most and max(size_hw) <= LONGEST_SIDE:
        return ""
    return (
        f"its header states {width}x{height} pixels ({height * width}), and at most {most} pixels and sides "
        f"of {LONGEST_SIDE} are decoded; scale it down or cut it into parts"
    )
