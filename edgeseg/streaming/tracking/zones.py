"""Counting what is in a zone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgeseg.streaming.results import ZoneCount

from .regions import remark_if_outside, scaled
from .side import Side

if TYPE_CHECKING:
    from .polygons import Point
    from .regions import Zone


@dataclass(slots=True, kw_only=True)
class ZoneState:
    """The state of one object at one zone.

    Attributes:
        side: Its sign is 1 inside. Every object comes from outside, from afar: one that is first seen within
            the zone has entered it.
        has_entered: It has been in it.
        counted: The counter has that.
    """

    side: Side = field(default_factory=lambda: Side(sign=-1, reach_px=math.inf))
    has_entered: bool = False
    counted: bool = False

    @property
    def inside(self) -> bool:
        """It is in it now."""
        return self.side.sign > 0


class ZoneCounter:
    """Counts what is and has been in a zone, once an object.

    Args:
        zone: As the user gave it.
        number: From 1, for its name.
        size_hw: Of the first frame; every position is in its pixels.

    Attributes:
        remark: Why it counts nothing; None where it may count.
    """

    def __init__(self, zone: Zone, number: int, size_hw: tuple[int, int]) -> None:
        self._name = zone.name or f"zone {number}"
        what = f"zone {zone.name!r}" if zone.name else self._name
        self._corners = zone.points_in(size_hw)
        self._outline = np.array(self._corners, np.float32)
        self._entered = 0
        self.remark = remark_if_outside(what, self._corners, size_hw)

    def follow(self, zone_state: ZoneState, at_xy: Point, size_px: float) -> None:
        """Update the state of an object at this zone; the zone's edge belongs to the zone.

        Args:
            zone_state: Of this object and this zone; changed.
            at_xy: Its centre.
            size_px: Mean of the width and the height of its box.
        """
        zone_state.side.follow(cv2.pointPolygonTest(self._outline, at_xy, measureDist=True), size_px)
        zone_state.has_entered |= zone_state.inside

    def count(self, zone_state: ZoneState) -> None:
        """Add an object that has been in it and is not counted yet."""
        self._entered += zone_state.has_entered and not zone_state.counted
        zone_state.counted = zone_state.has_entered

    def state(self, inside: int, scale_xy: Point) -> ZoneCount:
        """Give the counts, and the corners in the current frame: the first one's pixels times the scale."""
        return ZoneCount(
            name=self._name,
            corners_xy=tuple(scaled(corner, scale_xy) for corner in self._corners),
            inside=inside,
            entered=self._entered,
        )
