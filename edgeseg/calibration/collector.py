"""Measure the ranges of a bundle's values on calibration images."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.bundle.manifest import Bundle
from edgeseg.errors import CalibrationError
from edgeseg.ports import OUTPUTS
from edgeseg.runtime.contract import raw_from_outputs
from edgeseg.runtime.input_sizes import best_input, size_advice
from edgeseg.runtime.model import prepare_frames
from edgeseg.spec import Lowering

from .checkpoint import (
    PARTIAL_FILE,
    CalibrationIdentity,
    CalibrationProgress,
    calibration_identity,
    empty_progress,
    read_progress,
    write_progress,
)
from .consistency import check_detections, runtime_detections
from .counting import check_rows, histograms_from_values
from .images import CalibrationImage, choose_images, images_sha256, read_calibration_image
from .instrumented_graph import InstrumentedGraph, plan_passes
from .methods import range_from_histogram
from .observers import FirstAxis, RangeObserver
from .table import CalibrationTable
from .time_left import ProgressClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from .histogram import Histogram
    from .images import CalibrationConfig
    from .observers import RangeObservers

# Time between saves. A crash loses at most this much work.
SAVE_EVERY_S = 20.0


def collect(
    bundle: Bundle,
    observers: Sequence[RangeObservers],
    config: CalibrationConfig,
    progress: Callable[[str], None] = lambda line: None,
    note: Callable[[str], None] = lambda line: None,
) -> CalibrationTable:
    """Run the FP32 graph on images and derive a range for every observer.

    If this is interrupted, what has been counted is kept in the bundle so that `config.resume` can go on.

    Args:
        bundle: Bundle whose portable graph is run. If it has several input sizes, each graph is run on the
            images for which the runtime would choose that size.
        observers: Values to measure in the graph of each input size; the keys are the same for all sizes.
        config: Which images to use and how to derive the ranges.
        progress: Called with a line for every batch: the progress and the time left.
        note: Called with what a user should know, such as an image that was skipped.

    Raises:
        CalibrationError: There are too few usable images, a value is not finite or was never computed, the
            measured graph does not find what the runtime finds, or an interrupted calibration cannot be
            resumed.
        DependencyError: `onnx` or `onnxruntime` is missing.
    """
    passes = [
        plan_passes(each, size_observers)
        for each, size_observers in zip(bundle.sizes, observers, strict=True)
    ]
    images = choose_images(config, progress, note)
    sizes_hw = [each.spec.input_size_hw for each in bundle.sizes]
    if advice := size_advice([image.size_hw for image in images], sizes_hw, str(config.folder)):
        note(advice)
    batches = _batches_by_size(images, sizes_hw, bundle.spec.batch)
    several = bool(bundle.other_sizes)
    all_passes = [
        one_pass
        for each, size_observers, groups, own in zip(bundle.sizes, observers, passes, batches, strict=True)
        for one_pass in _passes_at_size(each, size_observers.present, groups, own, config, several=several)
    ]
    measurement = _Measurement(
        path=bundle.path / PARTIAL_FILE, all_passes=all_passes, progress=progress, note=note
    )
    graphs = [each.files[Lowering.PORTABLE.file_name].sha256 for each in bundle.sizes]
    measured = [one_pass.observers for one_pass in all_passes]
    identity = calibration_identity("+".join(graphs), measured, images, config.seed, config.bit_depth)
    collected = _measure(measurement, identity, _start_or_resume(measurement, identity, resume=config.resume))
    measurement.path.unlink(missing_ok=True)
    _check_all_observed(collected, len(images))
    progress("cutting ranges")
    ranges = {
        key: range_from_histogram(histogram, config.method) for key, histogram in collected.histograms.items()
    }
    return CalibrationTable(
        method=config.method,
        images=len(images),
        images_sha256=images_sha256(images),
        graph_sha256=graphs[0],
        seed=config.seed,
        ranges=ranges,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """One pass of one graph over the images of its input size.

    Attributes:
        present: Name of the graph's `bool[B, max_proposals]`, True where a row holds a proposal.
        is_last: Whether this is the last pass, which also computes the detections so that they can be
            compared with those of the runtime.
        name: Suffix of progress lines that tells this pass from the others; empty if there is only one.
    """

    bundle: Bundle
    present: str
    observers: tuple[RangeObserver, ...]
    folder: Path
    bit_depth: int | None
    batches: list[tuple[CalibrationImage, ...]]
    is_last: bool
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
class _Measurement:
    """Everything that stays the same while measuring; `path` is the file that keeps the progress."""

    path: Path
    all_passes: list[_Pass]
    progress: Callable[[str], None]
    note: Callable[[str], None]

    @property
    def steps(self) -> list[str]:
        """Name each batch of each pass, in order."""
        return [step for one_pass in self.all_passes for step in one_pass.steps]


def _passes_at_size(
    bundle: Bundle,
    present: str,
    passes: Sequence[tuple[RangeObserver, ...]],
    batches: list[tuple[CalibrationImage, ...]],
    config: CalibrationConfig,
    *,
    several: bool,
) -> Iterator[_Pass]:
    """Yield the passes of one input size; their names state the size if there are several."""
    height, width = bundle.spec.input_size_hw
    at = f" at {height}x{width}" if several else ""
    for number, observers in enumerate(passes, start=1):
        yield _Pass(
            bundle=bundle,
            present=present,
            observers=observers,
            folder=config.folder,
            bit_depth=config.bit_depth,
            batches=batches,
            is_last=number == len(passes),
            name=at + (f", pass {number} of {len(passes)}" if len(passes) > 1 else ""),
        )


def _batches_by_size(
    images: Sequence[CalibrationImage], sizes_hw: Sequence[tuple[int, int]], batch: int
) -> list[list[tuple[CalibrationImage, ...]]]:
    """Group the images by the input size that the runtime would choose for them, in batches."""
    images_by_size: list[list[CalibrationImage]] = [[] for _ in sizes_hw]
    for image in images:
        images_by_size[best_input(image.size_hw, sizes_hw)].append(image)
    return [
        [tuple(group[start : start + batch]) for start in range(0, len(group), batch)]
        for group in images_by_size
    ]


def _start_or_resume(
    measurement: _Measurement, identity: CalibrationIdentity, *, resume: bool
) -> CalibrationProgress:
    """Resume an earlier calibration or begin a new one.

    Writes the progress file at once, so that a bundle that cannot be written to is reported early.
    """
    collected = empty_progress([one_pass.observers for one_pass in measurement.all_passes])
    if resume and measurement.path.exists():
        collected = read_progress(measurement.path, identity)
    elif resume:
        measurement.note(f"nothing to resume: {measurement.path} is not there; starting from the first image")
    write_progress(measurement.path, identity, collected)
    return collected


def _measure(
    measurement: _Measurement, identity: CalibrationIdentity, collected: CalibrationProgress
) -> CalibrationProgress:
    steps = measurement.steps
    clock = ProgressClock(steps, done=collected.batches, progress=measurement.progress)
    saved_s = time.monotonic()
    try:
        for batch_histograms in _histograms(measurement, collected.batches, clock):
            # A single assignment, so that an interruption never leaves a batch half counted.
            collected = collected.plus(batch_histograms)
            if time.monotonic() - saved_s > SAVE_EVERY_S:
                _save(measurement, identity, collected)
                saved_s = time.monotonic()
    except BaseException as exc:
        _save(measurement, identity, collected)
        if isinstance(exc, KeyboardInterrupt):
            measurement.note(f"stopped after {collected.batches} of {len(steps)} steps; go on with --resume")
        raise
    return collected


def _save(measurement: _Measurement, identity: CalibrationIdentity, collected: CalibrationProgress) -> None:
    """Save the progress; a failure such as a full disk is reported and does not end the calibration."""
    try:
        write_progress(measurement.path, identity, collected)
    except CalibrationError as exc:
        measurement.note(f"{exc}; an interruption would lose what was measured")


def _histograms(measurement: _Measurement, done: int, clock: ProgressClock) -> Iterator[dict[str, Histogram]]:
    """Measure batch after batch, pass after pass, skipping the first `done` batches."""
    for one_pass in measurement.all_passes:
        batches = one_pass.batches[done:]
        done = max(0, done - len(one_pass.batches))
        if batches:
            yield from _histograms_of_pass(one_pass, batches, clock)


def _histograms_of_pass(
    one_pass: _Pass, batches: Sequence[Sequence[CalibrationImage]], clock: ProgressClock
) -> Iterator[dict[str, Histogram]]:
    spec = one_pass.bundle.spec
    # Run before the instrumented session exists: holding both would take half as much memory again.
    expected = None
    if one_pass.is_last:
        expected = runtime_detections(one_pass.bundle, _inputs(one_pass, batches[0]))
    graph = InstrumentedGraph(one_pass.bundle, _output_names(one_pass))
    for batch in batches:
        clock.report()
        where = ", ".join(image.name for image in batch)
        values = graph(_inputs(one_pass, batch))
        check_rows(one_pass.observers, values, spec)
        if expected is not None:
            check_detections(raw_from_outputs(values), expected, spec, where)
            expected = None
        present = values.get(one_pass.present)
        yield histograms_from_values(one_pass.observers, values, len(batch), present, where)
        clock.step()


def _output_names(one_pass: _Pass) -> list[str]:
    """Name the values that the graph must output in a pass."""
    names = [observer.tensor for observer in one_pass.observers]
    if any(observer.rows is FirstAxis.PROPOSALS for observer in one_pass.observers):
        names.append(one_pass.present)
    return [*names, *OUTPUTS] if one_pass.is_last else names


def _inputs(one_pass: _Pass, batch: Sequence[CalibrationImage]) -> NDArray[np.uint8]:
    """Read a batch and have the runtime prepare it: `uint8[B, H, W, 3]`.

    An incomplete batch is filled by repeating its last image.
    """
    frames = [read_calibration_image(one_pass.folder, image, bit_depth=one_pass.bit_depth) for image in batch]
    spec = one_pass.bundle.spec
    (prepared,) = prepare_frames(frames + frames[-1:] * (spec.batch - len(frames)), [spec])
    return prepared.images


def _check_all_observed(collected: CalibrationProgress, images: int) -> None:
    unseen = [key for key, histogram in collected.histograms.items() if not histogram.total]
    if unseen:
        msg = (
            f"the model found nothing in {images} images, so {len(unseen)} values that come after a "
            f"detection were never seen, such as {unseen[0]}; calibrate on images of what it is to find"
        )
        raise CalibrationError(msg)
