"""Reading records and writing files so that they are there whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import ArtifactError, EdgeSegError
from .record import check_text, escaped, json_from_record, parsed_json, record_from_json, shown
from .regular import MOST_JSON, read_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RecordT = TypeVar("RecordT")
FULL = (errno.ENOSPC, errno.EDQUOT)
# Key of a record's own checksum; records of older versions have none.
CHECKSUM = "sha256"


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


def write_record(path: Path, record: Any) -> None:
    """Write a record as JSON with a checksum of its own, which `read_record` checks; see `write_whole`."""
    data = escaped(json_from_record(record))
    write_json(path, {**data, CHECKSUM: checksum_of(data)})


def checksum_of(data: dict[str, Any]) -> str:
    """Hash a JSON object without its checksum, whatever its layout and the order of its keys."""
    rest = {name: value for name, value in data.items() if name != CHECKSUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def read_record(
    kind: type[RecordT], path: Path, *, version: int, absent: str, again: str, most: int = MOST_JSON
) -> RecordT:
    """Read a record from a JSON file of a known format.

    Args:
        kind: The dataclass to build.
        path: File.
        version: What its key `format` must be.
        absent: What to say where there is none.
        again: How to make the file again, as the end of a sentence.
        most: Bytes that it may have.

    Raises:
        ArtifactError: Missing, truncated, too large, of another format, not such a record, or altered after
            it was written.
    """
    data = _json_of(path, absent, again, most)
    if isinstance(data, dict) and data.get("format") != version:
        msg = f"{path} is of format {shown(data.get('format'))}, not {version}; {again}"
        raise ArtifactError(msg)
    checksum = data.pop(CHECKSUM, None) if isinstance(data, dict) else None
    try:
        record = record_from_json(kind, data, source=str(path))
        check_text(data, source=str(path))
    except ArtifactError as exc:
        msg = f"{exc}; {again}"
        raise ArtifactError(msg) from exc
    if checksum is not None and checksum != checksum_of(data):
        msg = f"{path} was altered after it was written (its SHA-256 differs); {again}, or copy it again"
        raise ArtifactError(msg)
    return record


def _json_of(path: Path, absent: str, again: str, most: int) -> Any:
    try:
        return parsed_json(read_regular(path, most=most).decode())
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise ArtifactError(absent) from exc
    except OSError as exc:
        msg = f"cannot read {path}: {exc.strerror}"
        raise ArtifactError(msg) from exc
    except ValueError as exc:
        msg = f"{path} is not valid JSON ({exc}); {again}"
        raise ArtifactError(msg) from exc
