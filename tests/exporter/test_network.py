"""The re-authored network against torchvision, in eager mode: every architecture, both lowerings."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from edgeseg.exporter.architecture import model_from_weights
from edgeseg.exporter.network import Network
from edgeseg.exporter.parity import Agreement, Bounds
from edgeseg.exporter.portable import PortableOperators
from edgeseg.exporter.reference import Found, Reference
from edgeseg.exporter.tensorrt import TensorRTOperators
from edgeseg.spec import Lowering
from tests.data import shared
from tests.models import build, detecting, spec_of

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
    return np.stack([cv2.resize(cv2.imread(str(path)), size_hw[::-1]) for path in paths])


def detect(model, spec, lowering: Lowering, images: np.ndarray) -> list[Found]:
    classes = len(spec.class_names) - 1
    operators = PortableOperators(classes) if lowering is Lowering.PORTABLE else TensorRTOperators()
    with torch.no_grad():
        count, boxes, scores, labels, masks, *settled = Network(model, spec, operators)(torch.from_numpy(images))
    assert all(int(flag.min()) == 1 for flag in settled)
    return [
        Found(
            boxes_xyxy=boxes[i, :n].numpy(),
            scores=scores[i, :n].numpy(),
            labels=labels[i, :n].numpy(),
            masks=masks[i, :n].numpy(),
        )
        for i, n in enumerate(count.tolist())
    ]


def agreement(lowering: Lowering, spec) -> Agreement:
    return Agreement(
        lowering=lowering,
        bounds=Bounds(),
        max_detections=spec.max_detections,
        score_threshold=spec.score_threshold,
        size_hw=spec.input_size_hw,
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_both_lowerings_find_what_torchvision_finds(name):
    images = coco_images(2)
    model = detecting(build(name, 12), images[0])
    spec = spec_of(model, SIZE_HW)
    reference = Reference(model, spec)(images)
    assert sum(len(found.scores) for found in reference) > 10
    for lowering in Lowering:
        verdict = agreement(lowering, spec)
        for expected, found in zip(reference, detect(model, spec, lowering, images), strict=True):
            verdict.add(expected, found)
        assert verdict.passed(), verdict.row()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architecture_is_read_from_shapes(name):
    model = build(name, 5).eval()
    found, rebuilt = model_from_weights(model.state_dict())
    assert name.removeprefix("maskrcnn_").removesuffix("_fpn") in found
    assert [(k, v.shape) for k, v in rebuilt.state_dict().items()] == [
        (k, v.shape) for k, v in model.state_dict().items()
    ]
