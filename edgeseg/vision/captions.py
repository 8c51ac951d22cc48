"""Captions: short texts on a coloured background, drawn into a picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .caption_layout import Occupied, place_captions
from .palette import Color, text_color_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# A caption would hide too much of a frame that is not at least this many times its height and its area.
MIN_HEIGHT_IN_CAPTIONS = 4
MIN_AREA_IN_CAPTIONS = 4
# Nobody can read more at a glance, and each position is compared with all captions and all objects.
MAX_CAPTIONS = 150
MAX_OBJECTS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """A text that belongs to some part of the frame.

    Attributes:
        text: One line of words that are separated by spaces.
        color: Colour of the background; the text itself is black or white.
        box_xyxy: Box that the caption belongs to, in pixels of the frame.
        short: Shorter text for when there is no room for `text`; empty for none.
    """

    text: str
    color: Color
    box_xyxy: tuple[float, float, float, float]
    short: str = ""


def draw_captions(canvas: NDArray[np.uint8], captions: Sequence[Caption], font_px: int) -> None:
    """Draw captions into a picture; a caption for which there is no room is left out.

    Args:
        canvas: `uint8[H, W, 3]`, BGR; drawn on in place.
        captions: Captions in order of importance: the first ones choose their positions first.
        font_px: Height of the letters, in pixels.

    Example:
        >>> canvas = np.zeros((480, 640, 3), np.uint8)
        >>> caption = Caption(text="bolt 0.90", color=Color(0, 153, 238), box_xyxy=(100, 100, 200, 200))
        >>> draw_captions(canvas, [caption], font_px=16)
        >>> bool(canvas.any())
        True
    """
    objects = np.array([caption.box_xyxy for caption in captions[:MAX_OBJECTS]], np.float32).reshape(-1, 4)
    captions, boxes = captions[:MAX_CAPTIONS], objects[:MAX_CAPTIONS]
    caption_boxes = np.zeros_like(boxes)
    for texts in ([caption.text for caption in captions], [caption.short for caption in captions]):
        placed = caption_boxes.any(-1)
        inks = {
            row: _render_line(texts[row], font_px) for row in np.flatnonzero(~placed).tolist() if texts[row]
        }
        rows = [row for row, ink in inks.items() if _fits(ink, canvas.shape[0], canvas.shape[1])]
        if not rows:
            continue
        sizes_wh = np.array([inks[row].shape[::-1] for row in rows], np.float32)
        occupied = Occupied(objects=objects, captions=caption_boxes[placed])
        caption_boxes[rows] = place_captions(boxes[rows], sizes_wh, canvas.shape[:2], occupied)
        for row in rows:
            if caption_boxes[row].any():
                _write(canvas, inks[row], caption_boxes[row].tolist(), captions[row].color)


def _write(canvas: NDArray[np.uint8], ink: NDArray[np.uint8], place: list[float], color: Color) -> None:
    left, top, right, bottom = map(int, place)
    # `take` is five times as fast as indexing with a two-dimensional array.
    canvas[top:bottom, left:right] = _shades(color).take(ink, 0)


def _fits(ink: NDArray[np.uint8], height: int, width: int) -> bool:
    high, wide = ink.shape
    small = MIN_HEIGHT_IN_CAPTIONS * high <= height and MIN_AREA_IN_CAPTIONS * ink.size <= height * width
    return small and bool(wide <= width)


def _render_line(text: str, font_px: int) -> NDArray[np.uint8]:
    """Render a text: `uint8[h, w]`, the ink on each pixel.

    Words are rendered and cached one by one, because only the numbers change from frame to frame.
    """
    words = [_render_word(word, font_px) for word in text.split()] or [_render_word("", font_px)]
    pad = np.zeros((words[0].shape[0], max(2, font_px // 5)), np.uint8)
    gap = np.zeros((pad.shape[0], round(0.35 * font_px)), np.uint8)
    spaced = [part for word in words for part in (gap, word)][1:]
    return np.concatenate((pad, *spaced, pad), 1)


# In an 8K frame a rendered word takes about 50 kB.
@lru_cache(maxsize=512)
def _render_word(text: str, font_px: int) -> NDArray[np.uint8]:
    """Render a word: `uint8[h, w]`, the ink on each pixel."""
    font = _font(font_px)
    left, _top, right, _bottom = font.getbbox(text)
    height = round(1.15 * font_px) + max(2, font_px // 5)
    image = Image.new("L", (max(round(right - left), 1), height))
    ImageDraw.Draw(image).text((-left, height / 2), text, fill=255, font=font, anchor="lm")
    return np.asarray(image)


@lru_cache(maxsize=256)
def _shades(color: Color) -> NDArray[np.uint8]:
    """Return the colour for each amount of ink on a background: `uint8[256, 3]`, BGR."""
    share = np.linspace(0, 1, 256)[:, None]
    return np.rint(np.array(color) * (1 - share) + np.array(text_color_on(color)) * share).astype(np.uint8)


@lru_cache(maxsize=8)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)
