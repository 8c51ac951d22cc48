"""What tracking adds to a picture: trails that fade, counting lines and zones."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np

from .captions import Caption
from .palette import BLACK, NEUTRAL, WHITE, Color

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from .results import LineCount, Scene, ZoneCount

# A trail fades in so many steps; each is drawn at once.
TRAIL_STEPS = 8
TRAIL_OPACITY = 0.9
# In widths of the line; what wavers less is drawn straight, which is faster.
TRAIL_ERROR = 0.5
# Length of the arrow at a line's middle, in widths of the line.
ARROW_WIDTHS = 8


def draw_trails(
    canvas: NDArray[np.uint8],
    trails: Mapping[int, NDArray[np.float32]],
    color_by_id: Mapping[int, Color],
    line_px: int,
) -> None:
    """Draw where objects have been, fainter the longer ago.

    Args:
        canvas: `uint8[H, W, 3]`, BGR; changed.
        trails: As in `Scene`.
        color_by_id: Of the objects in this frame; others are grey.
        line_px: Width at the newest end.
    """
    paths = {track: np.rint(trail).astype(np.int32) for track, trail in trails.items() if len(trail) > 1}
    region = _region(list(paths.values()), canvas.shape[:2], line_px)
    if region is None:
        return
    left, top, right, bottom = region
    # Blue, green, red, opacity; the colours already times the opacity, so that lines may be drawn into it.
    # Not np.zeros: the system would bring its pages one by one, which takes longer than to clear them.
    layer = np.empty((bottom - top, right - left, 4), np.uint8)
    layer.fill(0)
    for track, path in paths.items():
        _draw_trail(layer, path - (left, top), color_by_id.get(track, Color(*NEUTRAL)), line_px)
    _lay_over(canvas[top:bottom, left:right], layer)


def draw_lines_and_zones(canvas: NDArray[np.uint8], scene: Scene, line_px: int) -> None:
    """Draw counting lines with an arrow the way that counts as forward, and the outlines of zones.

    Args:
        canvas: `uint8[H, W, 3]`, BGR; changed.
        scene: What tracking knows after this frame.
        line_px: Width of the lines.
    """
    strokes = [_corners(zone) for zone in scene.zones]
    # White on black is seen on every ground.
    for color, width in ((BLACK, 3 * line_px), (WHITE, line_px)):
        cv2.polylines(canvas, strokes, isClosed=True, color=color, thickness=width, lineType=cv2.LINE_AA)
        for line in scene.lines:
            start, end = (tuple(np.rint(end).astype(int).tolist()) for end in (line.start_xy, line.end_xy))
            cv2.line(canvas, start, end, color, width, cv2.LINE_AA)
            cv2.arrowedLine(
                canvas, *_arrow(line, ARROW_WIDTHS * line_px), color, width, cv2.LINE_AA, tipLength=0.5
            )


def scene_captions(scene: Scene) -> Iterator[Caption]:
    """Name each line and zone and say its counts: `gate +12 -3`, `dock 3 now 12 in all`."""
    for line in scene.lines:
        (x1, y1), (x2, y2) = line.start_xy, line.end_xy
        middle = ((x1 + x2) / 2, (y1 + y2) / 2)
        text = f"{line.name} +{line.forward} -{line.backward}"
        yield Caption(text=text, color=Color(*BLACK), box_xyxy=middle * 2)
    for zone in scene.zones:
        corner = min(zone.corners_xy, key=sum)
        text = f"{zone.name} {zone.inside} now {zone.entered} in all"
        yield Caption(text=text, color=Color(*BLACK), box_xyxy=corner * 2)


def _lay_over(part: NDArray[np.uint8], layer: NDArray[np.uint8]) -> None:
    """Lay a picture with opacity over a part of another one, where it is not empty."""
    # Flat indices of what is true: five times as fast as pairs, or as asking what is not zero.
    places = np.flatnonzero(layer.view(np.uint32)[..., 0] != 0)
    drawn = layer.reshape(-1, 4).take(places, 0).astype(np.uint16)
    flat = np.ascontiguousarray(part).reshape(-1, 3)
    below = flat.take(places, 0) * (255 - drawn[:, 3:])
    flat[places] = drawn[:, :3] + (below + 127) // 255
    part[:] = flat.reshape(part.shape)


def _draw_trail(layer: NDArray[np.uint8], path: NDArray[np.int32], color: Color, line_px: int) -> None:
    # Steps share their ends, or there would be gaps between them.
    steps = min(TRAIL_STEPS, len(path) - 1)
    cuts = np.linspace(0, len(path) - 1, steps + 1).round().astype(int).tolist()
    for step, (first, last) in enumerate(pairwise(cuts), 1):
        opacity = TRAIL_OPACITY * step / steps
        faded = [*(opacity * channel for channel in color), 255 * opacity]
        width = max(1, round(line_px * (0.5 + 0.5 * opacity)))
        smooth = cv2.approxPolyDP(path[first : last + 1], width * TRAIL_ERROR, False)
        cv2.polylines(layer, [smooth], False, faded, width, cv2.LINE_8)


def _region(
    paths: list[NDArray[np.int32]], size_hw: tuple[int, ...], margin: int
) -> tuple[int, int, int, int] | None:
    """The part of the frame that trails touch: left, top, right, bottom."""
    if not paths:
        return None
    points = np.concatenate(paths)
    left, top = np.maximum(points.min(0) - margin - 1, 0).tolist()
    right, bottom = np.minimum(points.max(0) + margin + 2, size_hw[1::-1]).tolist()
    return (left, top, right, bottom) if left < right and top < bottom else None


def _corners(zone: ZoneCount) -> NDArray[np.int32]:
    return np.rint(np.array(zone.corners_xy)).astype(np.int32)


def _arrow(line: LineCount, length: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """From a line's middle to its right, as seen on the way from start to end."""
    start, end = np.array(line.start_xy), np.array(line.end_xy)
    along = end - start
    right = np.array((-along[1], along[0])) / max(float(np.hypot(*along)), 1e-6)
    points = (start + end) / 2, (start + end) / 2 + length * right
    (x1, y1), (x2, y2) = (np.rint(point).astype(int).tolist() for point in points)
    return (x1, y1), (x2, y2)
