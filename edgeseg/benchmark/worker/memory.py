"""Memory of this process."""

from __future__ import annotations

import os
import re
import resource
import sys

from edgeseg.runtime.host.machine import Host

GPU_PROCESSES = ("nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits")


def peak_rss_mib(host: Host | None = None) -> float:
    """Most resident memory so far, in MiB."""
    status = re.search(r"^VmHWM:\s+(\d+) kB", (host or Host()).text("proc/self/status"), re.MULTILINE)
    if status:
        return int(status[1]) / 1024
    # Not on Linux, where a child inherits it from the process that started it. macOS counts bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def device_memory_mib(host: Host | None = None) -> float | None:
    """Memory of this process on all GPUs, in MiB; None where it uses none, or the driver does not tell."""
    listed = (host or Host()).output_of(GPU_PROCESSES) or ""
    own = re.findall(rf"^{os.getpid()}, (\d+)$", listed, re.MULTILINE)
    return float(sum(map(int, own))) if own else None
