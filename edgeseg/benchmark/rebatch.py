"""The user's bundle at another batch: exported anew for one run, with the engines that it has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeseg.bundle.engines import Precision, Target, recorded_engines
from edgeseg.bundle.manifest import open_bundle
from edgeseg.errors import ExportError, InputError

from .worker.process import RowError, WorkerProcess
from .worker.requests import BuildRebatchedEngine, RebatchBundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle

    from .row_run import RowRun
    from .rows import RunContext
    from .worker.requests import Done, Request

REBATCHED_FOLDER = "model"
# On a small board TensorRT tries kernels for the better part of an hour.
TIMEOUT_S = 7200.0


def check_batch(batch: int, bundle: Bundle, checkpoint: Path | None) -> None:
    """Say before the work whether a bundle can be measured with so many images a call.

    Raises:
        InputError: It would have to be exported anew, and its checkpoint was not found.
    """
    if batch == bundle.spec.batch or checkpoint is not None:
        return
    name = bundle.spec.checkpoint
    msg = (
        f"{bundle.path} has a batch of {bundle.spec.batch}, and for one of {batch} it must be exported anew "
        f"from {name}, which is neither here nor beside the bundle; name it with --checkpoint, or measure "
        f"what `edgeseg export {name} --batch {batch}` writes"
    )
    raise InputError(msg)


def rebatch(context: RunContext, batch: int) -> RunContext:
    """Export the user's bundle for another batch, into the run's folder; its engines `build_row_engine` adds.

    Raises:
        ExportError: It could not be exported; the message has the reason.
    """
    folder = context.folder / REBATCHED_FOLDER
    request = RebatchBundle(
        model=str(context.model),
        folder=str(folder),
        batch=batch,
        checkpoint=str(context.checkpoint),
        factory=context.factory,
    )
    try:
        _ask_worker(request)
    except RowError as exc:
        msg = f"{context.model} cannot be exported for a batch of {batch}: {exc}"
        raise ExportError(msg) from exc
    return replace(context, bundle=open_bundle(folder))


def build_row_engine(row_run: RowRun, context: RunContext, progress: Callable[[str], None]) -> None:
    """Build the engine of a row for the bundle that `rebatch` made, if the row needs one.

    Raises:
        RowError: The user's bundle has none, or it could not be built.
    """
    target, precision = Target(row_run.row.engine), Precision(row_run.row.precision)
    has_engine = (target, precision) in recorded_engines(context.model)
    # In other precisions processors run the exported graph itself where nothing was built.
    if not (has_engine or target.needs_gpu or precision is Precision.INT8):
        return
    batch = context.bundle.spec.batch
    progress(f"{row_run.row.label}: building its engine for a batch of {batch}")
    try:
        _ask_worker(BuildRebatchedEngine(runner_spec=row_run.runner_spec, model=str(context.model)))
    except RowError as exc:
        if not has_engine:
            raise
        msg = f"its engine could not be built for a batch of {batch}: {exc}"
        raise RowError(msg, refused=exc.refused) from exc


def _ask_worker(request: Request[Done]) -> None:
    """Work in a process that then gives back its memory, the GPU's too."""
    worker = WorkerProcess()
    try:
        worker.ask(request, timeout_s=TIMEOUT_S)
    finally:
        worker.close()
