"""Check that the measured graph finds what the runtime finds; otherwise its ranges are of other numbers.

They would look plausible and make a model that is a little worse, which nobody would notice; here it is an
error.
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

# The graph with its inner values as outputs is fused otherwise, which rounds otherwise: about 0.01 px.
MAX_BOX_ERROR_PX = 0.5
MAX_SCORE_ERROR = 0.005


def runtime_detections(bundle: Bundle, images: NDArray[np.uint8]) -> RawDetections:
    """Run the runtime's own FP32 backend on `uint8[B, H, W, 3]`; it is closed again afterwards."""
    backend = OnnxRuntimeBackend(bundle.graph_path(Lowering.PORTABLE), bundle.spec)
    try:
        return backend(images, bundle.spec.score_threshold)
    finally:
        backend.close()


def check_detections(found: RawDetections, expected: RawDetections, spec: ModelSpec, where: str) -> None:
    """Check that the measured graph finds what the runtime finds.

    Only detections that differ by rounding may lack a partner: those at the threshold, and at the cut.

    Raises:
        CalibrationError: It does not.
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
    """Count detections of one that differ from all of the other by more than rounding does."""
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
