"""Making the user's bundle again for another batch; runs in processes of its own, for `batch.py`."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.bundle.engines import Precision, Target, engines_of, read_engine_record
from edgeseg.bundle.manifest import TABLE_FILE, open_bundle
from edgeseg.calibration.table import table_for
from edgeseg.optional import require
from edgeseg.spec import Lowering

if TYPE_CHECKING:
    from edgeseg.benchmark.runners.spec import Recipe
    from edgeseg.bundle.manifest import Bundle


def write_replica(model: Path, folder: Path, batch: int, checkpoint: Path, factory: str | None) -> None:
    """Export a bundle for another batch without the parity gate.

    Args:
        model: The user's bundle.
        folder: Does not exist yet.
        batch: Images of a call.
        checkpoint: Of `model`.
        factory: Function that builds the checkpoint's model, if it was exported with one.

    Raises:
        EdgeSegError: It cannot be exported.
    """
    _keep_temporary_files(folder)
    for package in ("torch", "torchvision"):
        require(package, purpose="export a bundle for another batch")
    from edgeseg.exporter.model.eager import torchvision_from_checkpoint
    from edgeseg.exporter.variant import write_draft

    bundle = open_bundle(model)
    spec = replace(bundle.spec, batch=batch, parity=None)
    network = torchvision_from_checkpoint(checkpoint, spec, factory=factory).eval()
    write_draft(folder, network, spec, _lowerings(bundle))


def build_replica(model: Path, recipe: Recipe) -> None:
    """Build the engine of a row as the user's bundle has it.

    Args:
        model: The user's bundle.
        recipe: Names what to build and the bundle that `write_replica` wrote.

    Raises:
        EdgeSegError: `model` has no such engine, or it cannot be built.
    """
    from edgeseg.builder.build import BuildConfig, build_engine
    from edgeseg.exporter.variant import carry_table

    draft = open_bundle(Path(recipe.model))
    _keep_temporary_files(draft.path)
    target, precision = Target(recipe.engine), Precision(recipe.precision)
    options = read_engine_record(model, target, precision).options
    if precision is Precision.INT8 and not (draft.path / TABLE_FILE).exists():
        carry_table(table_for(open_bundle(model)), draft)
    # For this machine, whatever that one was built for, but as exact as it is.
    here = replace(options.anywhere(), weight_bits=options.weight_bits)
    build_engine(BuildConfig(model=draft.path, target=target, precision=precision, options=here))


def _keep_temporary_files(folder: Path) -> None:
    """Put what libraries leave when this process is ended where the run removes it."""
    tempfile.tempdir = str(folder.parent)


def _lowerings(bundle: Bundle) -> tuple[Lowering, ...]:
    """Choose the graphs that are measured: those for TensorRT only where it builds here what was built."""
    from edgeseg.runtime.targets import obstacle

    on_gpu = any(target.needs_gpu and not obstacle(target) for target, _ in engines_of(bundle.path))
    return tuple(
        lowering
        for lowering in Lowering
        if lowering.file_name in bundle.files and (on_gpu or lowering is Lowering.PORTABLE)
    )
