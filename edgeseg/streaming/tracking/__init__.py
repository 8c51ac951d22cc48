"""One number for each object over time, and what it does: trails, lines it crosses, zones it enters."""

from __future__ import annotations

from .config import LOWEST_SCORE, TrackConfig
from .regions import Line, Zone, parse_line, parse_zone
from .tracker import SceneTracker

__all__ = ["LOWEST_SCORE", "Line", "SceneTracker", "TrackConfig", "Zone", "parse_line", "parse_zone"]
