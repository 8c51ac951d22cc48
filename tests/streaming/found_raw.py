"""What a graph puts out, made by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeseg.runtime.contract import RawDetections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgeseg.spec import ModelSpec


def raw_detections(spec: ModelSpec, widths: NDArray[np.uint8] | Sequence[float]) -> RawDetections:
    """One instance of the first class an image, from 5 px to 10 px plus its width; the rest is padding."""
    batch, rows, side = spec.batch, spec.max_detections, spec.mask_size
    raw = RawDetections(
        counts=np.ones(batch, np.int32),
        boxes_xyxy=np.zeros((batch, rows, 4), np.float32),
        scores=np.zeros((batch, rows), np.float32),
        labels=np.zeros((batch, rows), np.int32),
        masks=np.zeros((batch, rows, side, side), np.float32),
    )
    raw.boxes_xyxy[:, 0] = (5, 5, 10, 20)
    raw.boxes_xyxy[:, 0, 2] += widths
    raw.scores[:, 0], raw.labels[:, 0], raw.masks[:, 0] = 0.9, 1, 1
    return raw
