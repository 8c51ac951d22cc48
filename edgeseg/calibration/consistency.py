"""Check that the measured graph finds what the runtime finds.

If it did not, its ranges would belong to other numbers. They would look plausible and make the model slightly
worse, which would go unnoticed, so a difference is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeseg.errors import CalibrationError
from edgeseg.runtime.backends.onnxruntime import OnnxRuntimeBackend
from edgeseg.spec import Lowering
from edgeseg.vision.matching import Found, has_equal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.runtime.contract import RawDetections
    from edgeseg.spec import ModelSpec

# Inner values that are outputs prevent some fusions, which changes rounding: boxes differ by about 0.01 px.
MAX_BOX_ERROR_PX = 0.5
MAX_SCORE_ERROR = 0.005


def runtime_detections(bundle: Bundle, images: NDArray[np.uint8]) -> RawDetections:
    """Run the runtime's own FP32 backend on `uint8[B, H, W, 3]` and close it again."""
    backend = OnnxRuntimeBackend(bundle.graph_path(Lowering.PORTABLE), bundle.spec)
    try:
        return backend(images, bundle.spec.score_threshold)
    finally:
        backend.close()


def check_detections(found: RawDetections, expected: RawDetections, spec: ModelSpec, where: str) -> None:
    """Check that the measured graph finds what the runtime finds.

    A detection may lack a counterpart only where rounding decides whether it is kept: close to the score
    threshold, or close to the lowest score where the number of detections is at its limit.

    Raises:
        CalibrationError: Some detections differ by more than rounding.
    """
    for image in range(spec.batch):
        for one, other in ((found, expected), (expected, found)):
            if alone := _count_unmatched(one, other, image, spec):
                msg = (
                    f"the graph that is measured must find what the runtime finds on {where}, and {alone} of "
                    f"{int(expected.counts[image])} detections differ by more than {MAX_BOX_ERROR_PX} px or "
                    f"a score of {MAX_SCORE_ERROR}; please report it"
                )
                raise CalibrationError(msg)


def _count_unmatched(raw: RawDetections, other_raw: RawDetections, image: int, spec: ModelSpec) -> int:
    """Count the detections in `raw` that match none in `other_raw` within the rounding tolerances."""
    found, other = _found(raw, image), _found(other_raw, image)
    floor = spec.score_threshold + MAX_SCORE_ERROR
    if max(len(found.scores), len(other.scores)) == spec.max_detections:
        cut = float(min(found.scores.min(initial=1), other.scores.min(initial=1)))
        floor = max(floor, cut + MAX_SCORE_ERROR)
    matched = has_equal(found, other, max_box_error_px=MAX_BOX_ERROR_PX, max_score_error=MAX_SCORE_ERROR)
    return int((~matched & (found.scores > floor)).sum())


def _found(raw: RawDetections, image: int) -> Found:
    rows = slice(int(raw.counts[image]))
    return Found(raw.boxes_xyxy[image, rows], raw.scores[image, rows], raw.labels[image, rows])
