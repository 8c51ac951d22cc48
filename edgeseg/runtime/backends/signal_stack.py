"""The stack that signal handlers of this thread run on, kept as it is while a library changes it."""

from __future__ import annotations

import ctypes
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Stack(ctypes.Structure):
    """`stack_t` of Linux."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Put the thread's alternate signal stack back when the block ends; elsewhere than on Linux do nothing.

    On processors with AMX, OpenVINO 2026.4 gives the thread that compiles a model a stack of its own, and the
    one before back when the model goes. Of two models, the first to go leaves a stack that is freed when the
    second goes, and the next Ctrl-C ends the process without a word.
    """
    if sys.platform != "linux":
        yield
        return
    libc = ctypes.CDLL(None)
    before = _Stack()
    libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(before), None)
