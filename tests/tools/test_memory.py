"""What a process that runs for days asks of its libraries, each time in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# Twenty threads allocate at once; each arena besides the first reserves memory of its own, in whole 64 MiB.
ARENAS = """
import ctypes, re, sys, threading
if sys.argv[1] == "flat":
    from edgeseg.tools.memory import limit_library_memory
    limit_library_memory()
import os
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
together = threading.Barrier(20)
def work():
    together.wait()
    libc.malloc(10_000)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(20)]
for thread in threads: thread.start()
for thread in threads: thread.join()
path = sys.argv[2]
libc.fopen.restype, libc.fopen.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_char_p)
libc.malloc_info.argtypes = (ctypes.c_int, ctypes.c_void_p)
libc.fclose.argtypes = (ctypes.c_void_p,)
stream = libc.fopen(path.encode(), b"w")
libc.malloc_info(0, stream)
libc.fclose(stream)
print(len(re.findall("<heap nr=", open(path).read())), os.environ.get("ONEDNN_PRIMITIVE_CACHE_CAPACITY"))
"""


def arenas(tmp_path: Path, mode: str, **set_by_user: str) -> list[str]:
    unset = ("MALLOC_ARENA_MAX", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, "-c", ARENAS, mode, str(tmp_path / "info.xml")],
        env={**environment, **set_by_user},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.split()


@pytest.mark.skipif(sys.platform != "linux" or not os.confstr("CS_GNU_LIBC_VERSION"), reason="needs glibc")
def test_threads_share_what_is_free(tmp_path: Path) -> None:
    assert int(arenas(tmp_path, "plain")[0]) > 1

    assert arenas(tmp_path, "flat") == ["1", "0"]
    many, kernels = arenas(tmp_path, "flat", MALLOC_ARENA_MAX="4", ONEDNN_PRIMITIVE_CACHE_CAPACITY="7")
    assert (int(many) > 1, kernels) == (True, "7")
