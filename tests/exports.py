"""Exports that several tests share; each takes some ten seconds. torch is imported at first use."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edgeseg.vision.images.reader import read_image
from edgeseg.vision.images.samples import SAMPLES

if TYPE_CHECKING:
    from pathlib import Path

    from torchvision.models.detection import MaskRCNN

    from edgeseg.bundle.manifest import Bundle

SIZE_HW = (256, 320)


@pytest.fixture(scope="session")
def photographs() -> np.ndarray:
    """Four real photographs, `uint8[4, 256, 320, 3]` BGR."""
    paths = sorted(SAMPLES.glob("*.jpg"))
    return np.stack([cv2.resize(read_image(path), SIZE_HW[::-1]) for path in paths])


@pytest.fixture(scope="session")
def _resnet18(photographs: np.ndarray) -> MaskRCNN:
    from tests.models import build, detecting

    return detecting(build("resnet18", 5), photographs)


@pytest.fixture
def resnet18(_resnet18: MaskRCNN) -> MaskRCNN:
    """A Mask R-CNN over ResNet-18 that finds something on photographs; the test's own."""
    return copy.deepcopy(_resnet18)


@pytest.fixture(scope="session")
def checkpoint(_resnet18: MaskRCNN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    path = tmp_path_factory.mktemp("checkpoint") / "parts.pth"
    torch.save({"model_state_dict": _resnet18.state_dict(), "classes": ["bolt", "nut", "gear", "cam"]}, path)
    return path


@pytest.fixture(scope="session")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of that checkpoint at batch 1, through the gate on the built-in photographs."""
    from edgeseg.exporter.config import ExportConfig
    from edgeseg.exporter.export import export

    output = tmp_path_factory.mktemp("bundle") / "model"
    return export(ExportConfig(checkpoint=checkpoint, output=output, sizes_hw=(SIZE_HW,)))
