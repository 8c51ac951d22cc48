"""Take a trained torchvision Mask R-CNN checkpoint to a camera on a Jetson, an x86 GPU or a bare CPU.

Example:
    `edgeseg export` has written the bundle `edgeseg-model`.

    >>> import cv2, edgeseg
    >>> model = edgeseg.load("edgeseg-model")
    >>> detections = model(cv2.imread("parts.png"))
    >>> detections.names
    ['bolt', 'nut', 'washer']
    >>> report = {"edgeseg": edgeseg.__version__, "found": detections.to_json()}
    >>> report["found"][0]["box_xyxy"]
    [4.0, 6.0, 20.0, 30.0]
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .errors import EdgeSegError

if TYPE_CHECKING:
    from .exporter.save import save_checkpoint
    from .runtime.model import Model, load
    from .streaming.stream import Stream, stream
    from .streaming.tracking import TrackConfig
    from .vision.detections import Detections

__version__ = "0.1.0"
__all__ = [
    "Detections",
    "EdgeSegError",
    "Model",
    "Stream",
    "TrackConfig",
    "__version__",
    "load",
    "save_checkpoint",
    "stream",
]

# TensorRT's messages are for users who turn logging on; without a handler Python would print them on stderr.
logging.getLogger(__name__).addHandler(logging.NullHandler())

# The runtime is imported at its first use, because NumPy and OpenCV take long to import. torch, which devices
# do not have, is only imported to save a checkpoint.
_LAZY = {
    "load": "runtime.model",
    "Model": "runtime.model",
    "Detections": "vision.detections",
    "stream": "streaming.stream",
    "Stream": "streaming.stream",
    "TrackConfig": "streaming.tracking",
    "save_checkpoint": "exporter.save",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        from .optional import broken_requirement, require

        if name == "save_checkpoint":
            require("torchvision", purpose="save a checkpoint")
        try:
            return getattr(import_module(f".{_LAZY[name]}", __name__), name)
        except Exception as exc:
            # A package that does not fit another one's version may raise any exception.
            if broken := broken_requirement(exc):
                raise broken from exc
            raise
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
