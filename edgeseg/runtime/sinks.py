"""Writing results frame by frame, so that whatever stops a run, everything before it is whole on the disk."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from ..files import writing

if TYPE_CHECKING:
    from pathlib import Path

    from .detections import Detections
    from .frames import Frame


class Sink(Protocol):
    """Takes what was found in each frame."""

    def write(self, frame: Frame, detections: Detections) -> None:
        """Add one frame.

        Raises:
            EdgeSegError: The disk is full, or the file cannot be written; the frames before it stay.
        """

    def close(self) -> None:
        """Make the file whole; nothing can be written afterwards."""


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
        with writing(path):
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
            with writing(self._path):
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
    """One line of JSON a frame: what was found, where and when.

    Args:
        path: Replaced if it exists.
    """

    def __init__(self, path: Path) -> None:
        self._file = RecordFile(path)

    def write(self, frame: Frame, detections: Detections) -> None:
        """See `Sink.write`."""
        height, width = detections.frame_size_hw
        line = {
            "image_id": frame.image_id,
            "file_name": frame.name,
            "time_s": None if frame.time_s is None else round(frame.time_s, 4),
            "width": width,
            "height": height,
            "detections": detections.to_json(),
        }
        self._file.append(json.dumps(line, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """See `Sink.close`."""
        self._file.close()


class CocoResults:
    """COCO's results file: one JSON list of all instances, with RLE masks.

    It has the name `path` plus `.partial` until it is closed; even that one is valid JSON after each frame.

    Args:
        path: Replaced if it exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = partial_path(path)
        self._file = RecordFile(self._partial, head=b"[", tail=b"\n]\n")
        self._before = "\n"

    def write(self, frame: Frame, detections: Detections) -> None:
        """See `Sink.write`."""
        results = [json.dumps(result) for result in detections.to_coco(frame.image_id)]
        if results:
            self._file.append(self._before + ",\n".join(results))
            self._before = ",\n"

    def close(self) -> None:
        """See `Sink.close`."""
        self._file.close()
        with writing(self._path):
            self._partial.replace(self._path)


def partial_path(path: Path) -> Path:
    """Name a COCO results file while it grows."""
    return path.with_name(f"{path.name}.partial")
