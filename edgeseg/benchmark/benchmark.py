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
from edgeseg.records import json_from_record
from edgeseg.runtime.host.processors import usable_cpus
from edgeseg.spec import Lowering

from .accuracy import find_all
from .config import SCORE_THRESHOLD, BenchmarkConfig
from .images import Pictures, take_pictures
from .machine import cores_for, describe_machine
from .rebatch import at_batch, build, check_batch
from .report import BenchmarkReport, Noise, Settings
from .report_rows import LEAST_PROCESSES, Facts, baseline_of, margins, rows_from
from .rounds import Plan, Taken, take_turns
from .row import Kind
from .row_run import Lane, crowd, open_lane, renew, warm_up
from .rows import BEST, Common, find_checkpoint, make_lanes
from .statistics.energy import open_meter
from .statistics.noise import Watch
from .variant_search import Tryout, open_best
from .worker.process import RowError, WorkerProcess

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
    pictures = take_pictures(config, replace(bundle.spec, batch=batch), progress)
    threads = config.threads or usable_cpus().count
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        common = Common(
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
            common = at_batch(common, batch)
        run = Run(
            config=config,
            common=common,
            pictures=pictures,
            lanes=make_lanes(common, config.rows),
            progress=progress,
        )
        stack.callback(run.close)
        run.measure()
        return run.report(shlex.join(command))


@dataclass(slots=True, kw_only=True)
class Run:
    """A run while it goes on.

    Attributes:
        lanes: Rows.
        interrupted: By Ctrl-C.
    """

    config: BenchmarkConfig
    common: Common
    pictures: Pictures
    lanes: list[Lane]
    progress: Callable[[str], None]
    peaks: dict[str, float] = field(default_factory=dict)
    noise: Noise = field(default_factory=Noise)
    taken: Taken = field(default=Taken(0, 0.0, interrupted=False))
    interrupted: bool = False

    @property
    def frames(self) -> str:
        """File with the batches to time."""
        return str(self.common.folder / FRAMES_FILE)

    def measure(self) -> None:
        """Go through all stages, or until Ctrl-C."""
        watch = Watch()
        try:
            np.save(self.frames, self.pictures.batches)
            self._measure_peaks()
            self._load()
            self._take_turns(watch)
            if self.config.concurrency > 1 and not self.interrupted:
                self._crowd()
            if not self.interrupted:
                lowest = self.common.bundle.spec.score_threshold
                find_all(self.lanes, self.pictures, lowest, self.progress)
        except KeyboardInterrupt:
            self.interrupted = True

    def close(self) -> None:
        """End all processes."""
        for lane in self.lanes:
            lane.close()

    def report(self, command: str) -> BenchmarkReport:
        """Sum up."""
        baseline, spec = baseline_of(self.lanes), self.common.bundle.spec
        return BenchmarkReport(
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            command=command,
            edgeseg_version=__version__,
            architecture=spec.architecture,
            class_names=spec.class_names,
            machine=describe_machine(),
            settings=self._settings(),
            rows=rows_from(self.lanes, self._facts()),
            baseline=baseline.row.name if baseline else None,
            peaks_gmacs_per_s=self.peaks,
            noise=self.noise,
            images=self.pictures.shown,
            skipped=self.pictures.skipped,
            remark=self.pictures.labelled.remark if self.pictures.labelled else "",
            interrupted=self.interrupted,
        )

    def _measure_peaks(self) -> None:
        self.progress("measuring the processor's matrix products")
        worker = WorkerProcess()
        try:
            told = worker.ask("peaks", threads=self.common.threads, cores=list(self.common.cores))
            self.peaks = told["gmacs_per_s"]
        except RowError:
            # Rows then lack their share of the peak, and nothing else.
            self.peaks = {}
        finally:
            worker.close()

    def _load(self) -> None:
        for lane in self.lanes:
            if lane.failure:
                continue
            lane.thresholds = [SCORE_THRESHOLD] * len(self.pictures.batches)
            try:
                self._open(lane)
            except RowError as exc:
                lane.fail(exc)

    def _open(self, lane: Lane) -> None:
        config, batches = self.config, len(self.pictures.batches)
        timeout_s = config.compile_timeout_s
        if lane.row.name == BEST:
            open_best(
                lane,
                Tryout(
                    frames=self.frames,
                    batches=batches,
                    boxes=config.boxes,
                    thresholds=lane.thresholds,
                    timeout_s=timeout_s,
                    compile=config.compile,
                    progress=self.progress,
                ),
            )
            return
        if lane.row.kind is Kind.NAIVE:
            self.progress(f"{lane.row.label}: converting the model")
            self._export(lane)
        if self.common.exported_anew and lane.row.kind is Kind.BUNDLE:
            build(lane, self.common, self.progress)
        self.progress(f"{lane.row.label}: loading")
        open_lane(lane, self.frames, timeout_s=timeout_s)
        warm_up(lane, batches=batches, boxes=config.boxes, calls=config.warmup, timeout_s=timeout_s)

    def _export(self, lane: Lane) -> None:
        worker = WorkerProcess()
        recipe = json_from_record(lane.recipe)
        try:
            worker.ask("export", recipe=recipe, frames=self.frames, timeout_s=EXPORT_TIMEOUT_S)
        finally:
            worker.close()

    def _take_turns(self, watch: Watch) -> None:
        batches = self.pictures.batches
        config = self.config
        plan = Plan(
            turns=config.turns,
            duration_s=config.duration_s,
            batches=len(batches),
            batch_size=batches.shape[1],
            margin=config.margin_percent / 100 if config.margin_percent else math.inf,
            most_s=config.most_s,
        )
        meter = open_meter()
        watch.start()
        try:
            self.taken = take_turns(
                self.lanes,
                plan,
                watch=watch,
                renew=partial(renew, frames=self.frames, timeout_s=config.compile_timeout_s),
                meter=meter,
                progress=self.progress,
            )
        finally:
            if meter is not None:
                meter.close()
        self.noise = watch.noise()
        if not self.taken.interrupted and (wide := _wider(margins(self.lanes), plan.margin)):
            took, limit = f"{self.taken.duration_s:.0f} s", f"{config.margin_percent:g} %"
            msg = f"{took} were too few to know every ratio within {limit}: {wide}"
            self.noise = replace(self.noise, warnings=(*self.noise.warnings, msg))
        self.interrupted = self.taken.interrupted

    def _crowd(self) -> None:
        for lane in self.lanes:
            if lane.alive:
                self.progress(f"{lane.row.label}: {self.config.concurrency} callers at once")
                try:
                    crowd(lane, self.config.concurrency)
                except RowError as exc:
                    lane.fail(RowError(f"failed with several callers: {exc}"))

    def _facts(self) -> Facts:
        return Facts(
            batch=self.common.bundle.spec.batch,
            callers=self.config.concurrency,
            compared=self.pictures.compared,
            shown=tuple(image.image_id for image in self.pictures.shown),
            price_per_hour=self.config.price_per_hour,
            macs=_macs(self.common.bundle),
            peaks=self.peaks,
            interrupted=self.interrupted,
        )

    def _settings(self) -> Settings:
        config, common = self.config, self.common
        height, width = self.pictures.batches.shape[2:4]
        return Settings(
            model=str(config.model),
            checkpoint=None if common.checkpoint is None else str(common.checkpoint),
            images=self.pictures.source,
            annotations=None if config.annotations is None else str(config.annotations),
            input_size_hw=common.bundle.spec.input_size_hw,
            frame_size_hw=(height, width),
            batch=common.bundle.spec.batch,
            threads=common.threads,
            score_threshold=SCORE_THRESHOLD,
            boxes=config.boxes,
            warmup=config.warmup,
            turns=self.taken.turns,
            duration_s=round(self.taken.duration_s, 3),
            concurrency=config.concurrency,
            price_per_hour=config.price_per_hour,
        )


def _wider(found: dict[str, float], margin: float) -> str:
    unknown = f"unknown, with fewer than {LEAST_PROCESSES} processes"
    return ", ".join(
        f"{label} {unknown if value == math.inf else f'{100 * value:.1f} %'}"
        for label, value in found.items()
        if value > margin
    )


def _macs(bundle: Bundle) -> Macs | None:
    try:
        return count_macs(bundle.graph_path(Lowering.PORTABLE))
    # Without onnx, or in a bundle without that graph, rows lack their share of the peak.
    except (ArtifactError, DependencyError):
        return None
