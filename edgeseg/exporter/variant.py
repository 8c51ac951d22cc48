"""Temporary variants of a bundle for measurements, with other sizes, counts or batches."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeseg.bundle.manifest import CALIBRATION_FILE, open_bundle, write_manifest
from edgeseg.calibration.table import write_table
from edgeseg.files.records import mapped_write_errors
from edgeseg.spec import Lowering

from .checkpoint import read_checkpoint
from .config import detection_limits
from .export import describe_export, load_configured_model
from .graph import write_graph

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.calibration.table import CalibrationTable
    from edgeseg.spec import ModelSpec

    from .config import ExportConfig


class VariantWriter:
    """Writes bundles of one checkpoint without the parity check; the checkpoint is read once.

    Args:
        config: Settings that all variants share.

    Attributes:
        model_limits: Default counts and thresholds.
        size_hw: Default height and width of the input, in pixels.

    Raises:
        ConfigError: Settings are not valid.
        InputError: The checkpoint is unusable.
    """

    def __init__(self, config: ExportConfig) -> None:
        self._config = config
        self._checkpoint = read_checkpoint(config.checkpoint)
        self._loaded = load_configured_model(self._checkpoint, config)
        self.model_limits = detection_limits(self._loaded.model, config)
        self.size_hw = config.size_hw(self._loaded.settings.training_size_hw)

    def spec(self, size_hw: tuple[int, int], max_proposals: int) -> ModelSpec:
        """Describe a variant without writing it.

        Raises:
            ConfigError: A size or count that cannot work.
        """
        variant_config = replace(
            self._config,
            sizes_hw=(size_hw,),
            max_proposals=max_proposals,
            # The model may still have the counts of the previous variant.
            max_detections=self.model_limits.max_detections,
        )
        return describe_export(self._loaded, self._checkpoint, variant_config)

    def write(
        self,
        folder: Path,
        size_hw: tuple[int, int],
        max_proposals: int,
        lowerings: Sequence[Lowering] = (Lowering.PORTABLE,),
    ) -> Bundle:
        """Write a bundle with some of the graphs.

        Args:
            folder: Folder of the bundle; must not exist.
            size_hw: Height and width of the network's input, in pixels.
            max_proposals: Most proposals per image.
            lowerings: Graphs to write.

        Raises:
            ConfigError: A size or count that cannot work.
            EdgeSegError: The disk is full.
            ExportError: A graph could not be made.
        """
        return write_variant(folder, self._loaded.model, self.spec(size_hw, max_proposals), lowerings)


def write_variant(folder: Path, model: Any, spec: ModelSpec, lowerings: Sequence[Lowering]) -> Bundle:
    """Write a bundle with some of the graphs, without the parity check.

    Args:
        folder: Folder of the bundle; must not exist.
        model: torchvision `MaskRCNN` in evaluation mode; not changed.
        spec: Description of the variant.
        lowerings: Graphs to write.

    Raises:
        EdgeSegError: The disk is full.
        ExportError: A graph could not be made.
    """
    with mapped_write_errors(folder):
        folder.mkdir(parents=True)
        for lowering in lowerings:
            write_graph(model, spec, lowering, folder / lowering.file_name)
    write_manifest(folder, spec, [lowering.file_name for lowering in lowerings])
    return open_bundle(folder)


def copy_table(table: CalibrationTable, variant: Bundle) -> None:
    """Copy calibration ranges measured on another graph of the same network and input size to a variant.

    Ranges are named after the checkpoint's weights, which do not depend on counts or batch. Building an
    engine fails if the table lacks a range.

    Raises:
        ArtifactError: The variant has no portable graph.
        EdgeSegError: The disk is full.
    """
    variant.graph_path(Lowering.PORTABLE)
    graph = variant.files[Lowering.PORTABLE.file_name]
    write_table(replace(table, graph_sha256=graph.sha256), variant.path / CALIBRATION_FILE)
