"""The checkpoint that the exporter's tests share, and a bundle of it without the export."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeseg.bundle.manifest import open_bundle, write_manifest
from edgeseg.files.reading import sha256_from_file
from edgeseg.spec import Lowering
from tests.exports import SIZE_HW
from tests.models import spec_of
from tests.runtime.fake_bundle import write_graph

if TYPE_CHECKING:
    from pathlib import Path

    from torchvision.models.detection import MaskRCNN

    from edgeseg.bundle.manifest import Bundle


@pytest.fixture(scope="session")
def bundle(_resnet18: MaskRCNN, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """What an export would give, but for its graph, which is one of a few operators."""
    folder = tmp_path_factory.mktemp("bundle")
    facts = {"checkpoint": checkpoint.name, "checkpoint_sha256": sha256_from_file(checkpoint)}
    spec = spec_of(_resnet18, SIZE_HW, **facts)
    write_graph(folder / Lowering.PORTABLE.file_name, spec)
    write_manifest(folder, spec, [Lowering.PORTABLE.file_name])
    return open_bundle(folder)
