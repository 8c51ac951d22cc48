"""Writing results frame by frame, so that whatever stops a run, everything before it is whole on the disk."""

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
    """A file that is whole after each record: one that cannot be written is taken back.

    Args:
        path: Replaced if it exists.
        head: What stands before the records.
        tail: What stands after them; each record is put before it, so the end needs no room on a full disk.

    Raises:
        EdgeSegError: The file cannot be made.
    """

    def __init__(self, path: Path, head: bytes = b"", tail: bytes = b"") -> None:
        self._path, self._tail, self._end = path, tail, len(head)
        with mapped_write_errors(path):
            # Unbuffered, or a full disk would show at some later record.
            self._stream = path.open("wb", buffering=0)
            self._write(head + tail)

    def append(self, record: str) -> None:
        """Write a record whole or not at all.

        Raises:
            EdgeSegError: It could not be written.
        """
        # Names that are no UTF-8 become escapes, which JSON reads back as they were.
        data = record.encode(errors="backslashreplace")
        try:
            with mapped_write_errors(self._path):
                self._stream.seek(self._end)
                self._write(data + self._tail)
        except BaseException:
            # An interruption cuts a record in two just as a full disk does.
            # What failed first is what the user must hear.
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
    """One line of JSON a frame: what was found, where, when, and how long it took.

    Args:
        path: Replaced if it exists.
        source_names: By `Frame.source`.
    """

    def __init__(self, path: Path, source_names: Sequence[str]) -> None:
        self._file = RecordFile(path)
        self._source_names = source_names
        # Frames carry a clock that nobody sets, lines the time of day.
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
    """Write what was counted in JSON's types; the trails are left out, as the lines before tell them."""
    return {
        "entered": scene.entered,
        "left": scene.left,
        "entered_by_class": dict(scene.entered_by_class),
        "lines": {line.name: {"forward": line.forward, "backward": line.backward} for line in scene.lines},
        "zones": {zone.name: {"inside": zone.inside, "entered": zone.entered} for zone in scene.zones},
    }


class CocoResultsWriter:
    """COCO's results file: one JSON list of all instances, with RLE masks.

    It has the name `path` plus `.partial` until it is closed; even that one is valid JSON after each frame.

    Args:
        path: Replaced if it exists.
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
    """Name a COCO results file while it grows."""
    return path.with_name(f"{path.name}.partial")
