"""The contract between a model and what computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDetections:
    """What a graph puts out, in input pixels; rows beyond an image's count are zero.

    Attributes:
        counts: `int32[B]`, detections of each image.
        boxes_xyxy: `float32[B, K, 4]`.
        scores: `float32[B, K]`, descending.
        labels: `int32[B, K]`.
        masks: `float32[B, K, S, S]`, probabilities.
    """

    counts: NDArray[np.int32]
    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int32]
    masks: NDArray[np.float32]

    def above(self, score_threshold: float) -> RawDetections:
        """Keep what scores above a threshold: for graphs that have only the one they were built with."""
        keep = (self.scores > score_threshold) & (np.arange(self.scores.shape[1]) < self.counts[:, None])
        return RawDetections(
            counts=keep.sum(1, dtype=np.int32),
            boxes_xyxy=self.boxes_xyxy * keep[..., None],
            scores=self.scores * keep,
            labels=self.labels * keep,
            masks=self.masks * keep[..., None, None],
        )


class Backend(Protocol):
    """Something that computes a graph. One instance may be called from several threads at once."""

    @property
    def description(self) -> str:
        """What computes and where, for people: `ONNX Runtime 1.20 on CPU`."""

    def __call__(self, images: NDArray[np.uint8], score_threshold: float) -> RawDetections:
        """Detect in a full batch.

        Args:
            images: `uint8[B, H, W, 3]`, letterboxed BGR; B, H and W as the spec has them.
            score_threshold: Only detections above it.

        Raises:
            InputError: Another shape or type.
            ArtifactError: Already closed, or the graph failed to compute.
        """

    def close(self) -> None:
        """Release the memory; harmless if done before."""
