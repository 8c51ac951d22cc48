"""Locks that are released when their owner's process ends, however it ends."""

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
    """Lock an open file or folder without waiting.

    Closing the descriptor releases the lock, and so does the end of the process. Unlike a process id, the
    lock is visible to other containers that share the volume.

    Returns:
        True if it is locked now, False if another owner has the lock, None if the file system has no locks.
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
    """A lock that lets one program at a time write into a folder; does nothing if there are no locks.

    Args:
        folder: An existing folder.
        activity: What the owner does, to complete `another program {activity} {folder}`.
        wait_s: Time to wait for another owner, in seconds.

    Raises:
        ConfigError: Another program holds the lock.
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
        """Release the lock. Closing twice does no harm."""
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
        # Windows cannot open folders. Any other fault of the folder is reported when it is written to.
        return None
