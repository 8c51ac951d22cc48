"""From a bundle, taps and images to the table of ranges."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..bundle import Bundle
from ..errors import CalibrationError
from ..runtime.letterbox import letterbox_batch
from ..runtime.ort import OUTPUTS
from ..spec import Lowering
from .agreement import check_detections, check_images, runtime_detections, runtime_images
from .clock import Clock
from .counting import check_rows, count_values
from .images import ChosenImage, choose_images, images_sha256, read_chosen
from .methods import range_from_histogram
from .partial import (
    PARTIAL_FILE,
    Counted,
    Identity,
    identity_of,
    nothing_counted,
    read_partial,
    write_partial,
)
from .table import CalibrationTable
from .tapped import TappedGraph, detections_in, passes_of
from .taps import Rows, Tap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ..runtime.backend import RawDetections
    from .histogram import Histogram
    from .images import CalibrationConfig
    from .taps import Taps

# An interruption loses at most this much.
SAVE_EVERY_S = 20.0


def collect(
    bundle: Bundle,
    taps: Taps,
    config: CalibrationConfig,
    progress: Callable[[str], None] = lambda line: None,
    note: Callable[[str], None] = lambda line: None,
) -> CalibrationTable:
    """Run the FP32 graph on images and cut a range for every tap.

    What has been counted is kept in the bundle when this is interrupted, for `config.resume`.

    Args:
        bundle: Its portable graph is run.
        taps: Values to measure.
        config: Which images, which method.
        progress: Called with a line at every image: how far it is, how long it will take.
        note: Called with what a user should know, such as an image that was skipped.

    Raises:
        CalibrationError: Too few usable images, a value that is not finite or was never seen, calibration
            that does not see what the runtime sees, or an interrupted one that cannot be resumed.
        DependencyError: `onnx` or `onnxruntime` is missing.
    """
    passes = passes_of(bundle, taps)
    images = choose_images(config, progress, note)
    size = bundle.spec.batch
    job = _Job(
        bundle=bundle,
        present=taps.present,
        passes=passes,
        folder=config.folder,
        bit_depth=config.bit_depth,
        batches=[images[start : start + size] for start in range(0, len(images), size)],
        progress=progress,
        note=note,
    )
    graph_sha256 = bundle.files[Lowering.PORTABLE.file_name].sha256
    identity = identity_of(graph_sha256, passes, images, config.seed, config.bit_depth)
    counted = _measure(job, identity, _begin(job, identity, resume=config.resume))
    job.partial_path.unlink(missing_ok=True)
    _check_seen(counted, len(images))
    progress("cutting ranges")
    return CalibrationTable(
        method=config.method,
        images=len(images),
        images_sha256=images_sha256(images),
        graph_sha256=graph_sha256,
        seed=config.seed,
        ranges={
            key: range_from_histogram(histogram, config.method)
            for key, histogram in counted.histograms.items()
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """Everything that stays the same while measuring."""

    bundle: Bundle
    present: str
    passes: list[tuple[Tap, ...]]
    folder: Path
    bit_depth: int | None
    batches: list[tuple[ChosenImage, ...]]
    progress: Callable[[str], None]
    note: Callable[[str], None]

    @property
    def partial_path(self) -> Path:
        return self.bundle.path / PARTIAL_FILE

    @property
    def total(self) -> int:
        """Batches over all passes."""
        return len(self.passes) * len(self.batches)


def _begin(job: _Job, identity: Identity, *, resume: bool) -> Counted:
    """Take up an earlier calibration or begin anew; finds out now whether the bundle can be written to."""
    counted = nothing_counted(job.passes)
    if resume and job.partial_path.exists():
        counted = read_partial(job.partial_path, identity)
    elif resume:
        job.note(f"nothing to resume: {job.partial_path} is not there; starting from the first image")
    write_partial(job.partial_path, identity, counted)
    return counted


def _measure(job: _Job, identity: Identity, counted: Counted) -> Counted:
    clock = Clock(
        images=sum(len(batch) for batch in job.batches),
        batch=job.bundle.spec.batch,
        passes=len(job.passes),
        done=counted.batches,
        progress=job.progress,
    )
    saved = time.monotonic()
    try:
        for fresh in _counts(job, counted.batches, clock):
            # One assignment: an interruption finds the batch in it whole or not at all.
            counted = counted.plus(fresh)
            if time.monotonic() - saved > SAVE_EVERY_S:
                _save(job, identity, counted)
                saved = time.monotonic()
    except BaseException as exc:
        _save(job, identity, counted)
        if isinstance(exc, KeyboardInterrupt):
            job.note(f"stopped after {counted.batches} of {job.total} steps; go on with --resume")
        raise
    return counted


def _save(job: _Job, identity: Identity, counted: Counted) -> None:
    """Keep what is counted; a full disk is told and does not end a calibration that can still be finished."""
    try:
        write_partial(job.partial_path, identity, counted)
    except CalibrationError as exc:
        job.note(f"{exc}; an interruption would lose what was measured")


def _counts(job: _Job, done: int, clock: Clock) -> Iterator[dict[str, Histogram]]:
    """Measure one batch after the other, pass after pass, from batch `done` on."""
    for number, taps in enumerate(job.passes):
        batches = job.batches[max(0, done - number * len(job.batches)) :]
        if batches:
            yield from _counts_of_pass(job, taps, batches, clock)


def _counts_of_pass(
    job: _Job, taps: Sequence[Tap], batches: Sequence[Sequence[ChosenImage]], clock: Clock
) -> Iterator[dict[str, Histogram]]:
    spec = job.bundle.spec
    # The last pass runs the whole graph, so what it finds can be compared.
    whole = taps is job.passes[-1]
    # Before the other session is there: two would take half as much memory again.
    expected = _expected(job, batches[0]) if whole else None
    graph = TappedGraph(job.bundle, _wanted(job, taps, whole=whole))
    for batch in batches:
        clock.tell()
        where = ", ".join(image.name for image in batch)
        frames = _frames(job, batch)
        images, _ = letterbox_batch(frames, spec)
        check_images(images, runtime_images(frames, spec), where)
        values = graph(images)
        check_rows(taps, values, spec)
        if expected is not None:
            check_detections(detections_in(values), expected, spec, where)
            expected = None
        present = values.get(job.present)
        yield count_values(taps, values, len(batch), present, where)
        clock.step()


def _expected(job: _Job, batch: Sequence[ChosenImage]) -> RawDetections:
    return runtime_detections(job.bundle, runtime_images(_frames(job, batch), job.bundle.spec))


def _wanted(job: _Job, taps: Sequence[Tap], *, whole: bool) -> list[str]:
    """Name the values that a pass hands out."""
    names = [tap.tensor for tap in taps]
    if any(tap.rows is Rows.PROPOSALS for tap in taps):
        names.append(job.present)
    return [*names, *OUTPUTS] if whole else names


def _frames(job: _Job, batch: Sequence[ChosenImage]) -> list[NDArray[np.uint8]]:
    """Read a batch; the last image fills what is missing of it."""
    frames = [read_chosen(job.folder, image, bit_depth=job.bit_depth) for image in batch]
    return frames + frames[-1:] * (job.bundle.spec.batch - len(frames))


def _check_seen(counted: Counted, images: int) -> None:
    unseen = [key for key, histogram in counted.histograms.items() if not histogram.total]
    if unseen:
        msg = (
            f"the model found nothing in {images} images, so {len(unseen)} values that come after a "
            f"detection were never seen, such as {unseen[0]}; calibrate on images of what it is to find"
        )
        raise CalibrationError(msg)
