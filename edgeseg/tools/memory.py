"""Memory of a process that goes on for days, kept flat."""

from __future__ import annotations

import ctypes
import os
import sys

# Read by the oneDNN inside of OpenVINO when it starts, and there is no other door. By default it keeps 1024
# compiled kernels, and the number of boxes, for which they are made, is another in every frame.
ONEDNN_CACHE_VARIABLE = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
# glibc's `malloc.h`. By default each thread allocates from an arena of its own, up to 8 a core; frames go
# from thread to thread, and what one frees another cannot use.
M_ARENA_MAX = -8
MAX_ARENAS = 1


def limit_library_memory() -> None:
    """Bound what libraries keep; call it before they are loaded. What the user has set stays."""
    os.environ.setdefault(ONEDNN_CACHE_VARIABLE, "0")
    if sys.platform != "linux" or "MALLOC_ARENA_MAX" in os.environ:
        return
    # musl has no arenas, nor this function.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, MAX_ARENAS)
