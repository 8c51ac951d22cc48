"""From a bundle, taps and images to the table of ranges."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.bundle.manifest import Bundle
from edgeseg.errors import CalibrationError
from edgeseg.runtime.backends.onnxruntime import OUTPUTS
from edgeseg.runtime.input_sizes import best_input, size_advice
from edgeseg.spec import Lowering
from edgeseg.vision.letterbox import letterbox_batch

from .checkpoint import (
    PARTIAL_FILE,
    Counted,
    Identity,
    identity_of,
    nothing_counted,
    read_partial,
    write_partial,
)
from .consistency import check_detections, check_images, runtime_detections, runtime_images
from .counting import check_rows, count_values
from .images import ChosenImage, choose_images, images_sha256, read_chosen
from .instrumented_graph import TappedGraph, detections_in, passes_of
from .methods import range_from_histogram
from .observers import Rows, Tap
from .table import CalibrationTable
from .time_left import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edgeseg.runtime.contract import RawDetections

    from .histogram import Histogram
    from .images import CalibrationConfig
    from .observers import Taps

# An interruption loses at most this much.
SAVE_EVERY_S = 20.0


def collect(
    bundle: Bundle,
    taps: Sequence[Taps],
    config: CalibrationConfig,
    progress: Callable[[str], None] = lambda line: None,
    note: Callable[[str], None] = lambda line: None,
) -> CalibrationTable:
    """Run the FP32 graph on images and cut a range for every tap.

    What has been counted is kept in the bundle when this is interrupted, for `config.resume`.

    Args:
        bundle: Its portable graph is run; one of several input sizes on the images that the runtime would
            give it.
        taps: Values to measure in the graph of each input size; their keys are the same.
        config: Which images, which method.
        progress: Called with a line at every image: how far it is, how long it will take.
        note: Called with what a user should know, such as an image that was skipped.

    Raises:
        CalibrationError: Too few usable images, a value that is not finite or was never seen, calibration
            that does not see what the runtime sees, or an interrupted one that cannot be resumed.
        DependencyError: `onnx` or `onnxruntime` is missing.
    """
    passes = [passes_of(each, its) for each, its in zip(bundle.sizes, taps, strict=True)]
    images = choose_images(config, progress, note)
    sizes_hw = [each.spec.input_size_hw for each in bundle.sizes]
    if advice := size_advice([image.size_hw for image in images], sizes_hw, str(config.folder)):
        note(advice)
    runs = [
        run
        for each, its, groups, batches in zip(
            bundle.sizes, taps, passes, _shared_out(images, sizes_hw, bundle.spec.batch), strict=True
        )
        for run in _runs(each, its.present, groups, batches, config, several=bool(bundle.other_sizes))
    ]
    job = _Job(path=bundle.path / PARTIAL_FILE, runs=runs, progress=progress, note=note)
    graphs = [each.files[Lowering.PORTABLE.file_name].sha256 for each in bundle.sizes]
    measured = [run.taps for run in runs]
    identity = identity_of("+".join(graphs), measured, images, config.seed, config.bit_depth)
    counted = _measure(job, identity, _begin(job, identity, resume=config.resume))
    job.path.unlink(missing_ok=True)
    _check_seen(counted, len(images))
    progress("cutting ranges")
    return CalibrationTable(
        method=config.method,
        images=len(images),
        images_sha256=images_sha256(images),
        graph_sha256=graphs[0],
        seed=config.seed,
        ranges={
            key: range_from_histogram(histogram, config.method)
            for key, histogram in counted.histograms.items()
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One pass of one graph over the images of its input size.

    Attributes:
        whole: The last pass, which runs the graph to its end, so that what it finds can be compared.
        name: What tells it from the other runs; empty where it is the only one.
    """

    bundle: Bundle
    present: str
    taps: tuple[Tap, ...]
    folder: Path
    bit_depth: int | None
    batches: list[tuple[ChosenImage, ...]]
    whole: bool
    name: str

    @property
    def steps(self) -> list[str]:
        """Name each batch."""
        count, size = sum(map(len, self.batches)), self.bundle.spec.batch
        return [
            f"calibrating: image {size * number + 1} of {count}{self.name}"
            for number in range(len(self.batches))
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """Everything that stays the same while measuring; `path` is where it is kept when interrupted."""

    path: Path
    runs: list[_Run]
    progress: Callable[[str], None]
    note: Callable[[str], None]

    @property
    def steps(self) -> list[str]:
        """Name each batch of each run, in order."""
        return [step for run in self.runs for step in run.steps]


def _runs(
    bundle: Bundle,
    present: str,
    passes: Sequence[tuple[Tap, ...]],
    batches: list[tuple[ChosenImage, ...]],
    config: CalibrationConfig,
    *,
    several: bool,
) -> Iterator[_Run]:
    """Give the passes of one input size; their names say which size where there are several."""
    height, width = bundle.spec.input_size_hw
    at = f" at {height}x{width}" if several else ""
    for number, taps in enumerate(passes, start=1):
        yield _Run(
            bundle=bundle,
            present=present,
            taps=taps,
            folder=config.folder,
            bit_depth=config.bit_depth,
            batches=batches,
            whole=number == len(passes),
            name=at + (f", pass {number} of {len(passes)}" if len(passes) > 1 else ""),
        )


def _shared_out(
    images: Sequence[ChosenImage], sizes_hw: Sequence[tuple[int, int]], batch: int
) -> list[list[tuple[ChosenImage, ...]]]:
    """Give each input size the images that the runtime would compute at it, in batches."""
    taken: list[list[ChosenImage]] = [[] for _ in sizes_hw]
    for image in images:
        taken[best_input(image.size_hw, sizes_hw)].append(image)
    return [[tuple(its[start : start + batch]) for start in range(0, len(its), batch)] for its in taken]


def _begin(job: _Job, identity: Identity, *, resume: bool) -> Counted:
    """Take up an earlier calibration or begin anew; finds out now whether the bundle can be written to."""
    counted = nothing_counted([run.taps for run in job.runs])
    if resume and job.path.exists():
        counted = read_partial(job.path, identity)
    elif resume:
        job.note(f"nothing to resume: {job.path} is not there; starting from the first image")
    write_partial(job.path, identity, counted)
    return counted


def _measure(job: _Job, identity: Identity, counted: Counted) -> Counted:
    steps = job.steps
    clock = Clock(steps, done=counted.batches, progress=job.progress)
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
            job.note(f"stopped after {counted.batches} of {len(steps)} steps; go on with --resume")
        raise
    return counted


def _save(job: _Job, identity: Identity, counted: Counted) -> None:
    """Keep what is counted; a full disk is told and does not end a calibration that can still be finished."""
    try:
        write_partial(job.path, identity, counted)
    except CalibrationError as exc:
        job.note(f"{exc}; an interruption would lose what was measured")


def _counts(job: _Job, done: int, clock: Clock) -> Iterator[dict[str, Histogram]]:
    """Measure one batch after the other, run after run, from batch `done` on."""
    for run in job.runs:
        batches = run.batches[done:]
        done = max(0, done - len(run.batches))
        if batches:
            yield from _counts_of_run(run, batches, clock)


def _counts_of_run(
    run: _Run, batches: Sequence[Sequence[ChosenImage]], clock: Clock
) -> Iterator[dict[str, Histogram]]:
    spec = run.bundle.spec
    # Before the other session is there: two would take half as much memory again.
    expected = _expected(run, batches[0]) if run.whole else None
    graph = TappedGraph(run.bundle, _wanted(run))
    for batch in batches:
        clock.tell()
        where = ", ".join(image.name for image in batch)
        frames = _frames(run, batch)
        images, _ = letterbox_batch(frames, spec)
        check_images(images, runtime_images(frames, spec), where)
        values = graph(images)
        check_rows(run.taps, values, spec)
        if expected is not None:
            check_detections(detections_in(values), expected, spec, where)
            expected = None
        present = values.get(run.present)
        yield count_values(run.taps, values, len(batch), present, where)
        clock.step()


def _expected(run: _Run, batch: Sequence[ChosenImage]) -> RawDetections:
    return runtime_detections(run.bundle, runtime_images(_frames(run, batch), run.bundle.spec))


def _wanted(run: _Run) -> list[str]:
    """Name the values that a run hands out."""
    names = [tap.tensor for tap in run.taps]
    if any(tap.rows is Rows.PROPOSALS for tap in run.taps):
        names.append(run.present)
    return [*names, *OUTPUTS] if run.whole else names


def _frames(run: _Run, batch: Sequence[ChosenImage]) -> list[NDArray[np.uint8]]:
    """Read a batch; the last image fills what is missing of it."""
    frames = [read_chosen(run.folder, image, bit_depth=run.bit_depth) for image in batch]
    return frames + frames[-1:] * (run.bundle.spec.batch - len(frames))


def _check_seen(counted: Counted, images: int) -> None:
    unseen = [key for key, histogram in counted.histograms.items() if not histogram.total]
    if unseen:
        msg = (
            f"the model found nothing in {images} images, so {len(unseen)} values that come after a "
            f"detection were never seen, such as {unseen[0]}; calibrate on images of what it is to find"
        )
        raise CalibrationError(msg)
