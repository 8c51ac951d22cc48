"""From a source to results on the disk: what `edgeseg run` does."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

from ..errors import EdgeSegError, InputError
from ..files import write_json, writing
from ..record import json_from_record
from . import job
from .frames import Frame, Source, SourceKind
from .job import Observer, RunConfig, RunStoppedError, RunSummary
from .model import load
from .outputs import check_output, clear_output, product_paths
from .overlays import ImageOverlays, VideoOverlay
from .sinks import CocoResults, JsonLines, Sink
from .sources import open_source
from .tally import Tally
from .video import CameraSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .detections import Detections
    from .model import Model


def run(config: RunConfig, observer: Observer | None = None) -> RunSummary:
    """Detect in every frame of a source and write the results as they come.

    Ctrl-C ends the run with what was done so far.

    Args:
        config: What to do.
        observer: Hears of each frame.

    Raises:
        ConfigError: There are results already, or a setting cannot work.
        InputError: The source cannot be opened.
        ArtifactError: The bundle cannot be opened.
        RunStoppedError: It ended early, or no input could be read; everything before it is on the disk.
    """
    check_output(config)
    with (
        closing(_source(config)) as source,
        load(
            config.model,
            backend=config.backend,
            precision=config.precision,
            provider=config.provider,
            threads=config.threads,
        ) as model,
    ):
        runner = _Runner(config, observer or Observer())
        runner.run(source, model)
        return runner.finish(model.description)


class _Runner:
    def __init__(self, config: RunConfig, observer: Observer) -> None:
        self._config = config
        self._observer = observer
        self._tally = Tally()
        self._outputs: dict[str, Path] = {}

    def run(self, source: Source, model: Model) -> None:
        """Go through the source; the tally knows what ended it."""
        sinks: list[Sink] = []
        try:
            self._open_sinks(source, sinks)
            for frames in self._batches(source, model.spec.batch):
                with self._tally.timed("detect"):
                    found = model([frame.image for frame in frames], self._config.score_threshold)
                for frame, detections in zip(frames, found, strict=True):
                    self._write(frame, detections, sinks)
                self._observer.progress(self._progress_line(frames[-1], source.total))
        except KeyboardInterrupt:
            self._tally.interrupted = True
        except EdgeSegError as exc:
            self._tally.error = exc
        finally:
            self._close(sinks)

    def finish(self, computed_by: str) -> RunSummary:
        """Write the summary, and raise what went wrong."""
        tally = self._tally
        if not (tally.frames or tally.error or tally.interrupted) and tally.skipped:
            count = len(tally.skipped)
            what = (
                f"none of the {count} inputs can be read; the first"
                if count > 1
                else "the only input cannot be read"
            )
            tally.error = InputError(f"{what}: {tally.skipped[0].reason}")
        outputs = {kind: str(path) for kind, path in self._outputs.items() if path.exists()}
        summary = tally.summary(self._config, computed_by, outputs)
        try:
            write_json(self._config.output / job.SUMMARY_FILE, json_from_record(summary))
        except EdgeSegError as exc:
            tally.error = tally.error or exc
        if tally.error:
            kept = (
                f"; frames done before it: {tally.frames}, in {self._config.output}" if tally.frames else ""
            )
            msg = f"{tally.error}{kept}"
            raise RunStoppedError(msg, summary) from tally.error
        return summary

    def _open_sinks(self, source: Source, sinks: list[Sink]) -> None:
        config, outputs = self._config, self._outputs
        with writing(config.output):
            config.output.mkdir(parents=True, exist_ok=True)
        clear_output(config.output)
        if config.overlay and source.kind is SourceKind.IMAGES:
            outputs["overlays"] = config.output / job.OVERLAY_FOLDER
            sinks.append(ImageOverlays(outputs["overlays"]))
        elif config.overlay:
            outputs["overlay"] = config.output / job.OVERLAY_VIDEO
            sinks.append(VideoOverlay(outputs["overlay"], source.kind, source.fps))
        outputs["coco"] = config.output / job.COCO_FILE
        sinks.append(CocoResults(outputs["coco"]))
        outputs["lines"] = config.output / job.LINES_FILE
        sinks.append(JsonLines(outputs["lines"]))

    def _batches(self, source: Source, size: int) -> Iterator[list[Frame]]:
        """Gather frames until a batch is full, and never read one more than is wanted."""
        frames = islice(self._frames(source), self._config.max_frames)
        while batch := list(islice(frames, size)):
            yield batch

    def _frames(self, source: Source) -> Iterator[Frame]:
        items = iter(source)
        while True:
            with self._tally.timed("read"):
                item = next(items, None)
            if item is None:
                return
            if isinstance(item, Frame):
                yield item
                continue
            self._tally.skipped.append(item)
            self._observer.note(f"skipped {item.name}: {item.reason}")

    def _write(self, frame: Frame, detections: Detections, sinks: list[Sink]) -> None:
        with self._tally.timed("write"):
            for sink in sinks:
                sink.write(frame, detections)
        self._tally.add(detections)

    def _close(self, sinks: list[Sink]) -> None:
        for sink in sinks:
            try:
                sink.close()
            except EdgeSegError as exc:
                self._tally.error = self._tally.error or exc

    def _progress_line(self, frame: Frame, total: int | None) -> str:
        of_total = f" of {total}" if total else ""
        return f"frame {self._tally.frames}{of_total}: {frame.name}"


def _source(config: RunConfig) -> Source:
    if config.source is not None:
        return open_source(config.source, exclude=product_paths(config.output))
    return CameraSource(config.camera or 0)
