"""Which detection of one network is which of another's, on the same image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Two boxes of one label that overlap less than this are not the same detection.
SAME_OBJECT_IOU = 0.5


class Found(NamedTuple):
    """What was found in one image.

    Attributes:
        boxes_xyxy: `float32[N, 4]`.
        scores: `float32[N]`.
        labels: `int[N]`.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.integer[Any]]


def match_by_overlap(
    overlaps: NDArray[np.float64], labels: NDArray[np.integer[Any]], other_labels: NDArray[np.integer[Any]]
) -> list[tuple[int, int]]:
    """Pair detections of one label one to one, the largest overlaps first.

    Args:
        overlaps: `float64[N, M]`, intersection over union of the boxes.
        labels: `int[N]`.
        other_labels: `int[M]`.

    Returns:
        Rows and their columns, in the order of the rows; those that overlap less than `SAME_OBJECT_IOU` have
        none.

    Example:
        >>> match_by_overlap(np.array([[0.9, 0.8], [0.7, 0.1]]), np.array([1, 1]), np.array([1, 1]))
        [(0, 0)]
    """
    candidates = np.argwhere((overlaps >= SAME_OBJECT_IOU) & (labels[:, None] == other_labels))
    nearest_first = candidates[np.argsort(-overlaps[tuple(candidates.T)], kind="stable")]
    matches: dict[int, int] = {}
    taken: set[int] = set()
    for row, column in nearest_first.tolist():
        if row not in matches and column not in taken:
            matches[row] = column
            taken.add(column)
    return sorted(matches.items())


def has_equal(
    found: Found, other: Found, *, max_box_error_px: float, max_score_error: float
) -> NDArray[np.bool_]:
    """Say of each detection whether one of the others is the same but for rounding: `bool[N]`.

    Several may have the same equal, so two lists agree only if each is found in the other.

    Args:
        found: N detections.
        other: M detections.
        max_box_error_px: Largest difference of a coordinate.
        max_score_error: Largest difference of a score.
    """
    box_errors = np.abs(found.boxes_xyxy[:, None] - other.boxes_xyxy[None]).max(-1)
    score_errors = np.abs(found.scores[:, None] - other.scores)
    equal = (box_errors <= max_box_error_px) & (score_errors <= max_score_error)
    has: NDArray[np.bool_] = (equal & (found.labels[:, None] == other.labels)).any(1)
    return has
