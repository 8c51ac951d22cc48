"""Take a trained torchvision Mask R-CNN checkpoint to a camera on a Jetson, an x86 GPU or a bare CPU."""

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

# What TensorRT remarks is for those who ask for logs; without a handler Python would print it on stderr.
logging.getLogger(__name__).addHandler(logging.NullHandler())

# NumPy and OpenCV take longer to import than `import edgeseg` may, so the runtime comes at first use; and
# torch, which a device does not have, only where a checkpoint is saved.
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
            # What does not fit another version raises whatever it does.
            if broken := broken_requirement(exc):
                raise broken from exc
            raise
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
