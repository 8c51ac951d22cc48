"""Run the parity check: images through PyTorch and through both full-precision graphs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.errors import InputError, ParityError
from edgeseg.exporter.model.reference import ImageDetections, Reference
from edgeseg.files.native import native_path
from edgeseg.optional import require
from edgeseg.runtime.host.processors import inference_threads
from edgeseg.spec import BUILT_IN, Lowering, ParityReport
from edgeseg.vision.images.reader import image_paths, read_image
from edgeseg.vision.images.samples import SAMPLES
from edgeseg.vision.letterbox import letterbox_batch

from .annotations import Recall, annotated_boxes
from .comparison import ParityComparison, Tolerances

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeseg.spec import ModelSpec

# More images make the check slower but no stronger; they are taken evenly from the folder.
MAX_IMAGES = 8
# A detection that a user would be shown.
CONFIDENT_SCORE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityImages:
    """Images of the parity check.

    Attributes:
        source: Where they are from.
        images: `uint8[H, W, 3]` BGR each.
        truth_xyxy: Annotated boxes of each, `float32[N, 4]` in its pixels.
    """

    source: str
    images: tuple[NDArray[np.uint8], ...]
    truth_xyxy: tuple[NDArray[np.float32], ...] = ()


def check_parity(
    model: Any, spec: ModelSpec, folder: Path, check: ParityImages, progress: Callable[[str], None]
) -> ModelSpec:
    """Compare both graphs with PyTorch on real images.

    Args:
        model: torchvision `MaskRCNN` with the counts and thresholds of `spec`.
        spec: What was exported.
        folder: Where the graphs lie.
        check: What to compare on.
        progress: Called with each stage as it begins.

    Returns:
        The spec with the report in it.

    Raises:
        GraphParityError: A graph does not find what PyTorch finds.
    """
    reference, recall, confident = Reference(model, spec), Recall(), 0
    compared = [lowering for lowering in Lowering if not lowering.half]
    graphs = {lowering: ExportedGraph(folder / lowering.file_name, spec) for lowering in compared}
    tolerances = Tolerances()
    comparisons = [_comparison(lowering, spec, tolerances) for lowering in compared]
    for start in range(0, len(check.images), spec.batch):
        images = check.images[start : start + spec.batch]
        progress(f"comparing with PyTorch on image {start + 1} of {len(check.images)}")
        batch, boxes = letterbox_batch(images, spec)
        expected = reference(batch)[: len(images)]
        confident += sum(int((one.scores > CONFIDENT_SCORE).sum()) for one in expected)
        for one, truth, box in zip(expected, check.truth_xyxy[start:], boxes, strict=False):
            recall.add(truth, one, box)
        for comparison in comparisons:
            found, converged = graphs[comparison.lowering](batch)
            comparison.unsettled += len(images) - int(converged[: len(images)].sum())
            for one, other in zip(expected, found, strict=False):
                comparison.add(one, other)
    report = ParityReport(
        passed=all(comparison.passed() for comparison in comparisons),
        image_source=check.source,
        most_candidates=reference.most_candidates,
        score_threshold=spec.score_threshold,
        max_box_error_px=tolerances.box_px,
        max_score_error=tolerances.score,
        min_mask_iou=tolerances.mask_iou,
        rows=tuple(comparison.row() for comparison in comparisons),
        confident=confident,
        annotated=recall.annotated,
        annotated_found=recall.found,
    )
    if not report.passed:
        raise GraphParityError(report)
    return replace(spec, parity=report)


def _comparison(lowering: Lowering, spec: ModelSpec, tolerances: Tolerances) -> ParityComparison:
    return ParityComparison(
        lowering=lowering,
        tolerances=tolerances,
        max_detections=spec.max_detections,
        score_threshold=spec.score_threshold,
        size_hw=spec.input_size_hw,
    )


class GraphParityError(ParityError):
    """The parity check failed.

    Attributes:
        report: What it measured.
    """

    def __init__(self, report: ParityReport) -> None:
        self.report = report
        super().__init__(
            f"both graphs must find what PyTorch finds (within {report.max_box_error_px} px, a score of "
            f"{report.max_score_error}, a mask IoU of {report.min_mask_iou}), and one does not; "
            "no bundle was written"
        )


class ExportedGraph:
    """One exported graph on ONNX Runtime's CPU provider.

    Args:
        path: ONNX file.
        spec: Its threshold is what the `portable` graph is given.
    """

    def __init__(self, path: Path, spec: ModelSpec) -> None:
        ort = require("onnxruntime", purpose="compare a graph with PyTorch")
        options = ort.SessionOptions()
        options.intra_op_num_threads = inference_threads(None) or 0
        with native_path(path) as name:
            self._session = ort.InferenceSession(name, options, providers=["CPUExecutionProvider"])
        self._threshold = np.array(spec.score_threshold, np.float32)

    def __call__(self, images: NDArray[np.uint8]) -> tuple[list[ImageDetections], NDArray[np.bool_]]:
        """Detect in `uint8[B, H, W, 3]`; also return whether NMS converged, `bool[B]`."""
        names = [node.name for node in self._session.get_inputs()]
        feeds = {"images": images, "score_threshold": self._threshold}
        counts, boxes, scores, labels, masks, *converged = self._session.run(
            None, {name: feeds[name] for name in names}
        )
        found = [
            ImageDetections(
                boxes_xyxy=boxes[i, :n], scores=scores[i, :n], labels=labels[i, :n], masks=masks[i, :n]
            )
            for i, n in enumerate(counts)
        ]
        return found, converged[0].astype(bool) if converged else np.ones(len(images), bool)


def read_parity_images(folder: Path | None) -> ParityImages:
    """Read the images of the parity check: at most `MAX_IMAGES`, evenly from the folder.

    Args:
        folder: None for the built-in photographs.

    Raises:
        InputError: No image in the folder, or one that cannot be read.
    """
    paths = image_paths(folder or SAMPLES)
    if not paths:
        msg = f"--check needs a folder with images, found none in {folder}"
        raise InputError(msg)
    indices = np.linspace(0, len(paths) - 1, min(MAX_IMAGES, len(paths))).round().astype(int)
    chosen = [paths[index] for index in indices]
    return ParityImages(
        source=str(folder or BUILT_IN),
        images=tuple(map(read_image, chosen)),
        truth_xyxy=tuple(annotated_boxes(folder or SAMPLES, chosen)),
    )
