"""Measure the accuracy of a quantised network: against annotations, or against FP32 where there are none."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from edgeseg.dataset.average_precision import average_precision, evaluate, truth_from_detections
from edgeseg.dataset.labelled import LabelledImages
from edgeseg.errors import CalibrationError, InputError
from edgeseg.runtime.model import Model
from edgeseg.vision.images.reader import ImageReader, image_paths

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from edgeseg.spec import ModelSpec
    from edgeseg.vision.detections import Detections

# More images take longer and hardly change the result.
AGREEMENT_IMAGES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The score of a network on the evaluator's images.

    Attributes:
        box_ap: In points, 0 to 100.
        mask_ap: In points, 0 to 100.
        latency_ms: Median of a call, frame in to masks out.
    """

    box_ap: float
    mask_ap: float
    latency_ms: float

    def drop_from(self, base: Score) -> float:
        """Points lost against `base`, of boxes or of masks, whichever lost more."""
        return max(base.box_ap - self.box_ap, base.mask_ap - self.mask_ap)


class Evaluator(Protocol):
    """Scores a model on a fixed set of images."""

    def score(self, model: Model) -> Score:
        """Run a model on all of the images."""


@dataclass(frozen=True, slots=True)
class AnnotationEvaluator:
    """Average precision on annotated images."""

    labelled: LabelledImages

    def score(self, model: Model) -> Score:
        """See `Evaluator.score`."""
        timed_model = _TimedModel(model)
        found = evaluate(timed_model, self.labelled)
        return Score(
            box_ap=100 * found.box_ap,
            mask_ap=100 * found.mask_ap,
            latency_ms=timed_model.median_ms(model.spec.batch),
        )


class AgreementEvaluator:
    """Average precision against what the FP32 graph finds above 0.5, on images without annotations.

    Args:
        reference: The FP32 model.
        folder: With images; some are taken evenly, unreadable ones left out.
        bit_depth: As `ImageReader`.

    Raises:
        CalibrationError: The FP32 graph finds nothing on them, so that there is nothing to agree with.
        InputError: No readable image.
    """

    def __init__(self, reference: Model, folder: Path, *, bit_depth: int | None = None) -> None:
        self._reader = ImageReader(bit_depth=bit_depth)
        self._paths = _readable_images(image_paths(folder), folder, self._reader)
        found = [
            (number, reference(self._reader.read(path), reference.spec.score_threshold))
            for number, path in enumerate(self._paths)
        ]
        self._truth = truth_from_detections(found)
        if not self._truth["annotations"]:
            msg = (
                f"FP32 finds nothing above 0.5 on {len(self._paths)} images of {folder}, so INT8 cannot be "
                "compared with it; pass images with instances, or annotations with --annotations"
            )
            raise CalibrationError(msg)

    def score(self, model: Model) -> Score:
        """See `Evaluator.score`."""
        timed_model = _TimedModel(model)
        results = [
            result
            for number, path in enumerate(self._paths)
            for found in timed_model([self._reader.read(path)], model.spec.score_threshold)
            for result in found.to_coco(number)
        ]
        found = average_precision(self._truth, results)
        return Score(
            box_ap=100 * found.box_ap, mask_ap=100 * found.mask_ap, latency_ms=timed_model.median_ms(1)
        )


@dataclass(slots=True)
class _TimedModel:
    """A detector that keeps how long each call took."""

    model: Model
    seconds: list[float] = field(default_factory=list)

    @property
    def spec(self) -> ModelSpec:
        return self.model.spec

    def __call__(self, frames: Sequence[NDArray[np.uint8]], score_threshold: float) -> list[Detections]:
        start = time.perf_counter()
        found = self.model(frames, score_threshold)
        self.seconds.append(time.perf_counter() - start)
        return found

    def median_ms(self, frames: int) -> float:
        """Median time of a frame; the first call, which also warms up, is left out where there are more."""
        return 1e3 * statistics.median(self.seconds[1:] or self.seconds) / frames


def _readable_images(paths: Sequence[Path], folder: Path, reader: ImageReader) -> list[Path]:
    """Take readable images evenly, `AGREEMENT_IMAGES` at most."""
    step = max(1, len(paths) // AGREEMENT_IMAGES)
    found: list[Path] = []
    for path in [*paths[::step], *paths]:
        if len(found) == AGREEMENT_IMAGES:
            break
        if path not in found and _is_readable(path, reader):
            found.append(path)
    if not found:
        msg = f"none of the {len(paths)} images in {folder} can be read"
        raise InputError(msg)
    return found


def _is_readable(path: Path, reader: ImageReader) -> bool:
    try:
        reader.read(path)
    except InputError:
        return False
    return True
