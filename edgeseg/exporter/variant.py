"""Bundles that are made to be measured and thrown away: one checkpoint at other sizes, counts or batches."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeseg.bundle.manifest import TABLE_FILE, open_bundle, write_manifest
from edgeseg.calibration.table import write_table
from edgeseg.files.records import writing
from edgeseg.spec import Lowering

from .checkpoint import read_checkpoint
from .config import limits_of
from .export import model_of, spec_of
from .graph import write_graph

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.calibration.table import CalibrationTable
    from edgeseg.spec import ModelSpec

    from .config import ExportConfig


class Drafts:
    """Writes bundles of one checkpoint without the parity gate; the checkpoint is read once.

    Args:
        config: What they have in common.

    Attributes:
        own: Counts and thresholds where nothing else is asked for.
        size_hw: Of the input, where nothing else is asked for.

    Raises:
        ConfigError: Settings that cannot work.
        InputError: The checkpoint is unusable.
    """

    def __init__(self, config: ExportConfig) -> None:
        self._config = config
        self._checkpoint = read_checkpoint(config.checkpoint)
        self._loaded = model_of(self._checkpoint, config)
        self.own = limits_of(self._loaded.model, config)
        self.size_hw = config.size_hw(self._loaded.settings.training_size_hw)

    def spec(self, size_hw: tuple[int, int], max_proposals: int) -> ModelSpec:
        """Describe a draft without writing it.

        Raises:
            ConfigError: A size or count that cannot work.
        """
        asked = replace(
            self._config,
            sizes_hw=(size_hw,),
            max_proposals=max_proposals,
            # The model has the last draft's counts by now.
            max_detections=self.own.max_detections,
        )
        return spec_of(self._loaded, self._checkpoint, asked)

    def write(
        self,
        folder: Path,
        size_hw: tuple[int, int],
        max_proposals: int,
        lowerings: Sequence[Lowering] = (Lowering.PORTABLE,),
    ) -> Bundle:
        """Write a bundle with some of the graphs.

        Args:
            folder: Does not exist yet.
            size_hw: Of the network's input.
            max_proposals: Of an image.
            lowerings: Graphs to write.

        Raises:
            ConfigError: A size or count that cannot work.
            EdgeSegError: The disk is full.
            ExportError: A graph could not be made.
        """
        return write_draft(folder, self._loaded.model, self.spec(size_hw, max_proposals), lowerings)


def write_draft(folder: Path, model: Any, spec: ModelSpec, lowerings: Sequence[Lowering]) -> Bundle:
    """Write a bundle with some of the graphs, without the parity gate.

    Args:
        folder: Does not exist yet.
        model: torchvision `MaskRCNN` in evaluation; not changed.
        spec: What to write.
        lowerings: Graphs to write.

    Raises:
        EdgeSegError: The disk is full.
        ExportError: A graph could not be made.
    """
    with writing(folder):
        folder.mkdir(parents=True)
        for lowering in lowerings:
            write_graph(model, spec, lowering, folder / lowering.file_name)
    write_manifest(folder, spec, [lowering.file_name for lowering in lowerings])
    return open_bundle(folder)


def carry_table(table: CalibrationTable, draft: Bundle) -> None:
    """Give a draft the ranges that were measured on another graph of the same network and input size.

    Ranges are named after the checkpoint's weights, which counts and batch do not change; building an engine
    refuses a table that lacks one.

    Raises:
        ArtifactError: The draft has no portable graph.
        EdgeSegError: The disk is full.
    """
    draft.graph_path(Lowering.PORTABLE)
    graph = draft.files[Lowering.PORTABLE.file_name]
    write_table(replace(table, graph_sha256=graph.sha256), draft.path / TABLE_FILE)
