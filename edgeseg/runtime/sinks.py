"""Writing results frame by frame, so that whatever stops a run, everything before it is whole on the disk."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import EdgeSegError

if TYPE_CHECKING:
    from collections.abc import Iterator
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


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a system call's failure into a sentence that names the file.

    Raises:
        EdgeSegError: The block failed to write.
    """
    try:
        yield
    except OSError as exc:
        reason = exc.strerror or str(exc)
        msg = f"cannot write {path}: {reason}; make room or name another folder with -o"
        raise EdgeSegError(msg) from exc


class RecordFile:
    """A file that always ends after a whole record: one that cannot be written is taken back.

    Args:
        path: Replaced if it exists.

    Raises:
        EdgeSegError: The file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with writing(path):
            # Unbuffered, or a full disk would show at some later record.
            self._stream = path.open("wb", buffering=0)

    def append(self, record: str) -> None:
        """Write a record whole or not at all.

        Raises:
            EdgeSegError: It could not be written.
        """
        end, data = self._stream.tell(), memoryview(record.encode())
        try:
            with writing(self._path):
                while data:
                    data = data[self._stream.write(data) :]
        except BaseException:
            # An interruption cuts a record in two just as a full disk does.
            self._stream.seek(end)
            self._stream.truncate()
            raise

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


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

    It has the name `path` plus `.partial` until it is closed, for a list without its end is no JSON.

    Args:
        path: Replaced if it exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        self._file = RecordFile(self._partial)
        self._before = "[\n"

    def write(self, frame: Frame, detections: Detections) -> None:
        """See `Sink.write`."""
        results = [json.dumps(result) for result in detections.to_coco(frame.image_id)]
        if results:
            self._file.append(self._before + ",\n".join(results))
            self._before = ",\n"

    def close(self) -> None:
        """See `Sink.close`."""
        self._file.append("[]\n" if self._before == "[\n" else "\n]\n")
        self._file.close()
        with writing(self._path):
            self._partial.replace(self._path)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name and rename it, so that it is never seen in part.

    Raises:
        EdgeSegError: It could not be written; nothing is left of it.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write an indented JSON object; see `write_whole`."""
    write_whole(path, (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode())
