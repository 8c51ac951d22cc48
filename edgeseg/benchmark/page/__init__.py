"""A benchmark as one HTML page that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from .document import write_page
from .images import read_images

__all__ = ["read_images", "write_page"]
