"""Writing results frame by frame, so that the files are complete up to the last frame if a run stops."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from edgeseg.files.records import mapped_write_errors
from edgeseg.records import json_from_record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeseg.streaming.results import FrameResult, RenderedFrame, Scene


class RecordFile:
    """A file that is valid after each record; a record that cannot be written completely is removed.

    Args:
        path: Path of the file; replaced if it exists.
        head: Bytes before the first record.
        tail: Bytes after the last record, rewritten with each one, so closing the file needs no disk space.

    Raises:
        EdgeSegError: The file cannot be created.
    """

    def __init__(self, path: Path, head: bytes = b"", tail: bytes = b"") -> None:
        self._path, self._tail, self._end = path, tail, len(head)
        with mapped_write_errors(path):
            # Unbuffered, because otherwise a full disk would only show at a later record.
            self._stream = path.open("wb", buffering=0)
            self._write(head + tail)

    def append(self, record: str) -> None:
        """Write a record completely or not at all.

        Args:
            record: Text of the record, including separators.

        Raises:
            EdgeSegError: The record could not be written.
        """
        # File names that are not UTF-8 contain surrogates, which are written as JSON escapes.
        data = record.encode(errors="backslashreplace")
        try:
            with mapped_write_errors(self._path):
                self._stream.seek(self._end)
                self._write(data + self._tail)
        except BaseException:
            # `BaseException`, because Ctrl-C can leave half a record just as a full disk can. Errors of the
            # clean-up are suppressed, so that the user sees the first one.
            with suppress(OSError):
                self._stream.seek(self._end)
                self._write(self._tail)
                self._stream.truncate()
            raise
        self._end += len(data)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._stream.write(rest) :]


class JsonLines:
    """Writes one line of JSON per frame: its detections, its time, and how long each stage took.

    Args:
        path: Path of the file; replaced if it exists.
        source_names: Names of the sources, indexed by `Frame.source`.

    Raises:
        EdgeSegError: The file cannot be created.
    """

    def __init__(self, path: Path, source_names: Sequence[str]) -> None:
        self._file = RecordFile(path)
        self._source_names = source_names
        # Frames have monotonic times; the lines give the time of day.
        self._epoch_offset_s = time.time() - time.monotonic()

    def write(self, rendered: RenderedFrame) -> None:
        """See `Sink.write`."""
        line = self._line(rendered.result)
        if rendered.result.frame.captured_s is not None:
            line["health"] = json_from_record(rendered.status.health)
        self._file.append(json.dumps(line, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """See `Sink.close`."""
        self._file.close()

    def _line(self, result: FrameResult) -> dict[str, Any]:
        frame, detections = result.frame, result.detections
        height, width = detections.frame_size_hw
        line: dict[str, Any] = {
            "image_id": frame.image_id,
            "file_name": frame.name,
            "time_s": None if frame.time_s is None else round(frame.time_s, 4),
            "width": width,
            "height": height,
            "detections": detections.to_json(),
            "stages_ms": {stage: round(taken_ms, 2) for stage, taken_ms in result.stages_ms.items()},
        }
        if len(self._source_names) > 1:
            line["source"] = self._source_names[frame.source]
        if frame.captured_s is not None:
            moment = datetime.fromtimestamp(self._epoch_offset_s + frame.captured_s, timezone.utc)
            line["captured_at"] = moment.isoformat(timespec="milliseconds")
        if result.age_ms is not None:
            line["age_ms"] = round(result.age_ms, 1)
        if result.scene is not None:
            line["scene"] = json_from_scene(result.scene)
        return line


def json_from_scene(scene: Scene) -> dict[str, Any]:
    """Convert counts to JSON types, without the trails, which follow from the lines before."""
    return {
        "entered": scene.entered,
        "left": scene.left,
        "entered_by_class": dict(scene.entered_by_class),
        "lines": {line.name: {"forward": line.forward, "backward": line.backward} for line in scene.lines},
        "zones": {zone.name: {"inside": zone.inside, "entered": zone.entered} for zone in scene.zones},
    }


class CocoResultsWriter:
    """Writes a COCO results file: one JSON list of all instances, with RLE masks.

    The file is named `path` plus `.partial` until it is closed, and is valid JSON after each frame.

    Args:
        path: Final path of the file; replaced if it exists.

    Raises:
        EdgeSegError: The file cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = partial_path(path)
        self._file = RecordFile(self._partial, head=b"[", tail=b"\n]\n")
        self._separator = "\n"

    def write(self, rendered: RenderedFrame) -> None:
        """See `Sink.write`."""
        frame, detections = rendered.result.frame, rendered.result.detections
        results = [json.dumps(result) for result in detections.to_coco(frame.image_id)]
        if results:
            self._file.append(self._separator + ",\n".join(results))
            self._separator = ",\n"

    def close(self) -> None:
        """See `Sink.close`."""
        self._file.close()
        with mapped_write_errors(self._path):
            self._partial.replace(self._path)


def partial_path(path: Path) -> Path:
    """Return the name of a COCO results file that is still being written."""
    return path.with_name(f"{path.name}.partial")
