"""Compare what a graph finds with what PyTorch finds, detection by detection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.spec import Lowering, ParityRow
from edgeseg.vision.boxes import pairwise_iou
from edgeseg.vision.masks import paste_masks
from edgeseg.vision.matching import match_by_overlap

if TYPE_CHECKING:
    from edgeseg.exporter.model.reference import ImageDetections

# A mask of fewer than 100 pixels cannot show an overlap of 0.99 and yet differ, so one pixel is let pass.
MAX_IGNORED_PX = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """Bounds within which results count as equal.

    Attributes:
        box_px: Largest difference of a coordinate, in input pixels.
        score: Largest difference of a score.
        mask_iou: Smallest overlap of two masks pasted into the input; a single pixel counts as none.
    """

    box_px: float = 0.5
    score: float = 0.005
    mask_iou: float = 0.99


@dataclass(slots=True, kw_only=True)
class ParityComparison:
    """Running comparison of one graph with the reference over images.

    Attributes:
        lowering: The graph.
        max_detections: K; a full list was cut there, and its last scores are no certain verdict.
        unsettled: Images whose NMS had not converged.
    """

    lowering: Lowering
    tolerances: Tolerances
    max_detections: int
    score_threshold: float
    size_hw: tuple[int, int]
    images: int = 0
    reference_detections: int = 0
    matched: int = 0
    missing: int = 0
    extra: int = 0
    unsettled: int = 0
    box_errors: list[float] = field(default_factory=list)
    score_errors: list[float] = field(default_factory=list)
    mask_ious: list[float] = field(default_factory=list)

    def add(self, reference: ImageDetections, found: ImageDetections) -> None:
        """Compare one image."""
        pairs = match_detections(reference, found)
        self.images += 1
        self.reference_detections += len(reference.scores)
        self.matched += len(pairs)
        self.missing += self._count_certain_misses(reference, found, {i for i, _ in pairs})
        self.extra += self._count_certain_misses(found, reference, {j for _, j in pairs})
        if not pairs:
            return
        reference_indices, found_indices = (np.array(side) for side in zip(*pairs, strict=True))
        self.box_errors.append(
            float(np.abs(reference.boxes_xyxy[reference_indices] - found.boxes_xyxy[found_indices]).max())
        )
        self.score_errors.append(
            float(np.abs(reference.scores[reference_indices] - found.scores[found_indices]).max())
        )
        self.mask_ious.append(min(self._mask_iou(reference, i, found, j) for i, j in pairs))

    def row(self) -> ParityRow:
        """Summarise the comparison."""
        return ParityRow(
            lowering=self.lowering,
            images=self.images,
            reference_detections=self.reference_detections,
            matched=self.matched,
            missing=self.missing,
            extra=self.extra,
            unsettled=self.unsettled,
            max_box_error_px=max(self.box_errors, default=0.0),
            max_score_error=max(self.score_errors, default=0.0),
            min_mask_iou=min(self.mask_ious, default=1.0),
        )

    def passed(self) -> bool:
        """Whether nothing is missing, nothing is extra, and every difference is within the bounds."""
        row = self.row()
        return (
            row.missing == row.extra == row.unsettled == 0
            and row.max_box_error_px <= self.tolerances.box_px
            and row.max_score_error <= self.tolerances.score
            and row.min_mask_iou >= self.tolerances.mask_iou
        )

    def _count_certain_misses(self, one: ImageDetections, other: ImageDetections, matched: set[int]) -> int:
        """Count detections of `one` without a partner whose score leaves no doubt that there must be one.

        A score within the bound of the threshold, or of the last place of a full list, may fall either way.
        """
        full = len(other.scores) == self.max_detections
        lowest_certain_score = (
            max(self.score_threshold, float(other.scores.min()) if full else 0.0) + self.tolerances.score
        )
        return sum(score > lowest_certain_score for i, score in enumerate(one.scores) if i not in matched)

    def _mask_iou(self, reference: ImageDetections, i: int, found: ImageDetections, j: int) -> float:
        # Both go into the reference's box: pasting rounds boxes to pixels, and they have their own bound.
        masks = np.stack((reference.masks[i], found.masks[j]))
        one, other = paste_masks(masks, reference.boxes_xyxy[[i, i]], self.size_hw)
        if np.count_nonzero(one ^ other) <= MAX_IGNORED_PX:
            return 1.0
        return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


def match_detections(reference: ImageDetections, found: ImageDetections) -> list[tuple[int, int]]:
    """Pair detections of one label one to one, the nearest boxes first."""
    overlaps = pairwise_iou(reference.boxes_xyxy, found.boxes_xyxy)
    return match_by_overlap(overlaps, reference.labels, found.labels)
