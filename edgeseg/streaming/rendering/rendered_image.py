"""The picture of a frame as people see it: redacted, and with what was found drawn over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeseg.vision.drawing import DEFAULT_STYLE, DrawStyle, draw_detections

from .redaction import Redaction, redact
from .scene_overlay import SceneOverlay

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgeseg.streaming.results import FrameResult


class Renderer:
    """Renders results.

    Args:
        style: What is drawn.
        redaction: How hidden objects are made unrecognisable.
    """

    def __init__(self, style: DrawStyle = DEFAULT_STYLE, redaction: Redaction = Redaction.BLUR) -> None:
        self._style, self._redaction = style, redaction

    def __call__(self, result: FrameResult) -> NDArray[np.uint8]:
        """Draw a frame: `uint8[H, W, 3]`, BGR; the frame stays as it is."""
        image = result.frame.image
        if result.hidden is not None:
            image = redact(image, result.hidden, self._redaction)
        overlay = None if result.scene is None else SceneOverlay(result.scene, self._style)
        return draw_detections(result.detections, image, self._style, overlay)
