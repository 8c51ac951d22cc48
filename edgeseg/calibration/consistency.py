"""Check that calibration sees what the runtime sees; otherwise its ranges are of other numbers.

A swapped channel or a forgotten division by 255 leaves plausible ranges behind and a model that is a little
worse, which nobody would notice; here it is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.errors import CalibrationError
from edgeseg.runtime.backends.onnxruntime import OnnxRuntimeBackend
from edgeseg.runtime.contract import no_detections
from edgeseg.runtime.model import Model
from edgeseg.spec import Lowering

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.runtime.contract import RawDetections
    from edgeseg.spec import ModelSpec

# The graph with its inner values as outputs is fused otherwise, which rounds otherwise: about 0.01 px.
MAX_BOX_ERROR_PX = 0.5
MAX_SCORE_ERROR = 0.005


def runtime_images(frames: Sequence[NDArray[np.uint8]], spec: ModelSpec) -> NDArray[np.uint8]:
    """Let the runtime prepare frames, and catch what it would compute: `uint8[B, H, W, 3]`."""
    recording = _RecordingBackend(spec)
    Model(spec, recording)(list(frames))
    return recording.images


def runtime_detections(bundle: Bundle, images: NDArray[np.uint8]) -> RawDetections:
    """Run the runtime's own FP32 backend on `uint8[B, H, W, 3]`; it is closed again afterwards."""
    backend = OnnxRuntimeBackend(bundle.graph_path(Lowering.PORTABLE), bundle.spec)
    try:
        return backend(images, bundle.spec.score_threshold)
    finally:
        backend.close()


def check_images(images: NDArray[Any], expected: NDArray[np.uint8], where: str) -> None:
    """Check that the input is what the runtime makes of the same frames, bit for bit.

    Raises:
        CalibrationError: It is not, found objects or not.
    """
    if images.dtype == expected.dtype and np.array_equal(images, expected):
        return
    how = f"{images.dtype}{list(images.shape)} instead of {expected.dtype}{list(expected.shape)}"
    if images.dtype == expected.dtype and images.shape == expected.shape:
        swapped = np.array_equal(images[..., ::-1], expected)
        away = int(np.abs(images.astype(np.int16) - expected.astype(np.int16)).max())
        how = "its channels are swapped" if swapped else f"it is up to {away} levels away"
    msg = f"calibration must prepare {where} as the runtime does, and did otherwise: {how}; please report it"
    raise CalibrationError(msg)


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


def _count_unmatched(one: RawDetections, other: RawDetections, image: int, spec: ModelSpec) -> int:
    """Count detections of one without a partner in the other."""
    rows, columns = slice(int(one.counts[image])), slice(int(other.counts[image]))
    scores, partners = one.scores[image, rows], other.scores[image, columns]
    floor = spec.score_threshold + MAX_SCORE_ERROR
    if max(len(scores), len(partners)) == spec.max_detections:
        floor = max(floor, float(min(scores.min(initial=1), partners.min(initial=1))) + MAX_SCORE_ERROR)
    box_errors = np.abs(one.boxes_xyxy[image, rows, None] - other.boxes_xyxy[image, None, columns]).max(-1)
    matches = (box_errors <= MAX_BOX_ERROR_PX) & (np.abs(scores[:, None] - partners) <= MAX_SCORE_ERROR)
    matches &= one.labels[image, rows, None] == other.labels[image, columns]
    return int((~matches.any(1) & (scores > floor)).sum())


class _RecordingBackend:
    """A backend that keeps its input and finds nothing."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self.images: NDArray[np.uint8] = np.zeros(0, np.uint8)

    @property
    def description(self) -> str:
        return "nothing"

    def __call__(self, images: NDArray[np.uint8], score_threshold: float) -> RawDetections:
        del score_threshold
        self.images = images
        return no_detections(self._spec)

    def close(self) -> None:
        pass
