"""Areas, edges that cross, and what of a line or polygon lies inside a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Point = tuple[float, float]

RELATIVE_EPSILON = 1e-9
"""Share of an extent below which a difference comes from rounding: 0.1, 0.2 and 0.3 are on one line."""


def area(corners: Sequence[Point]) -> float:
    """Give the area that a polygon encloses; 0 where its corners are on one line."""
    if not corners:
        return 0.0
    points = np.array(corners, np.float64)
    points -= points[0]
    doubled = abs(_cross(points, np.roll(points, -1, axis=0)).sum())
    return float(doubled) / 2 if doubled > RELATIVE_EPSILON * _extent(points) ** 2 else 0.0


def crossing_edges(corners: Sequence[Point]) -> tuple[int, int] | None:
    """Find two edges of a polygon that cross between their ends; touching is not crossing.

    Returns:
        Numbers of the corners at which they begin; None where there are none.
    """
    starts = np.array(corners, np.float64)
    ends = np.roll(starts, -1, axis=0)
    tolerance = RELATIVE_EPSILON * _extent(starts) ** 2
    for index in range(len(starts) - 1):
        start, end, others, their_ends = starts[index], ends[index], starts[index + 1 :], ends[index + 1 :]
        apart = _apart(start, end, others, their_ends, tolerance) & _apart(
            others, their_ends, start, end, tolerance
        )
        if apart.any():
            return index, index + 1 + int(apart.argmax())
    return None


def cut_to_frame(points: Sequence[Point], size_hw: tuple[int, int], edge_px: float) -> tuple[Point, ...]:
    """Cut off what of a polygon, or of a line given by its two ends, is not inside a frame.

    Args:
        points: In pixels.
        size_hw: Height and width of the frame.
        edge_px: Width of the strip along the frame's edge that is cut off too.

    Returns:
        The corners of what is left; none where nothing is.

    Source:
        Sutherland and Hodgman 1974: one side of the frame after the other.
    """
    height, width = size_hw
    for axis, limit in enumerate((width, height)):
        points = _cut(points, [point[axis] - edge_px for point in points])
        points = _cut(points, [limit - edge_px - point[axis] for point in points])
    return tuple(points)


def _cut(points: Sequence[Point], depths: Sequence[float]) -> list[Point]:
    """Keep what is at a depth above 0."""
    kept: list[Point] = []
    for index, (point, depth) in enumerate(zip(points, depths, strict=True)):
        before, depth_before = points[index - 1], depths[index - 1]
        if (depth > 0) != (depth_before > 0):
            share = depth_before / (depth_before - depth)
            kept.append(
                (before[0] + share * (point[0] - before[0]), before[1] + share * (point[1] - before[1]))
            )
        if depth > 0:
            kept.append(point)
    return kept


def _cross(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    return product


def _apart(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    tolerance: float,
) -> NDArray[np.bool_]:
    """Tell whether two points are on different sides of a line, and neither on it."""
    one, other = _cross(end - start, first - start), _cross(end - start, second - start)
    return (np.sign(one) * np.sign(other) < 0) & (np.minimum(abs(one), abs(other)) > tolerance)


def _extent(points: NDArray[np.float64]) -> float:
    return float(np.ptp(points, axis=0).max())
