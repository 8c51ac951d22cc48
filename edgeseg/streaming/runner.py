"""From sources to results on the disk, in a window and on a page: what `edgeseg run` does."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from edgeseg.errors import EdgeSegError, InputError
from edgeseg.files.locks import FolderLock
from edgeseg.files.records import write_json
from edgeseg.records import json_from_record
from edgeseg.runtime.host.health import HealthMonitor, health_line
from edgeseg.runtime.input_sizes import ScaleRemark
from edgeseg.runtime.model import load
from edgeseg.vision.frames import Frame, Skipped, SourceKind

from . import config as job
from .config import Observer, RunConfig, RunStoppedError, RunSummary
from .controls import Controls
from .outputs.folder import check_output, clear_output, earlier_results, open_output, video_paths
from .outputs.overlays import ImageOverlays, VideoOverlays
from .outputs.window import Window
from .outputs.writers import CocoResults, JsonLines
from .pipeline import Pipeline
from .postprocessing import Interpretation
from .rendering.redaction import labels_from_names
from .rendering.rendered_image import Painter
from .results import FrameResult, Shown, Sink, Status
from .sources.opening import open_intake
from .statistics import Tally
from .web.page import WebPage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from edgeseg.runtime.model import Model

    from .frame_reader import Intake


def run(config: RunConfig, observer: Observer | None = None) -> RunSummary:
    """Detect in every frame of the sources and give the results out as they come.

    Ctrl-C ends the run with what was done so far.

    Args:
        config: What to do.
        observer: Hears of each frame.

    Raises:
        ConfigError: There are results already, or a setting cannot work.
        InputError: A source cannot be opened.
        ArtifactError: The bundle cannot be opened.
        RunStoppedError: It ended early, or no input could be read; everything before it is on the disk.
    """
    observer = observer or Observer()
    if config.output is None and config.force:
        config = replace(config, output=job.DEFAULT_OUTPUT)
    if config.files and config.output is not None:
        check_output(config.output, config)
    with (
        closing(_opened(config, observer)) as intake,
        _Runner(config, observer, intake) as runner,
        load(
            config.model,
            backend=config.backend,
            precision=config.precision,
            provider=config.provider,
            threads=config.threads,
        ) as model,
    ):
        runner.run(model, runner.interpretation(model.spec.class_names))
        return runner.finish(model.description)


def _opened(config: RunConfig, observer: Observer) -> Intake:
    return open_intake(
        config.sources,
        exclude=earlier_results(config) if config.files else (),
        realtime=config.realtime,
        bit_depth=config.bit_depth,
        give_up_after_s=config.give_up_after_s,
        note=observer.note,
    )


class _Runner:
    def __init__(self, config: RunConfig, observer: Observer, intake: Intake) -> None:
        self._config, self._observer, self._intake = config, observer, intake
        self._controls = Controls(config.score_threshold)
        self._painter = Painter(config.style, config.redaction)
        self._health = HealthMonitor()
        self._tally = Tally(self._controls, intake)
        self._lock: FolderLock | None = None
        # Known when it is made.
        self._output: Path | None = None
        self._outputs: dict[str, Path] = {}
        # A page or window that cannot open is told before the model is loaded, and shows that it is.
        self._sinks: list[Sink] = self._views()

    def __enter__(self) -> _Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._unlock()

    def interpretation(self, class_names: Sequence[str]) -> Interpretation:
        """Make sense of what is asked for, with the classes of the model."""
        config = self._config
        labels = labels_from_names(config.redact, class_names)
        return Interpretation(
            self._intake.rates_fps, track=config.track, hidden_labels=labels, note=self._observer.note
        )

    def run(self, model: Model, interpretation: Interpretation) -> None:
        """Go through the sources; the tally knows what ended it."""
        try:
            if self._config.files:
                self._open_files()
            limit = self._config.max_frames
            pipeline = Pipeline(model, self._intake, self._controls, interpretation, limit)
            with closing(pipeline):
                pipeline.start()
                self._follow(pipeline, ScaleRemark(model.sizes_hw, self._observer.note))
        except KeyboardInterrupt:
            self._tally.interrupted = True
        except EdgeSegError as exc:
            self._tally.error = exc
        finally:
            self._close()

    def finish(self, computed_by: str) -> RunSummary:
        """Write the summary, and raise what went wrong."""
        tally, config = self._tally, self._config
        if not (tally.frames or tally.error or tally.interrupted) and tally.skipped:
            count = tally.skipped_count
            what = (
                f"none of the {count} inputs can be read; the first"
                if count > 1
                else "the only input cannot be read"
            )
            tally.error = InputError(f"{what}: {tally.skipped[0].reason}")
        outputs = {kind: str(path) for kind, path in self._outputs.items() if path.exists()}
        summary = tally.summary(config, computed_by, self._health.read(), self._output, outputs)
        if self._output is not None:
            try:
                write_json(self._output / job.SUMMARY_FILE, json_from_record(summary))
            except EdgeSegError as exc:
                tally.error = tally.error or exc
        self._unlock()
        if tally.error:
            where = f", in {summary.output}" if summary.output else ""
            kept = f"; frames done before it: {tally.frames}{where}" if tally.frames else ""
            msg = f"{tally.error}{kept}"
            raise RunStoppedError(msg, summary) from tally.error
        return summary

    def _follow(self, pipeline: Pipeline, remark: ScaleRemark) -> None:
        for item in pipeline.follow():
            if isinstance(item, Skipped):
                self._tally.skip(item)
                self._observer.note(f"skipped {item.name}: {item.reason}")
            else:
                remark(item.frame)
                self._write(item)

    def _write(self, result: FrameResult) -> None:
        start = time.perf_counter()
        shown = Shown(result, self._status, self._painter)
        for sink in self._sinks:
            sink.write(shown)
        self._tally.add(result, 1000 * (time.perf_counter() - start))
        self._observer.progress(self._progress_line(result.frame))

    def _status(self) -> Status:
        return self._tally.status(self._health.read())

    def _views(self) -> list[Sink]:
        config, names = self._config, self._intake.names
        views: list[Sink] = []
        if config.window:
            views.append(Window(self._controls, source_names=names))
        if config.web is not None:
            page = WebPage(
                config.web,
                self._controls,
                token=config.web_token,
                source_names=names,
                title=config.model.resolve().name,
            )
            self._observer.note(f"the page is at {page.url}")
            views.append(page)
        return views

    def _open_files(self) -> None:
        config, intake, outputs, sinks = self._config, self._intake, self._outputs, self._sinks
        output = open_output(config, self._observer.note)
        self._lock = FolderLock(output, "writes results into")
        self._output = output
        if config.output is not None:
            clear_output(output)
        if config.overlay and intake.kind is SourceKind.IMAGES:
            outputs["overlays"] = output / job.OVERLAY_FOLDER
            sinks.append(ImageOverlays(outputs["overlays"]))
        elif config.overlay:
            paths = video_paths(output, len(intake.names))
            names = ["overlay"] if len(paths) == 1 else [f"overlay {index}" for index in range(len(paths))]
            outputs.update(zip(names, paths, strict=True))
            sinks.append(VideoOverlays(paths, intake.rates_fps, live=intake.kind is SourceKind.LIVE))
        outputs["coco"] = output / job.COCO_FILE
        sinks.append(CocoResults(outputs["coco"]))
        outputs["lines"] = output / job.LINES_FILE
        sinks.append(JsonLines(outputs["lines"], intake.names))

    def _close(self) -> None:
        while self._sinks:
            try:
                self._sinks.pop(0).close()
            except EdgeSegError as exc:
                self._tally.error = self._tally.error or exc

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def _progress_line(self, frame: Frame) -> str:
        """One line a frame: of a file how far it is, of a live source how it goes."""
        if self._intake.kind is not SourceKind.LIVE:
            total = self._intake.total
            of_total = f" of {total}" if total else ""
            return f"frame {self._tally.frames}{of_total}: {frame.name}"
        status = self._status()
        found = sum(status.instances_by_class.values())
        parts = [f"{status.fps:.1f} frames/s", f"{found} instances"]
        if status.age_ms is not None:
            parts.append(f"{status.age_ms:.0f} ms old")
        parts.append(f"{sum(status.dropped.values())} dropped")
        return ", ".join([*parts, health_line(status.health)])
