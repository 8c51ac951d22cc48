"""Colours for classes and tracks that also colour-blind people can tell apart."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

# Chosen one after the other from saturated colours of medium lightness: each is the farthest from those
# before it, of which the latest weigh most. The distance is the smallest one in CIELAB, as seen with normal
# sight and without red, green or blue cones (Machado 2009). Of the first eight, no two are nearer than 20.
COLORS_RGB = (
    *(0xEE9900, 0x00EEFF, 0x8833FF, 0xEE0055, 0xDDEE99, 0x3388CC, 0xBB2277, 0x997700),
    *(0x99EE55, 0xBB55FF, 0x99BB55, 0xFF99CC, 0xAA3399, 0x00BB77, 0x007733, 0xCCAAFF),
    *(0x6655CC, 0xFF3399, 0x00FF00, 0xCC3333, 0xCC88CC, 0x8899FF, 0xFF7777, 0xFF1100),
)
# When the palette is used up, it is repeated with its colours shifted towards white, then black, then grey.
VARIANTS = ((0, 0.0), (255, 0.35), (0, 0.35), (128, 0.45))
NEUTRAL = (200, 200, 200)
BLACK = (0, 0, 0)
WHITE = (255, 255, 255)


class Color(NamedTuple):
    """A colour in OpenCV's order, with channels from 0 to 255."""

    blue: int
    green: int
    red: int


@lru_cache(maxsize=1024)
def color_from_number(number: int) -> Color:
    """Choose a colour for a class or a track by its number; a number always has the same colour.

    Example:
        >>> color_from_number(1)
        Color(blue=0, green=153, red=238)
    """
    variant, index = divmod(number - 1, len(COLORS_RGB))
    towards, share = VARIANTS[variant % len(VARIANTS)]
    rgb = COLORS_RGB[index]
    blue, green, red = (
        round(channel + (towards - channel) * share) for channel in (rgb & 255, rgb >> 8 & 255, rgb >> 16)
    )
    return Color(blue, green, red)


@lru_cache(maxsize=1024)
def text_color_on(color: Color) -> Color:
    """Choose black or white, whichever has the higher contrast on a colour: at least 4.5 to 1.

    Source:
        Web Content Accessibility Guidelines 2.2, relative luminance and contrast ratio.

    Example:
        >>> text_color_on(Color(blue=0, green=255, red=255))
        Color(blue=0, green=0, red=0)
    """
    linear = [
        channel / 255 / 12.92 if channel <= 10 else ((channel / 255 + 0.055) / 1.055) ** 2.4
        for channel in color
    ]
    luminance = 0.0722 * linear[0] + 0.7152 * linear[1] + 0.2126 * linear[2]
    # At this luminance L both contrasts are equal: (1 + 0.05) / (L + 0.05) = (L + 0.05) / 0.05.
    return Color(*BLACK) if luminance > 0.179 else Color(*WHITE)
