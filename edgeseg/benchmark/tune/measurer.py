"""Making candidates and measuring them on this machine."""

from __future__ import annotations

import errno
import shutil
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.benchmark.config import SCORE_THRESHOLD
from edgeseg.benchmark.images import BenchmarkImages
from edgeseg.benchmark.machine import cores_for
from edgeseg.benchmark.rounds import RoundPlan, run_rounds
from edgeseg.benchmark.row import Row, RowKind
from edgeseg.benchmark.row_run import RowRun, start_row, warm_up
from edgeseg.benchmark.runners.spec import RunnerSpec
from edgeseg.benchmark.statistics.noise import NoiseMonitor
from edgeseg.builder.build import BuildConfig, build_engine
from edgeseg.bundle.engines import Precision, recorded_engines
from edgeseg.bundle.manifest import CALIBRATION_FILE, open_bundle
from edgeseg.calibration.table import CalibrationTable, read_table
from edgeseg.errors import EdgeSegError
from edgeseg.exporter.variant import VariantWriter, copy_table
from edgeseg.files.records import DISK_FULL_ERRORS
from edgeseg.quantisation.calibrate import CalibrateConfig, calibrate
from edgeseg.quantisation.evaluator import AgreementEvaluator, AnnotationEvaluator, Evaluator
from edgeseg.runtime.model import load
from edgeseg.spec import Lowering

from .config import TuneConfig
from .search import Timing

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from edgeseg.quantisation.evaluator import Score
    from edgeseg.runtime.model import Model

    from .candidate import Candidate, Shape

LOADING_S = 600.0
WARM_CALLS = 1


@dataclass(slots=True, kw_only=True)
class MachineMeasurer:
    """A `Measurer` of real exports, engines and processes.

    Attributes:
        variants: Writes bundles.
        folder: For all files; the caller's to remove.
        frames: File with the batches to time.
        images: What is timed and scored.
        note: Called with what a user should know, such as an image that was skipped.
        warnings: On the machine's noise, of the last comparison.
    """

    config: TuneConfig
    variants: VariantWriter
    folder: Path
    frames: Path
    images: BenchmarkImages
    progress: Callable[[str], None]
    note: Callable[[str], None]
    warnings: tuple[str, ...] = ()
    _evaluator: Evaluator | None = None
    _tables: dict[tuple[int, int], CalibrationTable] = field(default_factory=dict)

    def time_candidates(self, candidates: Sequence[Candidate], turns: int) -> dict[Candidate, Timing]:
        """See `Measurer.time_candidates`."""
        row_runs: dict[Candidate, RowRun] = {}
        failures: dict[Candidate, Timing] = {}
        noise_monitor = NoiseMonitor()
        try:
            for candidate in candidates:
                try:
                    self._load(candidate, row_runs)
                except EdgeSegError as exc:
                    _raise_if_disk_full(exc)
                    failures[candidate] = Timing(None, str(exc))
            noise_monitor.start()
            batches = self.images.batches
            plan = RoundPlan(turns, 0.0, len(batches), batches.shape[1])
            alive = [row_run for candidate, row_run in row_runs.items() if candidate not in failures]
            if run_rounds(alive, plan, noise_monitor=noise_monitor, progress=self.progress).interrupted:
                raise KeyboardInterrupt
            self.warnings = noise_monitor.noise().warnings
        finally:
            for row_run in row_runs.values():
                row_run.close()
        return {
            candidate: failures.get(candidate) or _timing_of(row_runs[candidate]) for candidate in candidates
        }

    def score(self, candidate: Candidate) -> Score:
        """See `Measurer.score`; the first candidate is what others agree with where nothing is annotated."""
        path = self._build_if_needed(candidate)
        with load(
            path,
            backend=candidate.target.value,
            precision=candidate.precision.value,
            threads=candidate.threads,
        ) as model:
            return self.score_model(model)

    def score_model(self, model: Model) -> Score:
        """Score a loaded model."""
        if self._evaluator is None:
            self._evaluator = self._make_evaluator(model)
        return self._evaluator.score(model)

    def keep(self, shapes: Collection[Shape]) -> None:
        """See `Measurer.keep`."""
        kept = {self._bundle_path(shape) for shape in shapes}
        for path in self.folder.glob("model-*"):
            if path not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def _make_evaluator(self, reference: Model) -> Evaluator:
        if self.images.labelled is not None:
            return AnnotationEvaluator(self.images.labelled)
        return AgreementEvaluator(reference, Path(self.images.source))

    def _load(self, candidate: Candidate, row_runs: dict[Candidate, RowRun]) -> None:
        path = self._build_if_needed(candidate)
        engine, precision = candidate.target.value, candidate.precision.value
        row = Row(
            name=str(candidate), label=str(candidate), kind=RowKind.BUNDLE, engine=engine, precision=precision
        )
        runner_spec = RunnerSpec(
            kind=RowKind.BUNDLE,
            engine=engine,
            precision=precision,
            model=str(path),
            threads=candidate.threads,
            cores=cores_for(candidate.threads),
        )
        batches = len(self.images.batches)
        row_run = row_runs[candidate] = RowRun(
            row=row, runner_spec=runner_spec, thresholds=[SCORE_THRESHOLD] * batches
        )
        self.progress(f"{candidate}: loading")
        start_row(row_run, str(self.frames), timeout_s=LOADING_S)
        warm_up(row_run, batches=batches, boxes=None, calls=WARM_CALLS, timeout_s=LOADING_S)

    def _bundle_path(self, shape: Shape) -> Path:
        height, width = shape.size_hw
        return self.folder / f"model-{height}-{width}-{shape.max_proposals}"

    def _build_if_needed(self, candidate: Candidate) -> Path:
        """Export and build what is not there yet."""
        shape, path = candidate.shape, self._bundle_path(candidate.shape)
        if not (path / "model.json").exists():
            shutil.rmtree(path, ignore_errors=True)
            self.progress(f"{shape}: exporting")
            lowerings = tuple(Lowering) if candidate.target.needs_gpu else (Lowering.PORTABLE,)
            self.variants.write(path, shape.size_hw, shape.max_proposals, lowerings)
        if not self._is_built(candidate, path):
            if candidate.precision is Precision.INT8:
                self._calibrate(shape, path)
            config = BuildConfig(model=path, target=candidate.target, precision=candidate.precision)
            build_engine(config, lambda line: self.progress(f"{shape}: {line}"))
        return path

    def _is_built(self, candidate: Candidate, path: Path) -> bool:
        return (candidate.target, candidate.precision) in recorded_engines(path)

    def _calibrate(self, shape: Shape, path: Path) -> None:
        """Put a table into a bundle; one of the same size serves all numbers of proposals."""
        if (path / CALIBRATION_FILE).exists() or self.config.calib is None:
            return
        if (table := self._tables.get(shape.size_hw)) is None:
            calibrate(
                calibration_for(self.config, self.config.calib, path),
                lambda line: self.progress(f"{shape}: {line}"),
                self.note,
            )
            self._tables[shape.size_hw] = read_table(path / CALIBRATION_FILE)
            return
        copy_table(table, open_bundle(path))


def calibration_for(config: TuneConfig, calib: Path, model: Path) -> CalibrateConfig:
    """Calibrate as `build-engine --int8 --calib --no-check` does: the search compares by itself."""
    return CalibrateConfig(calib=calib, model=model, images=config.calib_images, check=False)


def _timing_of(row_run: RowRun) -> Timing:
    if row_run.failure or not row_run.samples_ms:
        return Timing(None, row_run.failure or "it was not called")
    return Timing(statistics.median(row_run.samples_ms))


def _raise_if_disk_full(exc: EdgeSegError) -> None:
    """Let a full disk end the search: it concerns every candidate."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (*DISK_FULL_ERRORS, errno.EROFS):
            raise exc
        cause = cause.__cause__
