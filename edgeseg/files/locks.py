"""Locks that end with their owner, however it dies."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgeseg.errors import ConfigError

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLL_S = 0.02


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file or folder without waiting; closing it, as the end of a process does, unlocks it.

    Unlike a process id the lock is seen from containers that share a volume.

    Returns:
        False where somebody else has it, None where the file system has no locks.
    """
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


class FolderLock:
    """The right to write into a folder, for one program at a time; does nothing where there are no locks.

    Args:
        folder: Is there.
        activity: What the owner does, as in `another program {activity} {folder}`.
        wait_s: Wait so long for another owner.

    Raises:
        ConfigError: Another program has it.
    """

    def __init__(self, folder: Path, activity: str, wait_s: float = 0.0) -> None:
        self._descriptor = _open_folder(folder)
        if self._descriptor is None:
            return
        until = time.monotonic() + wait_s
        while try_lock(self._descriptor) is False:
            if time.monotonic() >= until:
                self.close()
                msg = f"another program {activity} {folder}; wait for it, or name another folder"
                raise ConfigError(msg)
            time.sleep(POLL_S)

    def close(self) -> None:
        """Let others write; harmless if done before."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def locked(folder: Path, activity: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold a `FolderLock` while the block runs."""
    lock = FolderLock(folder, activity, wait_s)
    try:
        yield
    finally:
        lock.close()


def _open_folder(folder: Path) -> int | None:
    try:
        return os.open(folder, os.O_RDONLY)
    except OSError:
        # Windows opens no folders; what else is wrong with it the writing tells.
        return None
