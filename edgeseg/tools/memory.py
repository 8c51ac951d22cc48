"""Keep the memory of a process constant that runs for days."""

from __future__ import annotations

import ctypes
import os
import sys

# The oneDNN inside OpenVINO reads this when it starts; there is no other way to set it. By default it caches
# 1024 compiled kernels, which depend on the number of boxes, and that changes with every frame.
ONEDNN_CACHE_VARIABLE = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
# From glibc's `malloc.h`. By default each thread allocates from its own arena, up to 8 per core. Frames pass
# from thread to thread, and memory that is freed in one arena cannot be used by another.
M_ARENA_MAX = -8
MAX_ARENAS = 1


def limit_library_memory() -> None:
    """Limit what libraries cache, unless the user has set it; call this before they are loaded."""
    os.environ.setdefault(ONEDNN_CACHE_VARIABLE, "0")
    if sys.platform != "linux" or "MALLOC_ARENA_MAX" in os.environ:
        return
    # musl has no arenas, nor this function.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, MAX_ARENAS)
