"""Models, bundles and ranges that several tests share; each takes seconds to minutes, and none is changed.

Every test may ask for them, so what is heavy or missing on a device is imported where it is needed.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import cv2
import numpy as np
import onnx
import pytest

from edgeseg.bundle.manifest import CALIBRATION_FILE, open_bundle
from edgeseg.calibration.table import CalibrationTable, read_table, write_table
from edgeseg.spec import Lowering
from edgeseg.vision.images.reader import read_image
from edgeseg.vision.images.samples import SAMPLES
from tests.built import built_once

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torchvision.models.detection import MaskRCNN

    from edgeseg.bundle.manifest import Bundle

SIZE_HW = (256, 320)


@pytest.fixture(scope="session")
def photographs() -> NDArray[np.uint8]:
    """Four real photographs, `uint8[4, 256, 320, 3]` BGR."""
    paths = sorted(SAMPLES.glob("*.jpg"))
    images = [cv2.resize(read_image(path), SIZE_HW[::-1]) for path in paths]
    return np.stack([np.asarray(image, np.uint8) for image in images])


@pytest.fixture(scope="session")
def _resnet18(photographs: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> MaskRCNN:
    import torch

    from tests.models import build, detecting

    def save(folder: Path) -> None:
        torch.save(detecting(build("resnet18", 5), photographs), folder / "model.pt")

    path = built_once(tmp_path_factory, "resnet18", save) / "model.pt"
    model: MaskRCNN = torch.load(path, weights_only=False)
    return model


@pytest.fixture
def resnet18(_resnet18: MaskRCNN) -> MaskRCNN:
    """A Mask R-CNN over ResNet-18 that finds something on photographs; the test's own."""
    return copy.deepcopy(_resnet18)


@pytest.fixture(scope="session")
def checkpoint(_resnet18: MaskRCNN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    content = {"model_state_dict": _resnet18.state_dict(), "classes": ["bolt", "nut", "gear", "cam"]}
    folder = built_once(
        tmp_path_factory, "checkpoint", lambda folder: torch.save(content, folder / "parts.pth")
    )
    return folder / "parts.pth"


@pytest.fixture(scope="session")
def exported_bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of that checkpoint at batch 1, through the gate on the built-in photographs."""
    from edgeseg.exporter.config import ExportConfig
    from edgeseg.exporter.export import export

    def write(folder: Path) -> None:
        export(ExportConfig(checkpoint=checkpoint, output=folder / "model", sizes_hw=(SIZE_HW,)))

    return open_bundle(built_once(tmp_path_factory, "bundle", write) / "model")


@pytest.fixture(scope="session")
def bundle(exported_bundle: Bundle) -> Bundle:
    """The same under the name that a folder of tests may give to its own."""
    return exported_bundle


@pytest.fixture(scope="session")
def bundle_table(
    exported_bundle: Bundle, photographs: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory
) -> CalibrationTable:
    """The ranges of that bundle on the photographs; it belongs to no graph."""

    from tests.quantisation.ranges import minmax_table

    def write(folder: Path) -> None:
        graph = onnx.load(exported_bundle.graph_path(Lowering.PORTABLE))
        write_table(minmax_table(graph, photographs), folder / CALIBRATION_FILE)

    return read_table(built_once(tmp_path_factory, "table", write) / CALIBRATION_FILE)


@pytest.fixture(scope="session")
def table(bundle_table: CalibrationTable) -> CalibrationTable:
    """The same under the name that a module may give to its own."""
    return bundle_table


@pytest.fixture(scope="session")
def conveyor(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The shipped model: random weights would drown in what quantisation does to them."""
    from tests.demo_run import FOLDER, demo_once

    return open_bundle(demo_once(tmp_path_factory) / FOLDER / "model")
