"""Renames that survive a power failure, and exchanging two names in one step."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

AT_FDCWD = -100
RENAME_EXCHANGE = 2
# Errors of a kernel, C library or file system without this call, or of a sandbox that does not allow it.
UNSUPPORTED_ERRORS = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two names, so that neither is missing at any moment.

    Returns:
        False if the system does not support it; nothing was changed.

    Raises:
        OSError: One of them is missing or may not be renamed.
    """
    call = _renameat2()
    if call is None:
        return False
    if call(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in UNSUPPORTED_ERRORS:
        return False
    raise OSError(number, os.strerror(number), str(other))


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power failure, if the file system supports it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Make everything in a folder survive a power failure.

    Raises:
        OSError: The disk is full or broken, which some file systems report only now.
    """
    if sys.platform == "win32":
        return
    for parent, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(os.path.join(parent, name), os.O_RDONLY)  # noqa: PTH118
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(type(folder)(parent))


def _renameat2() -> Any:
    if sys.platform != "linux":
        return None
    # Available from glibc 2.28.
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
