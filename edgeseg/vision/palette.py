"""Colours for classes and tracks that can be told apart, also by the colour-blind."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

# Chosen one after the other from saturated colours of middle lightness: each the farthest from those before
# it, the last ones counting most, by the least distance in CIELAB as seen with normal sight and without red,
# green or blue cones (Machado 2009). Among the first eight no two are nearer than 20, whoever looks.
COLORS_RGB = (
    *(0xEE9900, 0x00EEFF, 0x8833FF, 0xEE0055, 0xDDEE99, 0x3388CC, 0xBB2277, 0x997700),
    *(0x99EE55, 0xBB55FF, 0x99BB55, 0xFF99CC, 0xAA3399, 0x00BB77, 0x007733, 0xCCAAFF),
    *(0x6655CC, 0xFF3399, 0x00FF00, 0xCC3333, 0xCC88CC, 0x8899FF, 0xFF7777, 0xFF1100),
)
# Later rounds are nearer to white, to black and to grey by turns.
VARIANTS = ((0, 0.0), (255, 0.35), (0, 0.35), (128, 0.45))
NEUTRAL = (200, 200, 200)
BLACK = (0, 0, 0)
WHITE = (255, 255, 255)


class Color(NamedTuple):
    """A colour in OpenCV's order, 0 to 255 each."""

    blue: int
    green: int
    red: int


@lru_cache(maxsize=1024)
def color_from_number(number: int) -> Color:
    """Choose a colour for a class or a track by its number; the same one every time."""
    variant, index = divmod(number - 1, len(COLORS_RGB))
    towards, share = VARIANTS[variant % len(VARIANTS)]
    rgb = COLORS_RGB[index]
    blue, green, red = (
        round(channel + (towards - channel) * share) for channel in (rgb & 255, rgb >> 8 & 255, rgb >> 16)
    )
    return Color(blue, green, red)


@lru_cache(maxsize=1024)
def text_color_on(color: Color) -> Color:
    """Black or white, whichever is read more easily on a colour: a contrast of at least 4.5 to 1.

    Source:
        Web Content Accessibility Guidelines 2.2, relative luminance and contrast ratio.
    """
    linear = [
        channel / 255 / 12.92 if channel <= 10 else ((channel / 255 + 0.055) / 1.055) ** 2.4
        for channel in color
    ]
    luminance = 0.0722 * linear[0] + 0.7152 * linear[1] + 0.2126 * linear[2]
    # Where both contrasts are equal: (1 + 0.05) / (L + 0.05) = (L + 0.05) / 0.05.
    return Color(*BLACK) if luminance > 0.179 else Color(*WHITE)
