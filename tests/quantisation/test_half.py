"""Half precision and 8 bits on a trained model: what they find beside single precision."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest

from edgeseg.calibration.table import CalibrationTable, Range
from edgeseg.demo.score import unseen_frames
from edgeseg.exporter.model.reference import ImageDetections
from edgeseg.exporter.parity.comparison import ParityComparison, Tolerances, match_detections
from edgeseg.quantisation.qdq.tensorrt import tensorrt_graph
from edgeseg.spec import Lowering, ModelSpec
from edgeseg.vision.letterbox import letterbox_batch

from .ranges import minmax_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edgeseg.bundle.manifest import Bundle

# Detections above it must have a partner; those a little below may be the partner.
SURE = 0.5
LEAST = 0.2
# Measured over 12 frames: 1.7 px, 0.009 and 0.85.
HALF_BOUNDS = Tolerances(box_px=3.0, score=0.03, mask_iou=0.75)
INT8_BOUNDS = Tolerances(score=0.3)


@pytest.fixture(scope="module")
def inputs(conveyor: Bundle) -> NDArray[np.uint8]:
    return np.concatenate([letterbox_batch([frame.image], conveyor.spec)[0] for frame in unseen_frames(8)])


@pytest.fixture(scope="module")
def expected(conveyor: Bundle, inputs: NDArray[np.uint8]) -> list[ImageDetections]:
    return detect(conveyor.graph_path(Lowering.TENSORRT), inputs[:4])


@pytest.fixture(scope="module")
def table(conveyor: Bundle, inputs: NDArray[np.uint8]) -> CalibrationTable:
    return minmax_table(onnx.load(conveyor.graph_path(Lowering.PORTABLE)), inputs[4:])


def likely(found: ImageDetections) -> ImageDetections:
    kept = found.scores > LEAST
    return ImageDetections(
        boxes_xyxy=found.boxes_xyxy[kept],
        scores=found.scores[kept],
        labels=found.labels[kept],
        masks=found.masks[kept],
    )


def detect(path: Path, images: np.ndarray) -> list[ImageDetections]:
    """Run a graph on the CPU.

    Nothing is fused: ONNX Runtime would multiply two scales in half precision, and their product underflows.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    results = []
    for image in images:
        count, *rows, _ = session.run(None, {"images": image[None]})
        boxes, scores, labels, masks = (row[0, : count[0]] for row in rows)
        results.append(likely(ImageDetections(boxes_xyxy=boxes, scores=scores, labels=labels, masks=masks)))
    return results


def compare_detections(
    spec: ModelSpec, expected: list[ImageDetections], found: list[ImageDetections], tolerances: Tolerances
) -> ParityComparison:
    agreement = ParityComparison(
        lowering=Lowering.TENSORRT_FP16,
        tolerances=tolerances,
        max_detections=spec.max_detections,
        score_threshold=SURE,
        size_hw=spec.input_size_hw,
    )
    for one, other in zip(expected, found, strict=True):
        agreement.add(one, other)
    return agreement


def box_errors_px(expected: list[ImageDetections], found: list[ImageDetections]) -> np.ndarray:
    """Largest difference of a coordinate, for each pair of detections."""
    return np.concatenate(
        [
            np.abs(one.boxes_xyxy[i] - other.boxes_xyxy[j]).max(keepdims=True)
            for one, other in zip(expected, found, strict=True)
            for i, j in match_detections(one, other)
        ]
    )


def test_half_precision_finds_what_single_precision_finds(
    conveyor: Bundle, inputs: NDArray[np.uint8], expected: list[ImageDetections]
) -> None:
    found = detect(conveyor.graph_path(Lowering.TENSORRT_FP16), inputs[:4])
    agreement = compare_detections(conveyor.spec, expected, found, HALF_BOUNDS)
    assert agreement.passed(), agreement.row()
    assert agreement.matched > 30
    # Measured: 0.025 px.
    assert np.median(box_errors_px(expected, found)) < 0.1


@pytest.mark.parametrize("lowering", [Lowering.TENSORRT, Lowering.TENSORRT_FP16])
def test_8_bits_find_what_single_precision_finds(
    conveyor: Bundle,
    inputs: NDArray[np.uint8],
    expected: list[ImageDetections],
    table: CalibrationTable,
    tmp_path: Path,
    lowering: Lowering,
) -> None:
    onnx.save(tensorrt_graph(onnx.load(conveyor.graph_path(lowering)), table), tmp_path / "net.onnx")
    found = detect(tmp_path / "net.onnx", inputs[:4])
    agreement = compare_detections(conveyor.spec, expected, found, INT8_BOUNDS)
    assert agreement.missing + agreement.extra <= 2, agreement.row()
    assert agreement.matched >= 0.9 * agreement.reference_detections > 30, agreement.row()
    # Measured: 0.9 px. Not the largest: where two candidates for one part change places, it is 17 px.
    assert np.median(box_errors_px(expected, found)) < 2


def test_a_wrong_scale_is_noticed(
    conveyor: Bundle,
    inputs: NDArray[np.uint8],
    expected: list[ImageDetections],
    table: CalibrationTable,
    tmp_path: Path,
) -> None:
    key = "backbone.body.2.conv.1.0.clip"
    ranges = {**table.ranges, key: Range(low=0.0, high=table.ranges[key].high / 20)}
    model = onnx.load(conveyor.graph_path(Lowering.TENSORRT))
    onnx.save(tensorrt_graph(model, replace(table, ranges=ranges)), tmp_path / "net.onnx")
    found = detect(tmp_path / "net.onnx", inputs[:1])
    assert compare_detections(conveyor.spec, expected[:1], found, INT8_BOUNDS).missing > 3
