"""What is remembered of each object, and how many there have been."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .lines import LineState
from .smoothing import SoftMask
from .zones import ZoneState

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray

    from .polygons import Point

MAX_TRAIL_POINTS = 256


@dataclass(slots=True, kw_only=True, eq=False)
class TrackedObject:
    """One object as long as it is followed.

    Attributes:
        line_states: One for each line.
        zone_states: One for each zone.
        track_id: From 1; 0 until it is confirmed.
        seen_frames: Frames that showed it above the score threshold.
        votes: Label to the sum of the scores it was found with.
        trail: Where its centre was: time in seconds, x and y in pixels of the first frame.
        soft_mask: Mean of its masks over time, where masks are smoothed.
    """

    line_states: tuple[LineState, ...] = ()
    zone_states: tuple[ZoneState, ...] = ()
    track_id: int = 0
    seen_frames: int = 0
    votes: dict[int, float] = field(default_factory=dict)
    trail: deque[tuple[float, float, float]] = field(default_factory=lambda: deque(maxlen=MAX_TRAIL_POINTS))
    soft_mask: SoftMask | None = None

    @property
    def label(self) -> int:
        """The class it was found as most: a detector's single mistakes do not turn a bolt into a nut."""
        return max(self.votes, key=lambda label: self.votes[label])

    def move(self, now_s: float, at_xy: Point, trail_s: float) -> None:
        """Lengthen the trail, and cut what is older than `trail_s`."""
        self.trail.append((now_s, *at_xy))
        while now_s - self.trail[0][0] > trail_s:
            self.trail.popleft()

    def path(self, scale_xy: Point) -> NDArray[np.float32]:
        """Give the trail as `float32[P, 2]` in pixels of the current frame, the newest last."""
        points = np.array(self.trail, np.float32)[:, 1:]
        return points * np.array(scale_xy, np.float32)


class ObjectRegistry:
    """The objects that are followed now, and how many there have been.

    Attributes:
        entered: Objects that have had a number.
        left: Those of them that are gone.
    """

    def __init__(self) -> None:
        self.entered = 0
        self.left = 0
        self._objects: dict[Hashable, TrackedObject] = {}
        self._gone_by_label: Counter[int] = Counter()

    def __getitem__(self, key: Hashable) -> TrackedObject:
        return self._objects[key]

    @property
    def confirmed(self) -> list[TrackedObject]:
        """Those with a number, in its order."""
        numbered = [item for item in self._objects.values() if item.track_id]
        return sorted(numbered, key=lambda item: item.track_id)

    @property
    def by_label(self) -> Counter[int]:
        """Objects so far, each under the class it was found as most."""
        return self._gone_by_label + Counter(item.label for item in self.confirmed)

    def add(self, key: Hashable, item: TrackedObject) -> None:
        """Follow a new object."""
        self._objects[key] = item

    def __contains__(self, key: Hashable) -> bool:
        return key in self._objects

    def confirm(self, item: TrackedObject) -> None:
        """Give an object the next number."""
        self.entered += 1
        item.track_id = self.entered

    def keep(self, keys: set[Hashable]) -> None:
        """Forget every object but these."""
        for key in self._objects.keys() - keys:
            item = self._objects.pop(key)
            if item.track_id:
                self.left += 1
                self._gone_by_label[item.label] += 1
