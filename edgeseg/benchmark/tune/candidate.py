"""What is searched: shapes of a network, and engines that compute it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edgeseg.bundle.engines import Precision, Target
from edgeseg.exporter.profiles import scaled_size

# Of the full size. A step is a fifth to a third of the work.
SIZE_SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
# Besides the model's own number.
PROPOSALS = (300, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What an export fixes.

    Attributes:
        size_hw: Height and width of the network's input, in pixels.
        max_proposals: Largest number of proposals per image.
    """

    size_hw: tuple[int, int]
    max_proposals: int

    def fits_within(self, other: Shape) -> bool:
        """Whether it is nowhere larger than another, and so takes no more work."""
        sides = zip(self.size_hw, other.size_hw, strict=True)
        return all(one <= two for one, two in sides) and self.max_proposals <= other.max_proposals

    def __str__(self) -> str:
        return f"{self.size_hw[0]} x {self.size_hw[1]}, {self.max_proposals} proposals"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A shape on an engine.

    Attributes:
        threads: Number of threads of one call.
    """

    shape: Shape
    target: Target
    precision: Precision
    threads: int

    @property
    def engine(self) -> str:
        """Such as `openvino int8`."""
        return f"{self.target.value} {self.precision.value}"

    def same_engine(self, other: Candidate) -> bool:
        """Whether another differs in shape alone."""
        engine_key = (self.target, self.precision, self.threads)
        return engine_key == (other.target, other.precision, other.threads)

    def __str__(self) -> str:
        return f"{self.engine}, {self.shape}, {self.threads} thread{'s' if self.threads > 1 else ''}"


class CandidateState(str, Enum):
    """How much of a candidate is known."""

    MEASURED = "measured"
    TIMED = "timed"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeOffPoint:
    """A candidate and what was measured of it.

    Attributes:
        latency_ms: Median of a call, frames in to masks out; None if it was not timed.
        box_ap: In points, 0 to 100; None if it was not scored.
        mask_ap: The same of masks.
        lost: Points against the reference, of boxes or of masks, whichever lost more; below 0 for a gain.
        remark: Why something is missing, or where it is from.
    """

    candidate: Candidate
    state: CandidateState
    latency_ms: float | None = None
    box_ap: float | None = None
    mask_ap: float | None = None
    lost: float | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class ShapeGrid:
    """All shapes: every size with every number of proposals, both largest first."""

    sizes_hw: tuple[tuple[int, int], ...]
    proposals: tuple[int, ...]

    @property
    def largest(self) -> Shape:
        """The model as it is."""
        return self.shape_at(0, 0)

    @property
    def smallest(self) -> Shape:
        """The fastest: where it is too slow, all are."""
        return self.shape_at(-1, -1)

    def shape_at(self, size: int, proposals: int) -> Shape:
        """Take a shape by its places."""
        return Shape(size_hw=self.sizes_hw[size], max_proposals=self.proposals[proposals])

    def coarse_shapes(self) -> tuple[Shape, ...]:
        """Both ends and the middle: the fastest first, then the largest, so that limits are met early."""
        middle = len(self.sizes_hw) // 2
        grid_indices = [(-1, -1), (0, 0), (middle, 0), (middle, -1), (0, -1), (-1, 0)]
        return tuple(dict.fromkeys(self.shape_at(*place) for place in grid_indices))

    def neighbours(self, shape: Shape) -> tuple[Shape, ...]:
        """Name the shapes one step away, diagonally too."""
        row, column = self.sizes_hw.index(shape.size_hw), self.proposals.index(shape.max_proposals)
        return tuple(
            self.shape_at(size, number)
            for size in range(max(0, row - 1), min(len(self.sizes_hw), row + 2))
            for number in range(max(0, column - 1), min(len(self.proposals), column + 2))
            if (size, number) != (row, column)
        )


def shape_grid(size_hw: tuple[int, int], own_proposals: int) -> ShapeGrid:
    """Make the grid of a full size and the model's own number of proposals."""
    sizes = dict.fromkeys(scaled_size(size_hw, share) for share in SIZE_SHARES[1:])
    return ShapeGrid(
        tuple(dict.fromkeys((size_hw, *sizes))),
        (own_proposals, *(number for number in PROPOSALS if number < own_proposals)),
    )
