"""A file that has a temporary name until it is complete."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from .renames import sync_folder
from .temporary import new_file

if TYPE_CHECKING:
    from pathlib import Path

# Errors of a rename over a mount point.
MOUNT_ERRORS = (errno.EBUSY, errno.EXDEV)
DENIED_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS)


class AtomicFile:
    """A file that replaces another one when it is committed, and is removed if it is not.

    Args:
        target: Path of the file after the commit. If it is a link, the link stays and its target is replaced.
        suffix: Suffix of the temporary name; see `new_file`.

    Attributes:
        path: Path of the file until the commit; a library may open and write it.

    Raises:
        OSError: The file cannot be created.
    """

    def __init__(self, target: Path, suffix: str = "") -> None:
        self._target = real_path(target)
        self.path, self._descriptor = new_file(self._target.parent, suffix)
        self._open = True

    def write(self, data: bytes) -> None:
        """Append bytes."""
        write_all(self._descriptor, data)

    def commit(self, *, durable: bool = True) -> None:
        """Replace the target in one step.

        Args:
            durable: Make the file survive a power failure, which takes a few milliseconds.
        """
        if durable:
            os.fsync(self._descriptor)
        try:
            self.path.replace(self._target)
        except OSError as exc:
            if exc.errno not in MOUNT_ERRORS or not self._target.is_file():
                raise
            # A file that is mounted into a container cannot be replaced, so copy the content into it.
            with self.path.open("rb") as source, self._target.open("wb") as copy:
                shutil.copyfileobj(source, copy)
        if durable:
            sync_folder(self._target.parent)
        self.close()

    def close(self) -> None:
        """Remove the file unless it was committed. Closing twice does no harm."""
        if self._open:
            self._open = False
            with suppress(FileNotFoundError):
                self.path.unlink()
            os.close(self._descriptor)


def atomic_file_or_none(target: Path) -> AtomicFile | None:
    """Create an `AtomicFile`; None if the folder takes no new file but the existing file can be written.

    Raises:
        OSError: Neither is possible.
    """
    try:
        return AtomicFile(target)
    except OSError as exc:
        if exc.errno in DENIED_ERRORS and target.is_file() and os.access(target, os.W_OK):
            return None
        raise


def real_path(path: Path) -> Path:
    """Follow links, including one whose target does not exist yet."""
    return type(path)(os.path.realpath(path))


def is_special_file(path: Path) -> bool:
    """Tell whether a path is a device, pipe or socket, which must not be replaced by a file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def write_in_place(path: Path, data: bytes) -> None:
    """Write into an existing file, device or pipe; a pipe that nobody reads is an error."""
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | getattr(os, "O_NONBLOCK", 0))
    try:
        os.set_blocking(descriptor, True)
        write_all(descriptor, data)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes to a file descriptor, which may take several calls."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
