"""Making the user's bundle again for another batch; runs in processes of its own, for `rebatch.py`."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.bundle.engines import Precision, Target, read_engine_record, recorded_engines
from edgeseg.bundle.manifest import CALIBRATION_FILE, open_bundle
from edgeseg.calibration.table import table_for
from edgeseg.optional import require
from edgeseg.spec import Lowering

if TYPE_CHECKING:
    from edgeseg.benchmark.runners.spec import RunnerSpec
    from edgeseg.bundle.manifest import Bundle


def rebatch_bundle(model: Path, folder: Path, batch: int, checkpoint: Path, factory: str | None) -> None:
    """Export a bundle for another batch without the parity check.

    Args:
        model: The user's bundle.
        folder: Does not exist yet.
        batch: Images of a call.
        checkpoint: Of `model`.
        factory: Function that builds the checkpoint's model, if it was exported with one.

    Raises:
        EdgeSegError: It cannot be exported.
    """
    _set_temporary_folder(folder)
    for package in ("torch", "torchvision"):
        require(package, purpose="export a bundle for another batch")
    from edgeseg.exporter.model.eager import torchvision_from_checkpoint
    from edgeseg.exporter.variant import write_variant

    bundle = open_bundle(model)
    spec = replace(bundle.spec, batch=batch, parity=None)
    network = torchvision_from_checkpoint(checkpoint, spec, factory=factory).eval()
    write_variant(folder, network, spec, _lowerings(bundle))


def build_rebatched_engine(model: Path, runner_spec: RunnerSpec) -> None:
    """Build the engine of a row as the user's bundle has it.

    Args:
        model: The user's bundle.
        runner_spec: Names what to build and the bundle that `rebatch_bundle` wrote.

    Raises:
        EdgeSegError: `model` has no such engine, or it cannot be built.
    """
    from edgeseg.builder.build import BuildConfig, build_engine
    from edgeseg.exporter.variant import copy_table

    bundle_copy = open_bundle(Path(runner_spec.model))
    _set_temporary_folder(bundle_copy.path)
    target, precision = Target(runner_spec.engine), Precision(runner_spec.precision)
    options = read_engine_record(model, target, precision).options
    if precision is Precision.INT8 and not (bundle_copy.path / CALIBRATION_FILE).exists():
        copy_table(table_for(open_bundle(model)), bundle_copy)
    # For this machine, whatever that one was built for, but as exact as it is.
    local_options = replace(options.without_machine(), weight_bits=options.weight_bits)
    build_engine(
        BuildConfig(model=bundle_copy.path, target=target, precision=precision, options=local_options)
    )


def _set_temporary_folder(folder: Path) -> None:
    """Put what libraries leave when this process is ended where the run removes it."""
    tempfile.tempdir = str(folder.parent)


def _lowerings(bundle: Bundle) -> tuple[Lowering, ...]:
    """Choose the graphs that are measured: those for TensorRT only where it builds here what was built."""
    from edgeseg.runtime.targets import unavailable_reason

    on_gpu = any(
        target.needs_gpu and not unavailable_reason(target) for target, _ in recorded_engines(bundle.path)
    )
    return tuple(
        lowering
        for lowering in Lowering
        if lowering.file_name in bundle.files and (on_gpu or lowering is Lowering.PORTABLE)
    )
