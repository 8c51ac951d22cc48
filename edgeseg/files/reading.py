"""Reading files from other programs: only regular files, and only up to a plausible size."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import IO, TYPE_CHECKING, BinaryIO

from edgeseg.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

# The largest record seen so far, of an engine with all its kernels, has 0.2 MB. Parsed JSON takes up to
# twenty times its size.
MAX_JSON_BYTES = 4 << 20
SPECIAL_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# Without O_NONBLOCK, opening a pipe that nobody writes to would wait forever.
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def read_failure(what: object, error: Exception) -> str:
    """Say that something cannot be read, and why: `cannot read a.png: Permission denied`.

    Args:
        what: A path, or more words that end in one.
        error: `OSError`, of which the path is left out, or what decoding has raised.
    """
    return f"cannot read {what}: {getattr(error, 'strerror', None) or error}"


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file, or a link to one, for reading; never wait for a pipe or device.

    Raises:
        OSError: The file is missing, cannot be read or is not regular; `strerror` says which.
    """
    # Check before opening, because some devices act when they are opened.
    _check_kind(path.stat(), path)
    stream = os.fdopen(os.open(path, OPEN_FLAGS), "rb")
    try:
        _check_kind(os.fstat(stream.fileno()), path)
    except OSError:
        stream.close()
        raise
    return stream


def open_input(path: Path) -> BinaryIO:
    """Open an image, a video or another file that a user has named; see `open_regular`.

    Raises:
        InputError: The file is missing, cannot be read or is not regular.
    """
    try:
        return open_regular(path)
    except (OSError, ValueError) as exc:
        raise InputError(read_failure(path, exc)) from exc


def special_file_kind(path: Path) -> str:
    """Name what a path is if it is not a regular file; empty for a regular file, or if it is unknown."""
    try:
        _check_kind(path.stat(), path)
    except IsADirectoryError:
        return _must_be_file("a folder")
    except (OSError, ValueError) as exc:
        is_special = isinstance(exc, OSError) and exc.errno == errno.EINVAL
        return str(exc.strerror) if is_special else ""  # type: ignore[union-attr]
    return ""


def read_regular(path: Path, *, max_bytes: int = MAX_JSON_BYTES) -> bytes:
    """Read a whole regular file.

    Args:
        path: File to read.
        max_bytes: Largest allowed size; nothing of a larger file is read.

    Raises:
        OSError: As `open_regular`, or the file is larger than `max_bytes`.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        # Files below /proc state a size of 0 and may have endless content.
        data = b"" if size > max_bytes else stream.read(max_bytes + 1)
    if max(size, len(data)) > max_bytes:
        size_text = f"{max(size, len(data)) / 1e6:,.1f} MB"
        raise OSError(errno.EFBIG, f"it has {size_text} and may have {max_bytes / 1e6:,.1f}", str(path))
    return data


def sha256_from_file(path: Path) -> str:
    """Compute the SHA-256 of a regular file, in lower-case hexadecimal digits.

    Raises:
        OSError: As `open_regular`.
    """
    digest = hashlib.sha256()
    with open_regular(path) as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def allocated_size(stream: IO[bytes]) -> int:
    """Count the bytes of a file that are stored: fewer than its size if it has holes."""
    status = os.fstat(stream.fileno())
    # Some network file systems report no blocks at all.
    stored = getattr(status, "st_blocks", 0) * 512
    return min(status.st_size, stored) if stored else status.st_size


def _check_kind(status: os.stat_result, path: Path) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    kind = next((name for test, name in SPECIAL_KINDS if test(status.st_mode)), "something else")
    raise OSError(errno.EINVAL, _must_be_file(kind), str(path))


def _must_be_file(kind: str) -> str:
    return f"it must be a regular file and is {kind}"
