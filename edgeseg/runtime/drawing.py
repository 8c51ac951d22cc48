"""Drawing detections over a frame."""

from __future__ import annotations

import colorsys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .detections import Detections
    from .masks import MaskCrop

MASK_OPACITY = 0.45
# Successive multiples of the golden ratio lie far apart on the colour circle, however many there are.
HUE_STEP = 0.61803398875
# Labels and lines keep their size on the screen: in proportion to the frame, with a floor for small ones.
FONT_PER_SIDE = 1 / 48
MIN_FONT_PX = 11
LINE_PER_FONT = 1 / 9
# Takes the stairs out of an outline, and most of its points, which is most of the time of drawing it.
OUTLINE_ERROR_PX = 0.7
# On a frame that is less high than so many names, names would hide what they name.
MIN_NAMES_HIGH = 6


def draw_detections(detections: Detections, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw masks, outlines and names over a copy of a frame.

    Args:
        detections: In pixels of this frame.
        frame: `uint8[H, W, 3]`, BGR.

    Returns:
        `uint8[H, W, 3]`, BGR.

    Raises:
        InputError: The frame is of another size than the detections, or of another type.
    """
    if frame.shape[:2] != detections.frame_size_hw:
        size, wanted = ("x".join(map(str, hw)) for hw in (frame.shape[:2], detections.frame_size_hw))
        msg = f"detections of a {wanted} frame cannot be drawn on one of {size}"
        raise InputError(msg)
    if frame.dtype != np.uint8 or frame.shape[2:] != (3,):
        msg = f"a frame to draw on must be uint8[H, W, 3] in BGR, got {frame.dtype}{list(frame.shape)}"
        raise InputError(msg)
    font_px = max(MIN_FONT_PX, round(min(frame.shape[:2]) * FONT_PER_SIDE))
    line_px = max(1, round(font_px * LINE_PER_FONT))
    colors = [color_of(label) for label in detections.labels.tolist()]
    # The best come last, on top.
    rows = [*zip(map(_outlines, detections.masks), colors, strict=True)][::-1]
    # One blend of the whole frame costs less than one for each mask, and overlapping colours do not mix.
    painted = frame.copy()
    for outlines, color in rows:
        cv2.fillPoly(painted, outlines, color)
    canvas = np.asarray(cv2.addWeighted(frame, 1 - MASK_OPACITY, painted, MASK_OPACITY, 0), np.uint8)
    for outlines, color in rows:
        smooth = [cv2.approxPolyDP(outline, OUTLINE_ERROR_PX, True) for outline in outlines]
        cv2.polylines(canvas, smooth, isClosed=True, color=color, thickness=line_px, lineType=cv2.LINE_AA)
    _name(canvas, detections, font_px)
    return canvas


@lru_cache(maxsize=1024)
def color_of(label: int) -> tuple[int, int, int]:
    """Choose a colour for a class, BGR; the same one every time."""
    red, green, blue = colorsys.hsv_to_rgb((label * HUE_STEP) % 1.0, 0.75, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)


def _outlines(mask: MaskCrop) -> Sequence[Any]:
    """Trace a mask and its holes, in frame pixels; filled together, they leave the holes free."""
    if not mask.pixels.size:
        return []
    corner = (mask.left, mask.top)
    return cv2.findContours(mask.pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=corner)[0]


@lru_cache(maxsize=4096)
def _label(text: str, color: tuple[int, int, int], font_px: int) -> NDArray[np.uint8]:
    """Render a name on its colour: `uint8[h, w, 3]`, BGR."""
    font = _font(font_px)
    left, _top, right, _bottom = font.getbbox(text)
    pad = max(2, font_px // 5)
    size = (round(right - left) + 2 * pad, round(1.15 * font_px) + pad)
    # Black or white, whichever stands out from the colour.
    luma = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2]
    image = Image.new("RGB", size, color)
    ink = (0, 0, 0) if luma > 140 else (255, 255, 255)
    ImageDraw.Draw(image).text((pad - left, size[1] / 2), text, fill=ink, font=font, anchor="lm")
    return np.asarray(image)


@lru_cache(maxsize=8)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


def _name(canvas: NDArray[np.uint8], detections: Detections, font_px: int) -> None:
    """Name instances, the best first; a name that would cover another or most of the frame is left out."""
    taken = np.zeros(canvas.shape[:2], np.bool_)
    rows = zip(detections.names, detections.scores, detections.labels, detections.boxes_xyxy, strict=True)
    for name, score, label_index, box in rows:
        label = _label(f"{name} {score:.0%}", color_of(int(label_index)), font_px)
        height, width = label.shape[:2]
        if MIN_NAMES_HIGH * height > canvas.shape[0] or width > canvas.shape[1]:
            continue
        # Above the box's upper left corner, or inside the frame where there is no room.
        left = min(max(round(float(box[0])), 0), canvas.shape[1] - width)
        top = min(max(round(float(box[1])) - height, 0), canvas.shape[0] - height)
        place = np.s_[top : top + height, left : left + width]
        if not taken[place].any():
            canvas[place] = label
            taken[place] = True
