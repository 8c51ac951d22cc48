"""Closing what is still open when a program ends.

If a thread returns from OpenCV or an engine while Python is shutting down, Python ends it inside C++ code,
which aborts the whole process.
"""

from __future__ import annotations

import atexit
import os
from typing import Protocol


class Closable(Protocol):
    """What has threads until it is closed."""

    def close(self) -> None:
        """End them; harmless if done before."""


# In the order of opening.
_open: dict[int, Closable] = {}


def close_at_exit(closable: Closable) -> None:
    """Close something when the program ends, unless `forget_at_exit` is told before."""
    _open[id(closable)] = closable


def forget_at_exit(closable: Closable) -> None:
    """Forget something that has no threads any more."""
    _open.pop(id(closable), None)


def _close_all() -> None:
    # In reverse order, because later objects read from earlier ones.
    while _open:
        _, closable = _open.popitem()
        closable.close()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    # A child has none of its parent's threads, and locks that nobody there will release.
    os.register_at_fork(after_in_child=_open.clear)
