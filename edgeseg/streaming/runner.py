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
from edgeseg.runtime.model import open_model
from edgeseg.vision.frames import Frame, Skipped, SourceKind

from . import config as job
from .config import OutputConfig, RunCallbacks, RunConfig, RunStoppedError, RunSummary, SourceConfig
from .controls import Controls
from .outputs.folder import check_output, clear_output, earlier_results, open_output, video_paths
from .outputs.overlays import ImageOverlays, VideoOverlays
from .outputs.window import Window
from .outputs.writers import CocoResultsWriter, JsonLines
from .pipeline import Pipeline
from .postprocessing import PostProcessor
from .rendering.redaction import labels_from_names
from .rendering.rendered_image import Renderer
from .results import FrameResult, RenderedFrame, Sink, Status
from .sources.live.reconnector import ReconnectPolicy
from .sources.opening import open_frame_reader
from .statistics import RunStatistics
from .web.page import WebPage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from edgeseg.runtime.model import Model

    from .frame_reader import FrameReader


def run(config: RunConfig, callbacks: RunCallbacks | None = None) -> RunSummary:
    """Detect in every frame of the sources and give the results out as they come.

    Ctrl-C ends the run with what was done so far.

    Args:
        config: What to do.
        callbacks: Called for each frame and each remark.

    Raises:
        ConfigError: There are results already, or a setting cannot work.
        InputError: A source cannot be opened.
        ArtifactError: The bundle cannot be opened.
        RunStoppedError: It ended early, or no input could be read; everything before it is on the disk.
    """
    callbacks = callbacks or RunCallbacks()
    if config.output.folder is None and config.output.force:
        config = replace(config, output=replace(config.output, folder=job.DEFAULT_OUTPUT))
    if config.output.files and config.output.folder is not None:
        check_output(config.output.folder, config.source.sources, force=config.output.force)
    with (
        closing(_open_frame_reader(config.source, config.output, callbacks)) as frame_reader,
        _ActiveRun(config, callbacks, frame_reader) as active_run,
        open_model(config.model, config.engine) as model,
    ):
        active_run.run(model, active_run.post_processor(model.spec.class_names))
        return active_run.finish(model.description)


def _open_frame_reader(source: SourceConfig, output: OutputConfig, callbacks: RunCallbacks) -> FrameReader:
    return open_frame_reader(
        source.sources,
        exclude=earlier_results(output.folder, source.sources) if output.files else (),
        realtime=source.realtime,
        bit_depth=source.bit_depth,
        note=callbacks.note,
        policy=ReconnectPolicy(give_up_s=source.give_up_after_s),
    )


class _ActiveRun:
    def __init__(self, config: RunConfig, callbacks: RunCallbacks, frame_reader: FrameReader) -> None:
        self._config, self._callbacks, self._frame_reader = config, callbacks, frame_reader
        self._controls = Controls(config.score_threshold)
        self._renderer = Renderer(config.display.style, config.display.redaction)
        self._health = HealthMonitor()
        self._statistics = RunStatistics(self._controls, frame_reader)
        self._lock: FolderLock | None = None
        # Known when it is made.
        self._output: Path | None = None
        self._outputs: dict[str, Path] = {}
        # A page or window that cannot open is told before the model is loaded, and shows that it is.
        self._sinks: list[Sink] = self._open_views()

    def __enter__(self) -> _ActiveRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._unlock()

    def post_processor(self, class_names: Sequence[str]) -> PostProcessor:
        """Make sense of what is asked for, with the classes of the model."""
        config = self._config
        labels = labels_from_names(config.display.redact, class_names)
        return PostProcessor(
            self._frame_reader.rates_fps,
            track=config.tracking,
            hidden_labels=labels,
            note=self._callbacks.note,
        )

    def run(self, model: Model, post_processor: PostProcessor) -> None:
        """Go through the sources; the statistics know what ended the run."""
        try:
            if self._config.output.files:
                self._open_files()
            limit = self._config.source.max_frames
            pipeline = Pipeline(model, self._frame_reader, self._controls, post_processor, limit)
            with closing(pipeline):
                pipeline.start()
                self._process_results(pipeline, ScaleRemark(model.sizes_hw, self._callbacks.note))
        except KeyboardInterrupt:
            self._statistics.interrupted = True
        except EdgeSegError as exc:
            self._statistics.error = exc
        finally:
            self._close()

    def finish(self, computed_by: str) -> RunSummary:
        """Write the summary, and raise what went wrong."""
        statistics, model = self._statistics, str(self._config.model)
        if not (statistics.frames or statistics.error or statistics.interrupted) and statistics.skipped:
            count = statistics.skipped_count
            what = (
                f"none of the {count} inputs can be read; the first"
                if count > 1
                else "the only input cannot be read"
            )
            statistics.error = InputError(f"{what}: {statistics.skipped[0].reason}")
        outputs = {kind: str(path) for kind, path in self._outputs.items() if path.exists()}
        summary = statistics.summary(model, computed_by, self._health.read(), self._output, outputs)
        if self._output is not None:
            try:
                write_json(self._output / job.SUMMARY_FILE, json_from_record(summary))
            except EdgeSegError as exc:
                statistics.error = statistics.error or exc
        self._unlock()
        if statistics.error:
            where = f", in {summary.output}" if summary.output else ""
            kept = f"; frames done before it: {statistics.frames}{where}" if statistics.frames else ""
            msg = f"{statistics.error}{kept}"
            raise RunStoppedError(msg, summary) from statistics.error
        return summary

    def _process_results(self, pipeline: Pipeline, remark: ScaleRemark) -> None:
        for item in pipeline.iterate():
            if isinstance(item, Skipped):
                self._statistics.add_skipped(item)
                self._callbacks.note(f"skipped {item.name}: {item.reason}")
            else:
                remark(item.frame)
                self._write(item)

    def _write(self, result: FrameResult) -> None:
        start = time.perf_counter()
        rendered = RenderedFrame(result, self._status, self._renderer)
        for sink in self._sinks:
            sink.write(rendered)
        self._statistics.add(result, 1000 * (time.perf_counter() - start))
        self._callbacks.progress(self._progress_line(result.frame))

    def _status(self) -> Status:
        return self._statistics.status(self._health.read())

    def _open_views(self) -> list[Sink]:
        display, names = self._config.display, self._frame_reader.names
        views: list[Sink] = []
        if display.window:
            views.append(Window(self._controls, source_names=names))
        if display.web is not None:
            page = WebPage(
                display.web,
                self._controls,
                token=display.web_token,
                source_names=names,
                title=self._config.model.resolve().name,
            )
            self._callbacks.note(f"the page is at {page.url}")
            views.append(page)
        return views

    def _open_files(self) -> None:
        config, frame_reader = self._config.output, self._frame_reader
        outputs, sinks = self._outputs, self._sinks
        output = open_output(config.folder, self._callbacks.note)
        self._lock = FolderLock(output, "writes results into")
        self._output = output
        if config.folder is not None:
            clear_output(output)
        if config.overlay and frame_reader.kind is SourceKind.IMAGES:
            outputs["overlays"] = output / job.OVERLAY_FOLDER
            sinks.append(ImageOverlays(outputs["overlays"]))
        elif config.overlay:
            paths = video_paths(output, len(frame_reader.names))
            names = ["overlay"] if len(paths) == 1 else [f"overlay {index}" for index in range(len(paths))]
            outputs.update(zip(names, paths, strict=True))
            sinks.append(
                VideoOverlays(paths, frame_reader.rates_fps, live=frame_reader.kind is SourceKind.LIVE)
            )
        outputs["coco"] = output / job.COCO_FILE
        sinks.append(CocoResultsWriter(outputs["coco"]))
        outputs["lines"] = output / job.LINES_FILE
        sinks.append(JsonLines(outputs["lines"], frame_reader.names))

    def _close(self) -> None:
        while self._sinks:
            try:
                self._sinks.pop(0).close()
            except EdgeSegError as exc:
                self._statistics.error = self._statistics.error or exc

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def _progress_line(self, frame: Frame) -> str:
        """One line a frame: of a file how far it is, of a live source how it goes."""
        if self._frame_reader.kind is not SourceKind.LIVE:
            total = self._frame_reader.total
            of_total = f" of {total}" if total else ""
            return f"frame {self._statistics.frames}{of_total}: {frame.name}"
        status = self._status()
        found = sum(status.instances_by_class.values())
        parts = [f"{status.fps:.1f} frames/s", f"{found} instances"]
        if status.age_ms is not None:
            parts.append(f"{status.age_ms:.0f} ms old")
        parts.append(f"{sum(status.dropped.values())} dropped")
        return ", ".join([*parts, health_line(status.health)])
