"""Files and folders under temporary names, each locked by its owner and removed once the owner is dead."""

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

# Names have a fixed length, so that a file whose own name has 255 bytes can be written, and are ASCII, which
# every library accepts.
TEMPORARY_NAME = re.compile(r"\.edgeseg-[0-9a-f]{16}\.partial(\.[a-z0-9]{1,8})?")
PRIVATE_MODE = 0o700
OPEN_FOLDER_FLAGS = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


class LockedFolder(NamedTuple):
    """A folder, and the descriptor that holds its lock; None if the system cannot open folders."""

    path: Path
    descriptor: int | None


def temporary_name(suffix: str = "") -> str:
    """Make a unique name; it is random because two containers can have the same process id."""
    return f".edgeseg-{secrets.token_hex(8)}.partial{suffix}"


def new_file(folder: Path, suffix: str = "") -> tuple[Path, int]:
    """Create an empty file with the permissions of the umask; its descriptor holds its lock.

    Args:
        folder: Folder to create it in.
        suffix: Suffix of the name, such as `.mp4`, for libraries that choose a format by it.
    """
    while True:
        path = folder / temporary_name(suffix)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags, 0o666)
        if _lock_new(path, descriptor):
            return path, descriptor
        os.close(descriptor)


def new_folder(parent: Path, mode: int = 0o777) -> LockedFolder:
    """Create an empty folder with the permissions that `mode` and the umask allow."""
    while True:
        path = parent / temporary_name()
        path.mkdir(mode)
        try:
            descriptor = os.open(path, os.O_RDONLY | OPEN_FOLDER_FLAGS)
        except FileNotFoundError:
            continue
        except OSError:
            # Windows cannot open folders, so this one stays behind if its owner is killed.
            return LockedFolder(path, None)
        if _lock_new(path, descriptor):
            return LockedFolder(path, descriptor)
        os.close(descriptor)


@contextmanager
def temporary_folder(parent: Path, mode: int = 0o777) -> Iterator[Path]:
    """Provide a folder that is removed after the block, unless it was renamed."""
    path, descriptor = new_folder(parent, mode)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Provide a private folder in the system's folder for temporary files, which is removed after the block.

    Unlike a folder of `tempfile`, it is removed by the next program that needs one if this one is killed.
    """
    parent = Path(tempfile.gettempdir())
    sweep(parent)
    with temporary_folder(parent, PRIVATE_MODE) as folder:
        yield folder


def sweep(folder: Path) -> None:
    """Remove temporary files and folders that dead programs have left in a folder, as far as possible."""
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
    """Lock a file or folder that a dead program has left; None if its owner is alive or unknown."""
    descriptor = _lock_orphan(path)
    try:
        yield None if descriptor is None else path
    finally:
        if descriptor is not None:
            os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or folder, as far as possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _lock_orphan(path: Path) -> int | None:
    try:
        status = path.lstat()
        # In a shared folder such as /tmp, anybody can create such a name.
        shared = path.parent.stat().st_mode & stat.S_ISVTX
        if shared and hasattr(os, "geteuid") and status.st_uid != os.geteuid():
            return None
        if stat.S_ISDIR(status.st_mode):
            descriptor = os.open(path, os.O_RDONLY | OPEN_FOLDER_FLAGS)
        elif stat.S_ISREG(status.st_mode):
            # NFS locks only files that are open for writing.
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
    """Lock a new file or folder; False if another program's sweep has already removed it."""
    if try_lock(descriptor) is False:
        return False
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
