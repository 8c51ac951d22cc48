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
from edgeseg.benchmark.images import Pictures
from edgeseg.benchmark.machine import cores_for
from edgeseg.benchmark.rounds import Plan, take_turns
from edgeseg.benchmark.row import Kind, Row
from edgeseg.benchmark.row_run import Lane, open_lane, warm_up
from edgeseg.benchmark.runners.spec import Recipe
from edgeseg.benchmark.statistics.noise import Watch
from edgeseg.builder.build import BuildConfig, build_engine
from edgeseg.bundle.engines import Precision, engines_of
from edgeseg.bundle.manifest import TABLE_FILE, open_bundle
from edgeseg.calibration.table import CalibrationTable, read_table
from edgeseg.errors import EdgeSegError
from edgeseg.exporter.variant import Drafts, carry_table
from edgeseg.files.records import FULL
from edgeseg.quantization.calibrate import CalibrateConfig, calibrate
from edgeseg.quantization.evaluator import AgreementYardstick, AnnotatedYardstick, Yardstick
from edgeseg.runtime.model import load
from edgeseg.spec import Lowering

from .config import TuneConfig
from .search import Timed

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from edgeseg.quantization.evaluator import Score
    from edgeseg.runtime.model import Model

    from .candidate import Candidate, Shape

LOADING_S = 600.0
WARM_CALLS = 1


@dataclass(slots=True, kw_only=True)
class MachineBench:
    """A `Bench` of real exports, engines and processes.

    Attributes:
        drafts: Writes bundles.
        folder: For all files; the caller's to remove.
        frames: File with the batches to time.
        pictures: What is timed and scored.
        note: Called with what a user should know, such as an image that was skipped.
        warnings: On the machine's noise, of the last comparison.
    """

    config: TuneConfig
    drafts: Drafts
    folder: Path
    frames: Path
    pictures: Pictures
    progress: Callable[[str], None]
    note: Callable[[str], None]
    warnings: tuple[str, ...] = ()
    _yardstick: Yardstick | None = None
    _tables: dict[tuple[int, int], CalibrationTable] = field(default_factory=dict)

    def times(self, candidates: Sequence[Candidate], turns: int) -> dict[Candidate, Timed]:
        """See `Bench.times`."""
        lanes: dict[Candidate, Lane] = {}
        found: dict[Candidate, Timed] = {}
        watch = Watch()
        try:
            for candidate in candidates:
                try:
                    self._load(candidate, lanes)
                except EdgeSegError as exc:
                    _raise_if_full(exc)
                    found[candidate] = Timed(None, str(exc))
            watch.start()
            batches = self.pictures.batches
            plan = Plan(turns, 0.0, len(batches), batches.shape[1])
            alive = [lane for candidate, lane in lanes.items() if candidate not in found]
            if take_turns(alive, plan, watch=watch, progress=self.progress).interrupted:
                raise KeyboardInterrupt
            self.warnings = watch.noise().warnings
        finally:
            for lane in lanes.values():
                lane.close()
        return {candidate: found.get(candidate) or _timed(lanes[candidate]) for candidate in candidates}

    def score(self, candidate: Candidate) -> Score:
        """See `Bench.score`; the first candidate is what others agree with where nothing is annotated."""
        path = self._built(candidate)
        with load(
            path,
            backend=candidate.target.value,
            precision=candidate.precision.value,
            threads=candidate.threads,
        ) as model:
            return self.score_model(model)

    def score_model(self, model: Model) -> Score:
        """Score a loaded model."""
        if self._yardstick is None:
            self._yardstick = self._first_yardstick(model)
        return self._yardstick.score(model)

    def keep(self, shapes: Collection[Shape]) -> None:
        """See `Bench.keep`."""
        kept = {self._place(shape) for shape in shapes}
        for path in self.folder.glob("model-*"):
            if path not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def _first_yardstick(self, reference: Model) -> Yardstick:
        if self.pictures.labelled is not None:
            return AnnotatedYardstick(self.pictures.labelled)
        return AgreementYardstick(reference, Path(self.pictures.source))

    def _load(self, candidate: Candidate, lanes: dict[Candidate, Lane]) -> None:
        path = self._built(candidate)
        engine, precision = candidate.target.value, candidate.precision.value
        row = Row(
            name=str(candidate), label=str(candidate), kind=Kind.BUNDLE, engine=engine, precision=precision
        )
        recipe = Recipe(
            kind=Kind.BUNDLE,
            engine=engine,
            precision=precision,
            model=str(path),
            threads=candidate.threads,
            cores=cores_for(candidate.threads),
        )
        batches = len(self.pictures.batches)
        lane = lanes[candidate] = Lane(row=row, recipe=recipe, thresholds=[SCORE_THRESHOLD] * batches)
        self.progress(f"{candidate}: loading")
        open_lane(lane, str(self.frames), timeout_s=LOADING_S)
        warm_up(lane, batches=batches, boxes=None, calls=WARM_CALLS, timeout_s=LOADING_S)

    def _place(self, shape: Shape) -> Path:
        height, width = shape.size_hw
        return self.folder / f"model-{height}-{width}-{shape.max_proposals}"

    def _built(self, candidate: Candidate) -> Path:
        """Export and build what is not there yet."""
        shape, path = candidate.shape, self._place(candidate.shape)
        if not (path / "model.json").exists():
            shutil.rmtree(path, ignore_errors=True)
            self.progress(f"{shape}: exporting")
            lowerings = tuple(Lowering) if candidate.target.needs_gpu else (Lowering.PORTABLE,)
            self.drafts.write(path, shape.size_hw, shape.max_proposals, lowerings)
        if not self._is_built(candidate, path):
            if candidate.precision is Precision.INT8:
                self._calibrate(shape, path)
            config = BuildConfig(model=path, target=candidate.target, precision=candidate.precision)
            build_engine(config, lambda line: self.progress(f"{shape}: {line}"))
        return path

    def _is_built(self, candidate: Candidate, path: Path) -> bool:
        return (candidate.target, candidate.precision) in engines_of(path)

    def _calibrate(self, shape: Shape, path: Path) -> None:
        """Put a table into a bundle; one of the same size serves all numbers of proposals."""
        if (path / TABLE_FILE).exists() or self.config.calib is None:
            return
        if (table := self._tables.get(shape.size_hw)) is None:
            calibrate(
                calibration_for(self.config, self.config.calib, path),
                lambda line: self.progress(f"{shape}: {line}"),
                self.note,
            )
            self._tables[shape.size_hw] = read_table(path / TABLE_FILE)
            return
        carry_table(table, open_bundle(path))


def calibration_for(config: TuneConfig, calib: Path, model: Path) -> CalibrateConfig:
    """Calibrate as `build-engine --int8 --calib --no-check` does: the search compares by itself."""
    return CalibrateConfig(calib=calib, model=model, images=config.calib_images, check=False)


def _timed(lane: Lane) -> Timed:
    if lane.failure or not lane.samples_ms:
        return Timed(None, lane.failure or "it was not called")
    return Timed(statistics.median(lane.samples_ms))


def _raise_if_full(exc: EdgeSegError) -> None:
    """Let a full disk end the search: it concerns every candidate."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (*FULL, errno.EROFS):
            raise exc
        cause = cause.__cause__
