"""Opening what must be a file with content: neither a pipe, which would wait for ever, nor a device."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

# A pipe that nobody writes to then opens at once; Windows has neither pipes by name nor this.
AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading, without waiting for whatever it may be instead.

    Raises:
        InputError: There is none, it may not be read, or it is no regular file.
    """
    try:
        number = os.open(path, os.O_RDONLY | AT_ONCE)
    except (OSError, ValueError) as exc:
        # A socket cannot be opened at all.
        reason = kind_of(path) or getattr(exc, "strerror", None) or exc
        msg = f"cannot read {path}: {reason}"
        raise InputError(msg) from exc
    if kind := _kind(os.fstat(number).st_mode):
        os.close(number)
        msg = f"cannot read {path}: it is {kind} and no file; copy its content into a file and name that"
        raise InputError(msg)
    return os.fdopen(number, "rb")


def kind_of(path: Path) -> str:
    """Say what a path names that is no regular file; empty for a file, and where nothing can be said."""
    try:
        kind = _kind(path.stat().st_mode)
    except (OSError, ValueError):
        return ""
    return f"it is {kind} and no file" if kind else ""


def _kind(mode: int) -> str:
    return next((name for test, name in KINDS if test(mode)), "")
