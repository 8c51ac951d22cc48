"""One run: every way to run a model, measured in turn on the same images."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial

import numpy as np

from edgeseg import __version__
from edgeseg.bundle.manifest import Bundle, open_bundle
from edgeseg.errors import ArtifactError, DependencyError
from edgeseg.files.temporary import scratch_folder
from edgeseg.graphs.macs import Macs, count_macs
from edgeseg.runtime.host.processors import usable_cpus
from edgeseg.spec import Lowering

from .accuracy import measure_accuracy
from .config import SCORE_THRESHOLD, BenchmarkConfig
from .images import BenchmarkImages, load_images
from .machine import cores_for, describe_machine
from .rebatch import build_row_engine, check_batch, rebatch
from .report import BenchmarkReport, Noise, Settings
from .report_rows import MIN_PROCESSES, ReportContext, find_baseline, ratio_margins, report_rows
from .rounds import RoundPlan, RoundsResult, run_rounds
from .row import RowKind
from .row_run import RowRun, measure_concurrent_throughput, restart_process, start_row, warm_up
from .rows import BEST, RunContext, find_checkpoint, make_row_runs
from .statistics.energy import open_energy_meter
from .statistics.noise import NoiseMonitor
from .variant_search import VariantSearch, open_best_variant
from .worker.process import RowError, WorkerProcess
from .worker.requests import MeasureRoofline, WriteWholeModel

FRAMES_FILE = "frames.npy"
# Converting a whole torchvision model takes a minute on two cores.
EXPORT_TIMEOUT_S = 1800.0


def benchmark(
    config: BenchmarkConfig,
    *,
    command: tuple[str, ...] = ("edgeseg", "benchmark"),
    progress: Callable[[str], None] = lambda line: None,
) -> BenchmarkReport:
    """Measure a bundle's engines beside PyTorch and beside what other converters make of the same model.

    Whatever cannot run here is a row that says why. Ctrl-C ends it early; the report then says so and holds
    what was measured until then.

    Args:
        config: What to measure on what.
        command: What repeats it, for the report.
        progress: Called with a line at each step.

    Raises:
        ConfigError: A setting cannot work, or names no row.
        InputError: Images, annotations or the checkpoint are unusable or do not belong together.
        ArtifactError: The bundle cannot be opened.
        ExportError: It cannot be exported for another batch.
    """
    bundle = open_bundle(config.model)
    checkpoint = find_checkpoint(config, bundle)
    batch = config.batch or bundle.spec.batch
    check_batch(batch, bundle, checkpoint)
    images = load_images(config, replace(bundle.spec, batch=batch), progress)
    threads = config.engine.threads or usable_cpus().count
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        context = RunContext(
            bundle=bundle,
            model=config.model,
            folder=folder,
            checkpoint=checkpoint,
            factory=config.factory,
            threads=threads,
            cores=cores_for(threads),
            scored=config.annotations is not None,
        )
        if batch != bundle.spec.batch:
            progress(f"exporting the bundle for a batch of {batch}")
            context = rebatch(context, batch)
        run = BenchmarkRun(
            config=config,
            context=context,
            images=images,
            row_runs=make_row_runs(context, config.rows),
            progress=progress,
        )
        stack.callback(run.close)
        run.measure()
        return run.report(shlex.join(command))


@dataclass(slots=True, kw_only=True)
class BenchmarkRun:
    """A run while it goes on.

    Attributes:
        row_runs: Rows.
        interrupted: By Ctrl-C.
    """

    config: BenchmarkConfig
    context: RunContext
    images: BenchmarkImages
    row_runs: list[RowRun]
    progress: Callable[[str], None]
    roofline: dict[str, float] = field(default_factory=dict)
    noise: Noise = field(default_factory=Noise)
    rounds_result: RoundsResult = field(default=RoundsResult(0, 0.0, interrupted=False))
    interrupted: bool = False

    @property
    def frames(self) -> str:
        """File with the batches to time."""
        return str(self.context.folder / FRAMES_FILE)

    def measure(self) -> None:
        """Go through all stages, or until Ctrl-C."""
        noise_monitor = NoiseMonitor()
        try:
            np.save(self.frames, self.images.batches)
            self._measure_roofline()
            self._load()
            self._run_rounds(noise_monitor)
            if self.config.concurrency > 1 and not self.interrupted:
                self._measure_concurrency()
            if not self.interrupted:
                lowest = self.context.bundle.spec.score_threshold
                measure_accuracy(self.row_runs, self.images, lowest, self.progress)
        except KeyboardInterrupt:
            self.interrupted = True

    def close(self) -> None:
        """End all processes."""
        for row_run in self.row_runs:
            row_run.close()

    def report(self, command: str) -> BenchmarkReport:
        """Sum up."""
        baseline, spec = find_baseline(self.row_runs), self.context.bundle.spec
        return BenchmarkReport(
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            command=command,
            edgeseg_version=__version__,
            architecture=spec.architecture,
            class_names=spec.class_names,
            machine=describe_machine(),
            settings=self._settings(),
            rows=report_rows(self.row_runs, self._report_context()),
            baseline=baseline.row.name if baseline else None,
            peaks_gmacs_per_s=self.roofline,
            noise=self.noise,
            images=self.images.shown,
            skipped=self.images.skipped,
            remark=self.images.labelled.remark if self.images.labelled else "",
            interrupted=self.interrupted,
        )

    def _measure_roofline(self) -> None:
        self.progress("measuring the processor's matrix products")
        worker = WorkerProcess()
        try:
            request = MeasureRoofline(threads=self.context.threads, cores=self.context.cores)
            self.roofline = worker.ask(request).gmacs_per_s
        except RowError:
            # Rows then lack their share of the peak, and nothing else.
            self.roofline = {}
        finally:
            worker.close()

    def _load(self) -> None:
        for row_run in self.row_runs:
            if row_run.failure:
                continue
            row_run.thresholds = [SCORE_THRESHOLD] * len(self.images.batches)
            try:
                self._open(row_run)
            except RowError as exc:
                row_run.fail(exc)

    def _open(self, row_run: RowRun) -> None:
        config, batches = self.config, len(self.images.batches)
        timeout_s = config.compile_timeout_s
        if row_run.row.name == BEST:
            open_best_variant(
                row_run,
                VariantSearch(
                    frames=self.frames,
                    batches=batches,
                    boxes=config.boxes,
                    thresholds=row_run.thresholds,
                    timeout_s=timeout_s,
                    compile=config.compile,
                    progress=self.progress,
                ),
            )
            return
        if row_run.row.kind is RowKind.WHOLE_MODEL:
            self.progress(f"{row_run.row.label}: converting the model")
            self._export(row_run)
        if self.context.is_rebatched and row_run.row.kind is RowKind.BUNDLE:
            build_row_engine(row_run, self.context, self.progress)
        self.progress(f"{row_run.row.label}: loading")
        start_row(row_run, self.frames, timeout_s=timeout_s)
        warm_up(row_run, batches=batches, boxes=config.boxes, calls=config.warmup, timeout_s=timeout_s)

    def _export(self, row_run: RowRun) -> None:
        worker = WorkerProcess()
        request = WriteWholeModel(runner_spec=row_run.runner_spec, frames=self.frames)
        try:
            worker.ask(request, timeout_s=EXPORT_TIMEOUT_S)
        finally:
            worker.close()

    def _run_rounds(self, noise_monitor: NoiseMonitor) -> None:
        batches = self.images.batches
        config = self.config
        plan = RoundPlan(
            turns=config.turns,
            duration_s=config.duration_s,
            batches=len(batches),
            batch_size=batches.shape[1],
            margin=config.margin_percent / 100 if config.margin_percent else math.inf,
            most_s=config.most_s,
        )
        meter = open_energy_meter()
        noise_monitor.start()
        try:
            self.rounds_result = run_rounds(
                self.row_runs,
                plan,
                noise_monitor=noise_monitor,
                restart_process=partial(
                    restart_process, frames=self.frames, timeout_s=config.compile_timeout_s
                ),
                meter=meter,
                progress=self.progress,
            )
        finally:
            if meter is not None:
                meter.close()
        self.noise = noise_monitor.noise()
        if not self.rounds_result.interrupted and (
            wide := _too_wide(ratio_margins(self.row_runs), plan.margin)
        ):
            elapsed, limit = f"{self.rounds_result.duration_s:.0f} s", f"{config.margin_percent:g} %"
            msg = f"{elapsed} were too few to know every ratio within {limit}: {wide}"
            self.noise = replace(self.noise, warnings=(*self.noise.warnings, msg))
        self.interrupted = self.rounds_result.interrupted

    def _measure_concurrency(self) -> None:
        for row_run in self.row_runs:
            if row_run.alive:
                self.progress(f"{row_run.row.label}: {self.config.concurrency} callers at once")
                try:
                    measure_concurrent_throughput(row_run, self.config.concurrency)
                except RowError as exc:
                    row_run.fail(RowError(f"failed with several callers: {exc}"))

    def _report_context(self) -> ReportContext:
        return ReportContext(
            batch=self.context.bundle.spec.batch,
            callers=self.config.concurrency,
            compared=self.images.compared,
            shown=tuple(image.image_id for image in self.images.shown),
            price_per_hour=self.config.price_per_hour,
            macs=_macs(self.context.bundle),
            roofline=self.roofline,
            interrupted=self.interrupted,
        )

    def _settings(self) -> Settings:
        config, context = self.config, self.context
        height, width = self.images.batches.shape[2:4]
        return Settings(
            model=str(config.model),
            checkpoint=None if context.checkpoint is None else str(context.checkpoint),
            images=self.images.source,
            annotations=None if config.annotations is None else str(config.annotations),
            input_size_hw=context.bundle.spec.input_size_hw,
            frame_size_hw=(height, width),
            batch=context.bundle.spec.batch,
            threads=context.threads,
            score_threshold=SCORE_THRESHOLD,
            boxes=config.boxes,
            warmup=config.warmup,
            turns=self.rounds_result.turns,
            duration_s=round(self.rounds_result.duration_s, 3),
            concurrency=config.concurrency,
            price_per_hour=config.price_per_hour,
        )


def _too_wide(margin_by_label: dict[str, float], margin: float) -> str:
    unknown = f"unknown, with fewer than {MIN_PROCESSES} processes"
    return ", ".join(
        f"{label} {unknown if value == math.inf else f'{100 * value:.1f} %'}"
        for label, value in margin_by_label.items()
        if value > margin
    )


def _macs(bundle: Bundle) -> Macs | None:
    try:
        return count_macs(bundle.graph_path(Lowering.PORTABLE))
    # Without onnx, or in a bundle without that graph, rows lack their share of the peak.
    except (ArtifactError, DependencyError):
        return None
