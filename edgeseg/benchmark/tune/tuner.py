"""One search from a checkpoint to a report, and to the bundle that was chosen."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.benchmark.config import BenchmarkConfig
from edgeseg.benchmark.images import BenchmarkImages, load_images
from edgeseg.benchmark.machine import describe_machine
from edgeseg.builder.build import BuildConfig, build_engine
from edgeseg.bundle.engines import Precision
from edgeseg.bundle.manifest import check_bundle_folder
from edgeseg.calibration.images import CalibrationConfig, choose_images
from edgeseg.errors import ConfigError, EdgeSegError
from edgeseg.exporter.export import export
from edgeseg.exporter.variant import VariantWriter
from edgeseg.files.records import mapped_write_errors
from edgeseg.files.temporary import scratch_folder
from edgeseg.quantisation.calibrate import calibrate
from edgeseg.runtime.host.processors import usable_cpus
from edgeseg.runtime.model import open_model

from .candidate import shape_grid
from .engines import runnable_engines
from .measurer import MachineMeasurer, calibration_for
from .report import TuneReport, WrittenBundle, commands_for
from .search import OutOfTimeError, Search, SearchPlan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeseg.quantisation.evaluator import Score

    from .candidate import Shape
    from .config import TuneConfig

FRAMES_FILE = "frames.npy"
# Half of what one calibration takes, as every size is calibrated.
CALIB_IMAGES = 50
# Numbers of threads: one a core, half as many, a quarter.
MAX_HALVINGS = 2


@contextmanager
def open_tuner(
    config: TuneConfig,
    progress: Callable[[str], None] = lambda line: None,
    note: Callable[[str], None] = lambda line: None,
) -> Iterator[Tuner]:
    """Check all that was given and get ready to search; the files of the search are removed at the end.

    Args:
        config: What to search.
        progress: Called with a line at each step.
        note: Called with what a user should know at once.

    Raises:
        CalibrationError: The images to calibrate on do not do.
        ConfigError: A setting cannot work, or something is already at the output.
        DependencyError: No engine runs here.
        EdgeSegError: The disk is full.
        InputError: The checkpoint, the images or the annotations are unusable or do not belong together.
    """
    start_s = time.monotonic()
    if config.output is not None:
        check_bundle_folder(config.output, force=config.force)
    engines = runnable_engines(config.engine, int8=config.calib is not None)
    for line in engines.notes:
        note(line)
    if config.calib is not None:
        calibration_config = CalibrationConfig(
            folder=config.calib, images=config.calib_images, max_images=CALIB_IMAGES
        )
        # What is calibrated again for every size, and named in the report's command, is this many.
        config = replace(config, calib_images=len(choose_images(calibration_config, progress, note)))
    progress(f"reading {config.checkpoint.name}")
    variants = VariantWriter(config.export_config)
    plan = SearchPlan(
        grid=shape_grid(config.size_hw or variants.size_hw, variants.model_limits.max_proposals),
        engines=engines.pairs,
        threads=_thread_counts(config.engine.threads),
        limits=config.limits,
        turns=config.turns,
        until_s=start_s + 60 * config.minutes,
    )
    with _measurer(config, variants, plan.grid.largest, progress, note) as measurer:
        search = Search(plan, measurer, progress)
        yield Tuner(measurer=measurer, search=search, progress=progress, notes=engines.notes, start_s=start_s)


@contextmanager
def _measurer(
    config: TuneConfig,
    variants: VariantWriter,
    largest: Shape,
    progress: Callable[[str], None],
    note: Callable[[str], None],
) -> Iterator[MachineMeasurer]:
    benchmark_config = BenchmarkConfig(
        images=config.images,
        annotations=config.annotations,
        max_images=config.max_annotated,
        frames=config.frames,
    )
    images = load_images(benchmark_config, variants.spec(largest.size_hw, largest.max_proposals), progress)
    with scratch_folder() as folder:
        frames = folder / FRAMES_FILE
        with mapped_write_errors(frames):
            np.save(frames, images.batches)
        yield MachineMeasurer(
            config=config,
            variants=variants,
            folder=frames.parent,
            frames=frames,
            images=images,
            progress=progress,
            note=note,
        )


@dataclass(slots=True, kw_only=True)
class Tuner:
    """A search, ready to run.

    Attributes:
        start_s: When it began, by `time.monotonic()`.
    """

    measurer: MachineMeasurer
    search: Search
    progress: Callable[[str], None]
    notes: tuple[str, ...]
    start_s: float

    @property
    def config(self) -> TuneConfig:
        """What was asked for."""
        return self.measurer.config

    @property
    def images(self) -> BenchmarkImages:
        """What is timed and scored."""
        return self.measurer.images

    def run(self) -> TuneReport:
        """Search, and tell what was found; Ctrl-C, the time's end or a full disk end it early.

        Raises:
            EdgeSegError: The reference could not be measured.
            KeyboardInterrupt: Before anything was measured.
        """
        ended, failure, interrupted = "", "", False
        try:
            self.search.run()
        except KeyboardInterrupt:
            ended, interrupted = "it was interrupted", True
        except OutOfTimeError:
            ended = f"{self.config.minutes:g} minutes are over"
        except (EdgeSegError, OSError) as exc:
            if self.search.reference is None:
                raise
            failure = str(exc)
        if interrupted and self.search.reference is None:
            raise KeyboardInterrupt
        return replace(self._report(), ended=ended or failure, interrupted=interrupted, failure=failure)

    def write(self, report: TuneReport) -> TuneReport:
        """Export the chosen point at `config.output` with the parity check, build its engine and score it.

        Raises:
            ConfigError: Nothing was chosen, or no output was named.
            EdgeSegError: As exporting, calibrating and building do.
            GraphParityError: The graph does not find what PyTorch finds; nothing was written.
        """
        point, config = report.chosen, self.config
        if point is None or config.output is None:
            msg = "a bundle is written where one was chosen and an output was named"
            raise ConfigError(msg)
        candidate = point.candidate
        shape = candidate.shape
        bundle = export(
            config.export_config_at(shape.size_hw, shape.max_proposals), self.progress, self.measurer.note
        )
        if candidate.precision is Precision.INT8 and config.calib is not None:
            calibrate(calibration_for(config, config.calib, bundle.path), self.progress)
        target, precision = candidate.target, candidate.precision
        build_engine(BuildConfig(model=bundle.path, target=target, precision=precision), self.progress)
        self.progress("scoring what was written")
        choice = replace(
            config.engine, backend=target.value, precision=precision.value, threads=candidate.threads
        )
        with open_model(bundle.path, choice) as model:
            return replace(
                report, written=self._written(report, bundle.path, self.measurer.score_model(model))
            )

    def _written(self, report: TuneReport, path: Path, score: Score) -> WrittenBundle:
        reference, limit = report.reference, self.config.limits.max_map_drop
        box, mask = (reference.box_ap, reference.mask_ap) if reference else (None, None)
        lost = max((box or 0.0) - score.box_ap, (mask or 0.0) - score.mask_ap)
        return WrittenBundle(
            path=str(path),
            box_ap=score.box_ap,
            mask_ap=score.mask_ap,
            lost=lost,
            kept=limit is None or lost <= limit,
        )

    def _report(self) -> TuneReport:
        search, config, images = self.search, self.config, self.images
        best = search.chosen or search.nearest
        height, width = images.batches.shape[2:4]
        reference = search.points.get(search.reference) if search.reference else None
        return TuneReport(
            checkpoint=str(config.checkpoint),
            limits=config.limits,
            measured_on=self._measured_on(),
            images=len(images.paths),
            frame_size_hw=(height, width),
            machine=describe_machine(),
            reference=reference,
            points=tuple(search.points.values()),
            frontier=search.frontier,
            chosen=search.chosen,
            nearest=search.nearest,
            command=commands_for(config, best.candidate) if best else "",
            notes=(*self.notes, *self._remarks()),
            skipped=images.skipped,
            spent_s=round(time.monotonic() - self.start_s, 1),
        )

    def _measured_on(self) -> str:
        if self.config.annotations is not None:
            return str(self.config.annotations)
        return f"agreement with FP32 at {self.search.plan.grid.largest}"

    def _remarks(self) -> tuple[str, ...]:
        labelled = self.images.labelled
        remarks = (labelled.remark, *labelled.notes) if labelled else ()
        return tuple(line for line in (*remarks, *self.measurer.warnings) if line)


def _thread_counts(benchmark_config: int | None) -> tuple[int, ...]:
    if benchmark_config is not None:
        return (benchmark_config,)
    cores = usable_cpus().count
    return tuple(dict.fromkeys(max(1, cores >> halving) for halving in range(MAX_HALVINGS + 1)))
