"""On which side of a border an object is, without flicker where it stands on the border."""

from __future__ import annotations

from dataclasses import dataclass

MIN_TRAVEL = 0.3
MAX_TRAVEL = 0.6
"""Shares of its size that an object must travel to another side: with a steady centre, and at most."""

TRAVEL_PER_JITTER = 3.5
JITTER_RISE = 1 / 8
JITTER_FALL = 1 / 64
"""How far an unsteady centre must travel. Jitter rises fast, as noise may begin when an object stops, and
falls slowly. Noise with a standard deviation of s asks for a travel of 11.7 s on average; the farthest two of
1,200 places (40 s at 30 frames a second) are about 6.5 s apart, hardly ever 9 s. A jump, of an object that is
fast or was unseen, asks for less than half its own length. With a rise of 1/4, a travel of up to the whole
size lost 3 of 582 crossings in real clips, at every fifth frame."""


@dataclass(slots=True, kw_only=True)
class Side:
    """The side of a border on which an object is.

    The centre of an object that stands still moves with its mask. So the side changes only once the centre is
    beyond the border and has travelled some way from the farthest place where it was on the side before: 0.3
    of the object's size, or more where the centre is unsteady. What comes from further away has done
    so when it reaches the border; what stands on the border, wherever exactly, never does.

    Attributes:
        sign: 1 or -1, as the sign of the distance; 0 as long as the object has been on the border only.
        reach_px: The farthest from the border that it has been on this side.
        jitter_px: How much its step changes from one frame to the next: a running mean.
        distance_px: Where it was last.
        step_px: How it got there.
    """

    sign: int = 0
    reach_px: float = 0.0
    jitter_px: float = 0.0
    distance_px: float | None = None
    step_px: float | None = None

    def follow(self, distance_px: float, size_px: float, margin_px: float = 0.0) -> bool:
        """Bring it up to where the object is now.

        Args:
            distance_px: Of its centre from the border, negative on the one side; 0 belongs to the other.
            size_px: Mean of the width and the height of its box.
            margin_px: How far beyond the border it must be at least to have changed sides.

        Returns:
            Whether it has changed sides.
        """
        self._update_jitter(distance_px)
        sign, depth_px = (1 if distance_px >= 0 else -1), abs(distance_px)
        if not self.sign and depth_px:
            self.sign = sign
        if sign * self.sign >= 0:
            self.reach_px = max(self.reach_px, depth_px)
            return False
        unsteady_px = min(TRAVEL_PER_JITTER * self.jitter_px, MAX_TRAVEL * size_px)
        travel_px = max(MIN_TRAVEL * size_px, unsteady_px)
        changed = depth_px >= margin_px and self.reach_px + depth_px >= travel_px
        if changed:
            self.sign, self.reach_px = sign, depth_px
        return changed

    def _update_jitter(self, distance_px: float) -> None:
        """Note how steadily it moves."""
        step_px = None if self.distance_px is None else distance_px - self.distance_px
        if step_px is not None and self.step_px is not None:
            surplus_px = abs(step_px - self.step_px) - self.jitter_px
            self.jitter_px += surplus_px * (JITTER_RISE if surplus_px > 0 else JITTER_FALL)
        self.distance_px, self.step_px = distance_px, step_px
