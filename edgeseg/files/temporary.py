"""Files and folders under temporary names: each is locked by its owner, and removed once that is dead."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .locks import try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of fixed length, so that a name of 255 bytes can be written, and of ASCII, which every library takes.
TEMPORARY_NAME = re.compile(r"\.edgeseg-[0-9a-f]{16}\.partial(\.[a-z0-9]{1,8})?")
PRIVATE_MODE = 0o700
OPEN_FOLDER_FLAGS = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


class LockedFolder(NamedTuple):
    """A folder, and the descriptor that holds its lock; None where folders cannot be opened."""

    path: Path
    descriptor: int | None


def temporary_name(suffix: str = "") -> str:
    """Make a name that nobody has; a process id is the same in two containers."""
    return f".edgeseg-{secrets.token_hex(8)}.partial{suffix}"


def new_file(folder: Path, suffix: str = "") -> tuple[Path, int]:
    """Make an empty file, readable by whom the umask lets; its descriptor holds its lock.

    Args:
        folder: Where.
        suffix: For libraries that choose a format by it, such as `.mp4`.
    """
    while True:
        path = folder / temporary_name(suffix)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags, 0o666)
        if _lock_new(path, descriptor):
            return path, descriptor
        os.close(descriptor)


def new_folder(parent: Path, mode: int = 0o777) -> LockedFolder:
    """Make an empty folder, open to whom the umask lets."""
    while True:
        path = parent / temporary_name()
        path.mkdir(mode)
        try:
            descriptor = os.open(path, os.O_RDONLY | OPEN_FOLDER_FLAGS)
        except FileNotFoundError:
            continue
        except OSError:
            # Windows opens no folders: this one stays if its owner is killed.
            return LockedFolder(path, None)
        if _lock_new(path, descriptor):
            return LockedFolder(path, descriptor)
        os.close(descriptor)


@contextmanager
def temporary_folder(parent: Path, mode: int = 0o777) -> Iterator[Path]:
    """Give a folder that vanishes with the block, unless it was renamed."""
    path, descriptor = new_folder(parent, mode)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder in the system's folder for temporary files, private and gone with the block.

    Unlike one of `tempfile` it is removed by the next program that needs one if this one is killed.
    """
    parent = Path(tempfile.gettempdir())
    sweep(parent)
    with temporary_folder(parent, PRIVATE_MODE) as folder:
        yield folder


def sweep(folder: Path) -> None:
    """Remove what programs that are dead have left in a folder under temporary names, as far as it can be."""
    try:
        found = [path for path in folder.iterdir() if TEMPORARY_NAME.fullmatch(path.name)]
    except OSError:
        return
    for each in found:
        with claim_orphan(each) as path:
            if path is not None:
                remove(path)


@contextmanager
def claim_orphan(path: Path) -> Iterator[Path | None]:
    """Take over what a dead program has left; None where its owner is alive or cannot be determined."""
    descriptor = _lock_orphan(path)
    try:
        yield None if descriptor is None else path
    finally:
        if descriptor is not None:
            os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or folder as far as it can be."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _lock_orphan(path: Path) -> int | None:
    try:
        status = path.lstat()
        # In /tmp anybody may use such a name.
        shared = path.parent.stat().st_mode & stat.S_ISVTX
        if shared and hasattr(os, "geteuid") and status.st_uid != os.geteuid():
            return None
        if stat.S_ISDIR(status.st_mode):
            descriptor = os.open(path, os.O_RDONLY | OPEN_FOLDER_FLAGS)
        elif stat.S_ISREG(status.st_mode):
            # NFS locks only what is open for writing.
            descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        else:
            return None
    except OSError:
        return None
    if try_lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _lock_new(path: Path, descriptor: int) -> bool:
    """Lock a new file or folder; False where another program's sweep has already removed it."""
    if try_lock(descriptor) is False:
        return False
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
