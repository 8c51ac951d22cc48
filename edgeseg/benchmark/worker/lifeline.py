"""End a process with the one that started it, however that ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from typing import NoReturn


def exit_with_parent(descriptor: int) -> None:
    """End this process, and all that it starts, at once when the other end of a pipe is closed.

    It leads a group of processes of its own from then on, which a terminal's Ctrl-C does not reach. A session
    of its own would keep that away too, but Linux gives sessions equal shares of the processor, whatever
    their priority.

    The kernel closes it when its owner dies, even by SIGKILL. On Linux it then sends a signal to the whole
    group of processes, compilers too, without the help of a thread, which a library may keep from running.
    `PR_SET_PDEATHSIG` would not do: it is bound to the thread that started this process, and not inherited.

    Args:
        descriptor: The end to read from; nothing is ever written to the other one.
    """
    os.setpgrp()
    if sys.platform == "linux":
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC | os.O_NONBLOCK)
        try:
            os.read(descriptor, 1)
        except BlockingIOError:
            return
        # It was closed before.
        _kill_group()
    threading.Thread(target=_wait_for_parent, args=(descriptor,), daemon=True).start()


def _wait_for_parent(descriptor: int) -> None:
    os.read(descriptor, 1)
    _kill_group()


def _kill_group() -> NoReturn:
    os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)
