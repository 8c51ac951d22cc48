"""What tracking adds to a picture: trails that fade, counting lines and zones."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from edgeseg.vision.captions import Caption
from edgeseg.vision.drawing import DEFAULT_STYLE, DrawStyle
from edgeseg.vision.palette import BLACK, NEUTRAL, WHITE, Color

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from edgeseg.streaming.results import LineCount, Scene, ZoneCount

# A trail fades in so many steps; each is drawn at once.
TRAIL_STEPS = 8
TRAIL_OPACITY = 0.9
# In widths of the line; what wavers less is drawn straight, which is faster.
TRAIL_ERROR = 0.5
# Trails are laid over strip by strip, so that what is worked on stays in the processor's cache.
STRIP_BYTES = 1 << 21
# Length of the arrow at a line's middle, in widths of the line.
ARROW_WIDTHS = 8


class SceneOverlay:
    """Draws a scene as `draw_detections` wants it.

    Args:
        scene: What tracking knows after this frame.
        style: Whether trails, and lines and zones, are drawn.
    """

    def __init__(self, scene: Scene, style: DrawStyle = DEFAULT_STYLE) -> None:
        self._scene, self._style = scene, style

    def draw(
        self, canvas: NDArray[np.uint8], color_by_id: Mapping[int, Color], line_px: int
    ) -> list[Caption]:
        """See `edgeseg.vision.drawing.Overlay`."""
        if self._style.trails:
            draw_trails(canvas, self._scene.trails, color_by_id, line_px + 1)
        if not self._style.scene:
            return []
        draw_lines_and_zones(canvas, self._scene, line_px)
        return [*scene_captions(self._scene)]


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
    strokes = [
        stroke
        for track, trail in trails.items()
        for stroke in _strokes(
            np.rint(trail).astype(np.int32), color_by_id.get(track, Color(*NEUTRAL)), line_px
        )
    ]
    spans = np.array([(*(path.min(0) - line_px), *(path.max(0) + line_px + 1)) for path, _, _ in strokes])
    height, width = canvas.shape[:2]
    step = max(STRIP_BYTES // (4 * width), 1)
    for top in range(0, height, step) if strokes else ():
        visible = np.flatnonzero((spans[:, 1] < top + step) & (spans[:, 3] > top))
        if not visible.size:
            continue
        left, right = max(spans[visible, 0].min(), 0), min(spans[visible, 2].max(), width)
        if left < right:
            part = canvas[top : top + step, left:right]
            # Blue, green, red, opacity; the colours already times the opacity.
            layer = np.zeros((*part.shape[:2], 4), np.uint8)
            for path, faded, thickness in (strokes[row] for row in visible.tolist()):
                cv2.polylines(layer, [path - (left, top)], False, faded, thickness, cv2.LINE_8)
            _blend(part, layer)


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


def _blend(part: NDArray[np.uint8], layer: NDArray[np.uint8]) -> None:
    """Lay a picture with opacity over a part of another one, where it is not empty."""
    # Flat indices of what is true: five times as fast as pairs, or as asking what is not zero.
    places = np.flatnonzero(layer.view(np.uint32)[..., 0] != 0)
    drawn = layer.reshape(-1, 4).take(places, 0).astype(np.uint16)
    flat = np.ascontiguousarray(part).reshape(-1, 3)
    below = flat.take(places, 0) * (255 - drawn[:, 3:])
    flat[places] = drawn[:, :3] + (below + 127) // 255
    part[:] = flat.reshape(part.shape)


class _Stroke(NamedTuple):
    """A part of a trail: its points, its colour and opacity, its width."""

    path: NDArray[np.int32]
    faded: list[float]
    thickness: int


def _strokes(path: NDArray[np.int32], color: Color, line_px: int) -> Iterator[_Stroke]:
    # Steps share their ends, or there would be gaps between them.
    steps = min(TRAIL_STEPS, len(path) - 1)
    cuts = np.linspace(0, len(path) - 1, steps + 1).round().astype(int).tolist() if steps > 0 else []
    for step, (first, last) in enumerate(pairwise(cuts), 1):
        opacity = TRAIL_OPACITY * step / steps
        faded = [*(opacity * channel for channel in color), 255 * opacity]
        thickness = max(1, round(line_px * (0.5 + 0.5 * opacity)))
        smooth = cv2.approxPolyDP(path[first : last + 1], thickness * TRAIL_ERROR, False)
        yield _Stroke(np.asarray(smooth, np.int32).reshape(-1, 2), faded, thickness)


def _corners(zone: ZoneCount) -> NDArray[np.int32]:
    return np.asarray(np.rint(zone.corners_xy), np.int32)


def _arrow(line: LineCount, length: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """From a line's middle to its right, as seen on the way from start to end."""
    start, end = np.array(line.start_xy), np.array(line.end_xy)
    along = end - start
    right = np.array((-along[1], along[0])) / max(float(np.hypot(*along)), 1e-6)
    points = (start + end) / 2, (start + end) / 2 + length * right
    (x1, y1), (x2, y2) = (np.rint(point).astype(int).tolist() for point in points)
    return (x1, y1), (x2, y2)
