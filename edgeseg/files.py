"""Reading records and writing files so that they are there whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import ArtifactError, EdgeSegError
from .record import record_from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RecordT = TypeVar("RecordT")
FULL = (errno.ENOSPC, errno.EDQUOT)


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
        make_room = "make room or " if exc.errno in FULL else ""
        msg = f"cannot write {path}: {reason}; {make_room}name another folder"
        raise EdgeSegError(msg) from exc


def claimed_folder(folder: Path, first: str, holds_results: Callable[[Path], bool]) -> Path:
    """Make a folder for results, or the first of `NAME-2`, `NAME-3`, ... where there are results already.

    Of two programs that ask at the same time, each gets a folder of its own.

    Args:
        folder: Taken as it is where it is missing or holds something else.
        first: File that is made in it, empty, which marks it as taken.
        holds_results: Tells whether an earlier program's results are in a folder.

    Raises:
        EdgeSegError: It cannot be written.
    """
    path, number = folder, 1
    while holds_results(path) or not _claims(path, first):
        number += 1
        path = folder.with_name(f"{folder.name}-{number}")
    return path


def _claims(folder: Path, first: str) -> bool:
    with writing(folder):
        try:
            folder.mkdir(exist_ok=True)
            (folder / first).touch(exist_ok=False)
        except FileExistsError:
            return False
    return True


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
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, text.encode(errors="backslashreplace"))


def read_record(kind: type[RecordT], path: Path, *, version: int, absent: str, again: str) -> RecordT:
    """Read a record from a JSON file of a known format.

    Args:
        kind: The dataclass to build.
        path: File.
        version: What its key `format` must be.
        absent: What to say where there is none.
        again: How to make the file again, as the end of a sentence.

    Raises:
        ArtifactError: Missing, truncated, of another format, or not such a record.
    """
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise ArtifactError(absent) from exc
    except OSError as exc:
        msg = f"cannot read {path}: {exc.strerror}"
        raise ArtifactError(msg) from exc
    except ValueError as exc:
        msg = f"{path} is not valid JSON ({exc}); {again}"
        raise ArtifactError(msg) from exc
    if isinstance(data, dict) and data.get("format") != version:
        msg = f"{path} is of format {data.get('format')!r}, not {version}; {again}"
        raise ArtifactError(msg)
    try:
        return record_from_json(kind, data, source=str(path))
    except ArtifactError as exc:
        msg = f"{exc}; {again}"
        raise ArtifactError(msg) from exc
