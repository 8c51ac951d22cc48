"""Drawing detections over a frame."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from edgeseg.errors import ConfigError, InputError

from .captions import Caption, draw_captions
from .palette import NEUTRAL, Color, color_from_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from .masks import MaskCrop

MASK_OPACITY = 0.45
# Captions and lines keep their size on the screen: in proportion to the frame, with a floor for small ones.
FONT_PER_SIDE = 1 / 48
MIN_FONT_PX = 11
LINE_PER_FONT = 1 / 9
# In line widths: smooths the steps of an outline and removes most of its points, and so most of its time.
OUTLINE_ERROR = 0.5
# Colours are blended strip by strip, so that the data stay in the processor's cache.
STRIP_BYTES = 1 << 21


class ColorBy(str, Enum):
    """Whether each class or each object has a colour of its own."""

    CLASS = "class"
    ID = "id"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawStyle:
    """What is drawn, and how.

    Attributes:
        color_by: What has a colour of its own. With `ID`, an object keeps its colour while it is tracked and
            is grey until it has an id; if nothing is tracked, the instances of a frame differ in colour.
        mask_opacity: Opacity of masks, from 0 (invisible) to 1 (hides the picture below).
        edges: Outline masks.
        boxes: Draw boxes.
        labels: Write class, track id and score beside each instance.
        trails: Draw where tracked objects have been.
        scene: Draw counting lines and zones with their counts.

    Example:
        >>> DrawStyle(color_by=ColorBy.ID, boxes=True).mask_opacity == DEFAULT_STYLE.mask_opacity
        True
    """

    color_by: ColorBy = ColorBy.CLASS
    mask_opacity: float = MASK_OPACITY
    edges: bool = True
    boxes: bool = False
    labels: bool = True
    trails: bool = True
    scene: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.mask_opacity <= 1:
            msg = f"mask_opacity must be within 0 and 1, got {self.mask_opacity}"
            raise ConfigError(msg)


DEFAULT_STYLE = DrawStyle()


class Instances(Protocol):
    """The part of `Detections` that is drawn; see there."""

    @property
    def boxes_xyxy(self) -> NDArray[np.float32]:
        """`float32[N, 4]`, in pixels of the frame."""

    @property
    def scores(self) -> NDArray[np.float32]:
        """`float32` of shape `[N]`, from 0 to 1."""

    @property
    def labels(self) -> NDArray[np.int32]:
        """`int32` of shape `[N]`, indices of classes from 1."""

    @property
    def masks(self) -> tuple[MaskCrop, ...]:
        """Mask of each instance, as a crop."""

    @property
    def frame_size_hw(self) -> tuple[int, int]:
        """Height and width of the frame, in pixels."""

    @property
    def track_ids(self) -> NDArray[np.int64] | None:
        """`int64` of shape `[N]`, as in `Detections`; None if nothing is tracked."""

    @property
    def names(self) -> list[str]:
        """Class name of each instance."""

    def __len__(self) -> int:
        """Number of instances, N."""


class Overlay(Protocol):
    """Something that is drawn over the instances and below the captions."""

    def draw(
        self, canvas: NDArray[np.uint8], color_by_id: Mapping[int, Color], line_px: int
    ) -> Sequence[Caption]:
        """Draw onto a picture, and return the captions that belong to what was drawn.

        Args:
            canvas: `uint8[H, W, 3]`, BGR; drawn on in place.
            color_by_id: Colours of the tracked instances, by track id.
            line_px: Width of lines, in pixels.
        """


def draw_detections(
    detections: Instances,
    frame: NDArray[np.uint8],
    style: DrawStyle = DEFAULT_STYLE,
    overlay: Overlay | None = None,
) -> NDArray[np.uint8]:
    """Draw masks, outlines and names over a copy of a frame.

    Args:
        detections: In pixels of this frame.
        frame: `uint8[H, W, 3]`, BGR; not changed.
        style: What to draw, and how.
        overlay: What else to draw, such as trails, lines and zones.

    Returns:
        `uint8[H, W, 3]`, BGR.

    Raises:
        InputError: The frame is not of the detections' size, or not `uint8` with three channels.

    Example:
        >>> import cv2, edgeseg
        >>> frame = cv2.imread("parts.png")
        >>> detections = edgeseg.load("edgeseg-model")(frame)
        >>> drawn = draw_detections(detections, frame, DrawStyle(boxes=True, labels=False))
        >>> drawn.shape, bool((drawn != frame).any())
        ((64, 96, 3), True)
    """
    check_frame(detections, frame)
    font_px = max(MIN_FONT_PX, round(min(frame.shape[:2]) * FONT_PER_SIDE))
    line_px = max(1, round(font_px * LINE_PER_FONT))
    colors = _colors(detections, style.color_by)
    canvas = frame.copy(order="C")
    _draw_instances(canvas, detections, colors, style, line_px)
    captions: list[Caption] = []
    if overlay is not None:
        captions += overlay.draw(canvas, _color_by_id(detections, colors), line_px)
    if style.labels:
        captions += _captions(detections, colors)
    draw_captions(canvas, captions, font_px)
    return canvas


def check_frame(detections: Instances, frame: NDArray[np.uint8]) -> None:
    """Check that a frame can be the one in which detections were found, by its size and type.

    Args:
        detections: Instances in pixels of their frame.
        frame: Must be `uint8[H, W, 3]` of the detections' size.

    Raises:
        InputError: The frame has another size or type.
    """
    if frame.shape[:2] != detections.frame_size_hw:
        size, expected = ("x".join(map(str, hw)) for hw in (frame.shape[:2], detections.frame_size_hw))
        msg = f"detections of a {expected} frame cannot be drawn on one of {size}"
        raise InputError(msg)
    if frame.dtype != np.uint8 or frame.shape[2:] != (3,):
        msg = f"a frame to draw on must be uint8[H, W, 3] in BGR, got {frame.dtype}{list(frame.shape)}"
        raise InputError(msg)


def _colors(detections: Instances, color_by: ColorBy) -> list[Color]:
    if color_by is ColorBy.CLASS:
        return [color_from_number(label) for label in detections.labels.tolist()]
    if detections.track_ids is None:
        return [color_from_number(row + 1) for row in range(len(detections))]
    return [color_from_number(track) if track else Color(*NEUTRAL) for track in detections.track_ids.tolist()]


def _color_by_id(detections: Instances, colors: Sequence[Color]) -> dict[int, Color]:
    if detections.track_ids is None:
        return {}
    return dict(zip(detections.track_ids.tolist(), colors, strict=True))


def _draw_instances(
    canvas: NDArray[np.uint8],
    detections: Instances,
    colors: Sequence[Color],
    style: DrawStyle,
    line_px: int,
) -> None:
    # Draw the instances with the highest scores last, so that they are on top.
    rows = [*zip(map(_outlines, detections.masks), colors, strict=True)][::-1]
    if style.mask_opacity:
        _tint(canvas, detections.masks[::-1], rows, style.mask_opacity)
    for outlines, color in rows if style.edges else ():
        smooth = [cv2.approxPolyDP(outline, OUTLINE_ERROR * line_px, True) for outline in outlines]
        cv2.polylines(canvas, smooth, isClosed=True, color=color, thickness=line_px, lineType=cv2.LINE_AA)
    if style.boxes:
        corners = np.rint(detections.boxes_xyxy).astype(int).tolist()
        for (x1, y1, x2, y2), color in [*zip(corners, colors, strict=True)][::-1]:
            cv2.rectangle(canvas, (x1, y1), (x2, y2), color, line_px)


def _outlines(mask: MaskCrop) -> Sequence[Any]:
    """Trace the outlines of a mask and its holes, in frame pixels; filled together, they leave holes free."""
    if not mask.pixels.size:
        return []
    corner = (mask.left, mask.top)
    return cv2.findContours(mask.pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=corner)[0]


def _tint(
    canvas: NDArray[np.uint8],
    masks: Sequence[MaskCrop],
    rows: Sequence[tuple[Sequence[Any], Color]],
    opacity: float,
) -> None:
    """Blend colours into a picture where masks are; where masks overlap, only the last one's colour shows."""
    spans = np.array([(mask.left, mask.top, *mask.pixels.shape[::-1]) for mask in masks]).reshape(-1, 4)
    spans[:, 2:] += spans[:, :2]
    step = max(STRIP_BYTES // canvas[0].nbytes, 1)
    for top in range(0, canvas.shape[0], step):
        visible = np.flatnonzero(
            (spans[:, 1] < top + step) & (spans[:, 3] > top) & (spans[:, 2] > spans[:, 0])
        )
        if not visible.size:
            continue
        left, right = int(spans[visible, 0].min()), int(spans[visible, 2].max())
        part = canvas[top : top + step, left:right]
        painted = part.copy()
        for row in visible.tolist():
            outlines, color = rows[row]
            cv2.fillPoly(painted, outlines, color, offset=(-left, -top))
        cv2.addWeighted(part, 1 - opacity, painted, opacity, 0, dst=part)


def _captions(detections: Instances, colors: Sequence[Color]) -> Iterator[Caption]:
    tracks = [0] * len(detections) if detections.track_ids is None else detections.track_ids.tolist()
    boxes, scores = detections.boxes_xyxy.tolist(), detections.scores.tolist()
    for name, track, score, color, box in zip(detections.names, tracks, scores, colors, boxes, strict=True):
        number = f"#{track}" if track else ""
        yield Caption(text=f"{name} {number} {score:.0%}", color=color, box_xyxy=tuple(box), short=number)
