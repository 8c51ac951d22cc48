"""Counting what is in a zone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..results import ZoneCount
from .regions import scaled

if TYPE_CHECKING:
    from .regions import Point, Zone


@dataclass(slots=True, kw_only=True)
class Stay:
    """One object and one zone.

    Attributes:
        inside: It is in it now.
        ever: It has been in it.
        counted: The counter has that.
    """

    inside: bool = False
    ever: bool = False
    counted: bool = False


class ZoneCounter:
    """Counts what is and has been in a zone, once an object.

    Args:
        zone: As the user gave it.
        number: From 1, for its name.
        size_hw: Of the first frame; every position is in its pixels.
    """

    def __init__(self, zone: Zone, number: int, size_hw: tuple[int, int]) -> None:
        self._name = zone.name or f"zone {number}"
        self._corners = zone.points_in(size_hw)
        self._outline = np.array(self._corners, np.float32)
        self._entered = 0

    def follow(self, stay: Stay, at_xy: Point) -> None:
        """Bring a stay up to where its object is now; the zone's edge belongs to it."""
        stay.inside = cv2.pointPolygonTest(self._outline, at_xy, measureDist=False) >= 0
        stay.ever |= stay.inside

    def count(self, stay: Stay) -> None:
        """Add an object that has been in it and is not counted yet."""
        self._entered += stay.ever and not stay.counted
        stay.counted = stay.ever

    def state(self, inside: int, scale_xy: Point) -> ZoneCount:
        """Give the counts, and the corners in the current frame: the first one's pixels times the scale."""
        return ZoneCount(
            name=self._name,
            corners_xy=tuple(scaled(corner, scale_xy) for corner in self._corners),
            inside=inside,
            entered=self._entered,
        )
