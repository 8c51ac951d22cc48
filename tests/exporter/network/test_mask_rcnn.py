"""The re-authored network against torchvision, in eager mode: every architecture, both lowerings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch

from edgeseg.exporter.config import DetectionLimits, apply_limits
from edgeseg.exporter.model.architecture import model_from_weights
from edgeseg.exporter.model.reference import ImageDetections, Reference
from edgeseg.exporter.network.mask_rcnn import ExportedNetwork
from edgeseg.exporter.network.portable import PortableOperators
from edgeseg.exporter.network.tensorrt import TensorRTOperators
from edgeseg.exporter.parity.comparison import ParityComparison, Tolerances
from edgeseg.spec import Lowering, ModelSpec
from edgeseg.vision.images.reader import read_image
from tests.data import shared
from tests.models import build, detecting, spec_of

if TYPE_CHECKING:
    from torchvision.models.detection import MaskRCNN

SIZE_HW = (256, 320)
ARCHITECTURES = (
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
    "resnet18",
    "resnet101",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
)


def coco_images(count: int, size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    paths = sorted(shared("data", "coco_subset", "val2017").glob("*.jpg"))[:count]
    return np.stack([cv2.resize(read_image(path), size_hw[::-1]) for path in paths])


def detect(model: MaskRCNN, spec: ModelSpec, lowering: Lowering, images: np.ndarray) -> list[ImageDetections]:
    classes = len(spec.class_names) - 1
    operators = PortableOperators(classes) if lowering is Lowering.PORTABLE else TensorRTOperators()
    with torch.inference_mode():
        outputs = ExportedNetwork(model, spec, operators).eval()(torch.from_numpy(images))
    count, boxes, scores, labels, masks, *settled = (output.numpy() for output in outputs)
    assert all(flag.all() for flag in settled)
    assert not any(part[i, n:].any() for part in (boxes, scores, labels, masks) for i, n in enumerate(count))
    return [
        ImageDetections(
            boxes_xyxy=boxes[i, :n], scores=scores[i, :n], labels=labels[i, :n], masks=masks[i, :n]
        )
        for i, n in enumerate(count)
    ]


def agreement(lowering: Lowering, spec: ModelSpec) -> ParityComparison:
    return ParityComparison(
        lowering=lowering,
        tolerances=Tolerances(),
        max_detections=spec.max_detections,
        score_threshold=spec.score_threshold,
        size_hw=spec.input_size_hw,
    )


def reference(model: MaskRCNN, spec: ModelSpec, images: np.ndarray) -> list[ImageDetections]:
    limits = {name: getattr(spec, name) for name in DetectionLimits.__slots__}
    apply_limits(DetectionLimits(**limits), model)
    return Reference(model, spec)(images)


def compare(model: MaskRCNN, spec: ModelSpec, images: np.ndarray) -> list[int]:
    """Compare both lowerings with torchvision; gives how many detections each image had."""
    expected = reference(model, spec, images)
    for lowering in (Lowering.PORTABLE, Lowering.TENSORRT):
        verdict = agreement(lowering, spec)
        for one, other in zip(expected, detect(model, spec, lowering, images), strict=True):
            verdict.add(one, other)
        assert verdict.passed(), verdict.row()
        assert verdict.matched >= 0.95 * verdict.reference_detections
    return [len(found.scores) for found in expected]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_both_lowerings_find_what_torchvision_finds(name: str) -> None:
    images = coco_images(2)
    model = detecting(build(name, 12), images)
    # Fewer proposals than the default keep this fast; the default has a test of its own.
    found = compare(model, spec_of(model, SIZE_HW, max_proposals=200), images)
    assert min(found) >= 2


def test_defaults_of_torchvision_at_another_aspect_ratio() -> None:
    images = coco_images(2, (320, 192))
    model = detecting(build("resnet18", 91), images)
    assert sum(compare(model, spec_of(model, (320, 192)), images)) > 20


def test_blank_image_and_batch_of_four(resnet18: MaskRCNN, photographs: np.ndarray) -> None:
    images = photographs.copy()
    images[1] = 0
    compare(resnet18, spec_of(resnet18, SIZE_HW, batch=4, max_proposals=200), images)


@pytest.mark.parametrize("wanted", [0, 1, 100])
def test_number_of_detections(resnet18: MaskRCNN, photographs: np.ndarray, wanted: int) -> None:
    image = photographs[:1]
    scores = reference(resnet18, spec_of(resnet18, SIZE_HW, max_proposals=200), image)[0].scores
    thresholds = {0: (scores[0] + 1) / 2, 1: (scores[0] + scores[1]) / 2, 100: 0.0}
    spec = spec_of(resnet18, SIZE_HW, score_threshold=float(thresholds[wanted]), max_proposals=200)
    assert compare(resnet18, spec, image) == [wanted]


def test_fewer_candidates_than_detections(resnet18: MaskRCNN, photographs: np.ndarray) -> None:
    spec = spec_of(resnet18, SIZE_HW, max_proposals=10, max_detections=100)
    compare(resnet18, spec, photographs[:1])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architecture_is_read_from_shapes(name: str) -> None:
    model = build(name, 5).eval()
    found, rebuilt = model_from_weights(model.state_dict())
    assert found == (name if name.startswith("maskrcnn") else f"maskrcnn_{name}_fpn")
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    assert {key: value.shape for key, value in rebuilt.state_dict().items()} == shapes
