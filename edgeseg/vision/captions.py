"""Short texts on coloured grounds, written into a picture."""

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

# A frame less high than so many captions, or less large than so many, would be hidden by one.
MIN_HEIGHT_IN_CAPTIONS = 4
MIN_AREA_IN_CAPTIONS = 4
# More cannot be read at a glance, and each place is compared with the others and with all objects.
MAX_CAPTIONS = 150
MAX_OBJECTS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """A text that belongs to some part of the frame.

    Attributes:
        text: One line; words are kept apart by a space.
        color: Of the ground; the ink is black or white.
        box_xyxy: What it stands beside, in pixels of the frame.
        short: Written instead where there is no room for the text; empty for nothing.
    """

    text: str
    color: Color
    box_xyxy: tuple[float, float, float, float]
    short: str = ""


def draw_captions(canvas: NDArray[np.uint8], captions: Sequence[Caption], font_px: int) -> None:
    """Write captions into a picture, the most important first; one that finds no place is left out.

    Args:
        canvas: `uint8[H, W, 3]`, BGR; changed.
        captions: The first ones choose first.
        font_px: Size of the letters.
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
    # Five times as fast as an index of two dimensions.
    canvas[top:bottom, left:right] = _shades(color).take(ink, 0)


def _fits(ink: NDArray[np.uint8], height: int, width: int) -> bool:
    high, wide = ink.shape
    small = MIN_HEIGHT_IN_CAPTIONS * high <= height and MIN_AREA_IN_CAPTIONS * ink.size <= height * width
    return small and bool(wide <= width)


def _render_line(text: str, font_px: int) -> NDArray[np.uint8]:
    """Set a text in words, which are kept for the next frame: numbers change. `uint8[h, w]`, how much ink."""
    words = [_render_word(word, font_px) for word in text.split()] or [_render_word("", font_px)]
    pad = np.zeros((words[0].shape[0], max(2, font_px // 5)), np.uint8)
    gap = np.zeros((pad.shape[0], round(0.35 * font_px)), np.uint8)
    spaced = [part for word in words for part in (gap, word)][1:]
    return np.concatenate((pad, *spaced, pad), 1)


# At 8K a word has some 50 kB.
@lru_cache(maxsize=512)
def _render_word(text: str, font_px: int) -> NDArray[np.uint8]:
    """Render a word: `uint8[h, w]`, how much ink is on each pixel."""
    font = _font(font_px)
    left, _top, right, _bottom = font.getbbox(text)
    height = round(1.15 * font_px) + max(2, font_px // 5)
    image = Image.new("L", (max(round(right - left), 1), height))
    ImageDraw.Draw(image).text((-left, height / 2), text, fill=255, font=font, anchor="lm")
    return np.asarray(image)


@lru_cache(maxsize=256)
def _shades(color: Color) -> NDArray[np.uint8]:
    """Colour by the amount of ink on it: `uint8[256, 3]`, BGR."""
    share = np.linspace(0, 1, 256)[:, None]
    return np.rint(np.array(color) * (1 - share) + np.array(text_color_on(color)) * share).astype(np.uint8)


@lru_cache(maxsize=8)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)
