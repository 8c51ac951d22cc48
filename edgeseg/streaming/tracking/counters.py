"""All lines and zones of one source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lines import LineCounter, LineState
from .zones import ZoneCounter, ZoneState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeseg.streaming.results import LineCount, ZoneCount

    from .config import TrackConfig
    from .objects import TrackedObject
    from .polygons import Point


class Counters:
    """Counts objects at every line and in every zone.

    Args:
        config: Has the lines and zones.
        size_hw: Of the first frame; every position is in its pixels.

    Attributes:
        remarks: A sentence for each line and zone that counts nothing, because no object gets there.
    """

    def __init__(self, config: TrackConfig, size_hw: tuple[int, int]) -> None:
        self._lines = [LineCounter(line, n, size_hw) for n, line in enumerate(config.lines, start=1)]
        self._zones = [ZoneCounter(zone, n, size_hw) for n, zone in enumerate(config.zones, start=1)]
        remarks = [line.remark for line in self._lines] + [zone.remark for zone in self._zones]
        self.remarks = [remark for remark in remarks if remark]

    def register(self, item: TrackedObject) -> None:
        """Make a new object known to every line and zone."""
        item.line_states = tuple(LineState() for _ in self._lines)
        item.zone_states = tuple(ZoneState() for _ in self._zones)

    def follow(self, item: TrackedObject, at_xy: Point, size_px: float) -> None:
        """Note where an object is now; what it did before it was confirmed counts as soon as it is.

        Args:
            item: Changed.
            at_xy: Its centre.
            size_px: Mean of its width and height.
        """
        for line, line_state in zip(self._lines, item.line_states, strict=True):
            line.follow(line_state, at_xy, size_px)
            if item.track_id:
                line.count(line_state)
        for zone, zone_state in zip(self._zones, item.zone_states, strict=True):
            zone.follow(zone_state, at_xy, size_px)
            if item.track_id:
                zone.count(zone_state)

    def lines(self, scale_xy: Point) -> tuple[LineCount, ...]:
        """Give the counts of the lines; `scale_xy` makes the current frame's pixels of the first one's."""
        return tuple(line.state(scale_xy) for line in self._lines)

    def zones(self, items: Sequence[TrackedObject], scale_xy: Point) -> tuple[ZoneCount, ...]:
        """Give the counts of the zones, with those of the items that are in them now."""
        return tuple(
            zone.state(sum(item.zone_states[index].inside for item in items), scale_xy)
            for index, zone in enumerate(self._zones)
        )
