"""A file under a temporary name until it is whole."""

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

# What a rename over a mount point ends in.
MOUNT_ERRORS = (errno.EBUSY, errno.EXDEV)
DENIED_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS)


class AtomicFile:
    """A file that replaces another one when it is committed, and is removed when it is not.

    Args:
        target: What it becomes; a link stays, and what it points to is replaced.
        suffix: See `new_file`.

    Attributes:
        path: Where it is until then; a library may open and write it.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, target: Path, suffix: str = "") -> None:
        self._target = real_path(target)
        self.path, self._descriptor = new_file(self._target.parent, suffix)
        self._open = True

    def write(self, data: bytes) -> None:
        """Write all of some bytes at the end."""
        write_all(self._descriptor, data)

    def commit(self, *, durable: bool = True) -> None:
        """Replace the target in one step.

        Args:
            durable: It is to outlast a loss of power, which takes some milliseconds.
        """
        if durable:
            os.fsync(self._descriptor)
        try:
            self.path.replace(self._target)
        except OSError as exc:
            if exc.errno not in MOUNT_ERRORS or not self._target.is_file():
                raise
            # A file that is mounted into a container keeps its place.
            with self.path.open("rb") as source, self._target.open("wb") as copy:
                shutil.copyfileobj(source, copy)
        if durable:
            sync_folder(self._target.parent)
        self.close()

    def close(self) -> None:
        """Remove it unless it was committed; harmless if done before."""
        if self._open:
            self._open = False
            with suppress(FileNotFoundError):
                self.path.unlink()
            os.close(self._descriptor)


def atomic_file_or_none(target: Path) -> AtomicFile | None:
    """Create an `AtomicFile`; None where the folder takes no new file but the existing one can be written.

    Raises:
        OSError: Neither can be done.
    """
    try:
        return AtomicFile(target)
    except OSError as exc:
        if exc.errno in DENIED_ERRORS and target.is_file() and os.access(target, os.W_OK):
            return None
        raise


def real_path(path: Path) -> Path:
    """Follow links, also one to what is not there yet."""
    return type(path)(os.path.realpath(path))


def is_special_file(path: Path) -> bool:
    """Whether a path is a device, pipe or socket, which no file may take the place of."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def write_in_place(path: Path, data: bytes) -> None:
    """Write into what is there; a pipe that nobody reads is an error."""
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | getattr(os, "O_NONBLOCK", 0))
    try:
        os.set_blocking(descriptor, True)
        write_all(descriptor, data)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write bytes to the last one."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
