"""Reading records from JSON files, and writing files so that they are complete or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from edgeseg.errors import ArtifactError, ConfigError, EdgeSegError
from edgeseg.records import (
    check_text,
    escape_surrogates,
    json_from_record,
    parse_json,
    record_from_json,
    short_repr,
)

from .draft import AtomicFile, atomic_file_or_none, is_special_file, real_path, write_in_place
from .reading import MAX_JSON_BYTES, read_failure, read_regular
from .temporary import sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RecordT = TypeVar("RecordT")
DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)
# Key of a record's own checksum, which records of older versions do not have.
CHECKSUM_KEY = "sha256"


@contextmanager
def mapped_write_errors(path: Path) -> Iterator[None]:
    """Map an `OSError` of the block to a sentence that names the file.

    Raises:
        EdgeSegError: Writing in the block failed.
    """
    try:
        yield
    except OSError as exc:
        reason = exc.strerror or str(exc)
        make_room = "make room or " if exc.errno in DISK_FULL_ERRORS else ""
        msg = f"cannot write {path}: {reason}; {make_room}name another folder"
        raise EdgeSegError(msg) from exc


def check_folder(folder: Path) -> None:
    """Check, before any work, that a folder can be created, or written to if it exists.

    Raises:
        ConfigError: The folder's name is not UTF-8, which not all libraries that write there accept.
        EdgeSegError: The folder cannot be written.
    """
    try:
        os.fspath(folder.absolute()).encode()
    except UnicodeEncodeError as exc:
        msg = f"the name of a folder to write must be UTF-8, got {os.fspath(folder)!r}; name another folder"
        raise ConfigError(msg) from exc
    with mapped_write_errors(folder):
        if "\0" in os.fspath(folder):
            raise OSError(errno.EINVAL, "a NUL byte in the name")
        existing = real_path(folder)
        missing = []
        while not os.path.lexists(existing):
            missing.append(existing.name)
            existing = existing.parent
        for name in missing:
            with suppress(FileNotFoundError):
                # Fails if the name is too long.
                (existing / name).lstat()
        if existing.exists() and not existing.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{existing} is no folder")
        # For root, only trying finds a read-only or full file system. If the folder is gone by now, another
        # program is replacing it, and it can be created.
        with suppress(FileNotFoundError):
            AtomicFile(existing / "draft").close()


def claim_folder(folder: Path, marker: str, holds_results: Callable[[Path], bool]) -> Path:
    """Create a folder for results; if it has results already, the first free of `NAME-2`, `NAME-3`, ...

    Two programs that ask at the same time get different folders.

    Args:
        folder: Used if it does not exist or holds no results.
        marker: Name of an empty file that is created in the folder to mark it as taken.
        holds_results: Tells whether a folder holds an earlier program's results.

    Raises:
        EdgeSegError: The folder cannot be written.
    """
    path, number = folder, 1
    while holds_results(path) or not _try_claim(path, marker):
        number += 1
        path = folder.with_name(f"{folder.name}-{number}")
    return path


def _try_claim(folder: Path, marker: str) -> bool:
    with mapped_write_errors(folder):
        try:
            folder.mkdir(exist_ok=True)
            (folder / marker).touch(exist_ok=False)
        except FileExistsError:
            return False
    return True


def write_atomically(path: Path, data: bytes, *, bulk: bool = False) -> None:
    """Write a file under a temporary name and rename it, so that it is never seen incomplete.

    If `path` is a link, the link stays and its target is written. A path that is not a regular file, such as
    `/dev/stdout`, or cannot be renamed, such as a file mounted into a container, is written in place.

    Args:
        path: File to write; it is replaced if it exists, and its folder is created if need be.
        data: Content of the file.
        bulk: One of many files: it need not survive a power failure, and `sweep` was already called on its
            folder.

    Raises:
        EdgeSegError: The file could not be written; no part of it remains.
    """
    with mapped_write_errors(path):
        if is_special_file(path):
            write_in_place(path, data)
            return
        target = real_path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not bulk:
            sweep(target.parent)
        pending_file = atomic_file_or_none(target)
        if pending_file is None:
            write_in_place(target, data)
            return
        with closing(pending_file):
            pending_file.write(data)
            pending_file.commit(durable=not bulk)


def check_file(path: Path) -> None:
    """Check, before any work, that a file can be written, and create its folder.

    Raises:
        EdgeSegError: The file cannot be written; the message says why.
    """
    with mapped_write_errors(path):
        if is_special_file(path):
            return
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        target = real_path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            # Fails if the name is too long.
            target.lstat()
        pending_file = atomic_file_or_none(target)
        if pending_file is not None:
            pending_file.close()


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write an indented JSON object; see `write_atomically`."""
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode(errors="backslashreplace"))


def write_record(path: Path, record: Any) -> None:
    """Write a record as JSON with its own checksum, which `read_record` checks; see `write_atomically`."""
    data = escape_surrogates(json_from_record(record))
    write_json(path, {**data, CHECKSUM_KEY: checksum_from_json(data)})


def checksum_from_json(data: dict[str, Any]) -> str:
    """Compute the SHA-256 of a JSON object without its checksum; layout and order of keys do not matter."""
    rest = {name: value for name, value in data.items() if name != CHECKSUM_KEY}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def read_record(
    kind: type[RecordT],
    path: Path,
    *,
    version: int,
    missing_message: str,
    remedy: str,
    max_bytes: int = MAX_JSON_BYTES,
) -> RecordT:
    """Read a record from a JSON file of a known format.

    Args:
        kind: Dataclass of the record.
        path: File to read.
        version: Required value of the key `format`.
        missing_message: Message if the file does not exist.
        remedy: How to make the file again, as the end of a sentence.
        max_bytes: Largest allowed size of the file.

    Raises:
        ArtifactError: The file is missing, truncated, too large, of another format or not such a record, or
            it was altered after it was written.
    """
    data = _read_json(path, missing_message, remedy, max_bytes)
    if isinstance(data, dict) and data.get("format") != version:
        msg = f"{path} is of format {short_repr(data.get('format'))}, not {version}; {remedy}"
        raise ArtifactError(msg)
    checksum = data.pop(CHECKSUM_KEY, None) if isinstance(data, dict) else None
    try:
        record = record_from_json(kind, data, source=str(path))
        check_text(data, source=str(path))
    except ArtifactError as exc:
        msg = f"{exc}; {remedy}"
        raise ArtifactError(msg) from exc
    if checksum is not None and checksum != checksum_from_json(data):
        msg = f"{path} was altered after it was written (its SHA-256 differs); {remedy}, or copy it again"
        raise ArtifactError(msg)
    return record


def _read_json(path: Path, missing_message: str, remedy: str, max_bytes: int) -> Any:
    try:
        return parse_json(read_regular(path, max_bytes=max_bytes).decode())
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise ArtifactError(missing_message) from exc
    except OSError as exc:
        raise ArtifactError(read_failure(path, exc)) from exc
    except ValueError as exc:
        msg = f"{path} is not valid JSON ({exc}); {remedy}"
        raise ArtifactError(msg) from exc
