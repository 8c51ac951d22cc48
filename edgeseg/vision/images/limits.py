"""The limits on a picture's size, which are checked before any decoder runs."""

from __future__ import annotations

from edgeseg.errors import InputError

# Phones take pictures of 108 megapixels (12000x9000), medium-format cameras 102, line cameras 16384x4096. At
# three bytes per pixel this limit is 400 MB, and Pillow holds four more bytes per pixel while it decodes.
MAX_PIXELS = 1 << 27
# Several frames of a stream or video are in memory at a time. 8K has 33 megapixels.
MAX_VIDEO_PIXELS = 1 << 26
# The longest side of a JPEG. A picture of one row and millions of columns would have no height left when it
# is scaled to a network's input.
MAX_SIDE_PX = 65535


def check_image_size(size_hw: tuple[int, int], name: object, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse a picture that would take all memory, by the size in its header.

    Args:
        size_hw: Height and width that the header states, in pixels.
        name: Name of the picture, for the message.
        max_pixels: Largest allowed number of pixels.

    Raises:
        InputError: The picture has more pixels, or a side is too long.

    Example:
        >>> check_image_size((1080, 1920), "frame.png")
        >>> size_limit_reason((1080, 1920)), bool(size_limit_reason((100_000, 100_000)))
        ('', True)
    """
    if reason := size_limit_reason(size_hw, max_pixels):
        msg = f"{name} is refused: {reason}"
        raise InputError(msg)


def size_limit_reason(size_hw: tuple[int, int], max_pixels: int = MAX_PIXELS) -> str:
    """Say why a picture of this size is not decoded; empty if it may be."""
    height, width = size_hw
    if height * width <= max_pixels and max(size_hw) <= MAX_SIDE_PX:
        return ""
    return (
        f"its header states {width}x{height} pixels ({height * width}), and at most {max_pixels} pixels and "
        f"sides of {MAX_SIDE_PX} are decoded; scale it down or cut it into parts"
    )
