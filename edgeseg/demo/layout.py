"""Where parts lie on the endless belt: touching, overlapping, never wholly hidden."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np

from .parts import PART_NAMES

RADIUS_PX: dict[str, tuple[float, float]] = {
    "washer": (23.0, 36.0),
    "bolt": (42.0, 60.0),
    "nut": (21.0, 31.0),
    "gear": (34.0, 52.0),
    "bracket": (42.0, 58.0),
}
"""Smallest and largest radius of each part on a frame 480 pixels high."""

CLUSTER_SHARE = 0.45
"""Share of the parts dropped onto or against an earlier one."""

MIN_CENTRE_DISTANCE = 0.62
"""Two parts' centres stay this fraction of their summed radii apart, so that no part hides another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One part on the belt.

    Attributes:
        track_id: 1-based, in the order the parts were dropped; later parts lie on top.
        label: 1-based index into `PART_NAMES`.
        along_px: Centre along the belt, in pixels against the direction of travel.
        across_px: Centre across the belt: the image row.
        radius_px: Distance from the centre to the farthest point of the part.
        angle_rad: Rotation.
        seed: Seed of the part's proportions and finish.
    """

    track_id: int
    label: int
    along_px: float
    across_px: float
    radius_px: float
    angle_rad: float
    seed: int


class BeltLayout:
    """Parts along the belt, drawn in order as far as they are needed, so any frame can be asked for first."""

    def __init__(
        self, *, seed: int, start_px: float, rows_px: tuple[float, float], unit: float, spacing_px: float
    ) -> None:
        """Start an empty belt.

        Args:
            seed: The same seed gives the same parts.
            start_px: Where along the belt the first part may lie.
            rows_px: First and last image row that a part may touch.
            unit: Scale of the parts; 1 on a frame 480 pixels high.
            spacing_px: Mean length of belt per part, before scaling.
        """
        self._rng = np.random.default_rng([seed, 1])
        self._rows_px = rows_px
        self._unit = unit
        self._spacing_px = spacing_px * unit
        self._front_px = start_px
        self._placed: list[Placement] = []
        self._fronts_px: list[float] = []

    @property
    def reach_px(self) -> float:
        """Largest radius a part can have, in pixels."""
        return max(high for _, high in RADIUS_PX.values()) * self._unit

    def between(self, first_px: float, last_px: float) -> list[Placement]:
        """Parts whose extent meets a stretch of belt.

        Args:
            first_px: Start of the stretch along the belt.
            last_px: End of the stretch.

        Returns:
            The parts in the order they were dropped.
        """
        while self._front_px < last_px + 4 * self.reach_px:
            self._drop()
        # A part lies within three radii of the front it was dropped at, so a long run need not be searched.
        start = bisect_left(self._fronts_px, first_px - 4 * self.reach_px)
        stop = bisect_right(self._fronts_px, last_px + 4 * self.reach_px)
        neighbour = self._placed[start:stop]
        return [p for p in neighbour if first_px - p.radius_px <= p.along_px <= last_px + p.radius_px]

    def _drop(self) -> None:
        self._front_px += float(self._rng.exponential(self._spacing_px))
        label = int(self._rng.integers(1, len(PART_NAMES) + 1))
        low, high = RADIUS_PX[PART_NAMES[label - 1]]
        radius = float(self._rng.uniform(low, high)) * self._unit
        recent = self._placed[-14:]
        for _ in range(12):
            along, across = self._candidate(radius, recent)
            if self._fits(along, across, radius, recent):
                self._place(label, along, across, radius)
                return

    def _candidate(self, radius: float, recent: list[Placement]) -> tuple[float, float]:
        if recent and self._rng.random() < CLUSTER_SHARE:
            neighbour = recent[int(self._rng.integers(max(0, len(recent) - 5), len(recent)))]
            bearing = self._rng.uniform(0, 2 * np.pi)
            gap = (neighbour.radius_px + radius) * self._rng.uniform(MIN_CENTRE_DISTANCE, 1.02)
            return neighbour.along_px + float(gap * np.cos(bearing)), neighbour.across_px + float(
                gap * np.sin(bearing)
            )
        top, bottom = self._rows_px
        return self._front_px, float(self._rng.uniform(top + radius, bottom - radius))

    def _fits(self, along: float, across: float, radius: float, recent: list[Placement]) -> bool:
        top, bottom = self._rows_px
        if not top + radius <= across <= bottom - radius or abs(along - self._front_px) > 3 * self.reach_px:
            return False
        apart = (np.hypot(p.along_px - along, p.across_px - across) / (p.radius_px + radius) for p in recent)
        ratios = sorted(apart)[:3]
        # At most two neighbours may overlap a part, or the pile hides what lies below.
        return not ratios or (ratios[0] >= MIN_CENTRE_DISTANCE and (len(ratios) < 3 or ratios[2] >= 0.95))

    def _place(self, label: int, along: float, across: float, radius: float) -> None:
        self._fronts_px.append(self._front_px)
        self._placed.append(
            Placement(
                track_id=len(self._placed) + 1,
                label=label,
                along_px=along,
                across_px=across,
                radius_px=radius,
                angle_rad=float(self._rng.uniform(0, 2 * np.pi)),
                seed=int(self._rng.integers(2**31)),
            )
        )
