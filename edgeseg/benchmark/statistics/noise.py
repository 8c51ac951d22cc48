"""How quiet the machine is: a fixed piece of work once a turn, and what the kernel counts meanwhile."""

from __future__ import annotations

import hashlib
import re
import time
from typing import NamedTuple

import psutil

from edgeseg.benchmark.report import Noise
from edgeseg.runtime.host.machine import Host

from .summary import percentile

# Some 20 ms on a core of 2024, which nothing but another program, or the clock of the core, can change.
PROBE_BYTES = 1 << 20
PROBE_ROUNDS = 20
# Above these the ratios of two runs were found to differ by more than 5 %.
SPREAD_LIMIT = 0.15
OTHERS_LIMIT_PERCENT = 5.0
STEAL_LIMIT_PERCENT = 1.0
# What Linux counts processor time in, on every architecture that it shows to programs.
TICKS_PER_S = 100


class _CpuTimes(NamedTuple):
    """Seconds of all cores together since the machine started."""

    busy_s: float
    steal_s: float
    total_s: float


class NoiseMonitor:
    """Looks at the machine from when it is made until `noise()`.

    Args:
        host: Where facts are read.
    """

    def __init__(self, host: Host | None = None) -> None:
        self._host = host or Host()
        self._block = bytes(PROBE_BYTES)
        self._probes_ms: list[float] = []
        self._load = _load_average(self._host)
        self._reset()

    def _reset(self) -> None:
        self._cpu_times, self._own_cpu_s = _cpu_times(self._host), _own_cpu_s()

    def start(self) -> None:
        """Forget what was before: loading and compiling."""
        self._probes_ms.clear()
        self._reset()

    def probe(self) -> None:
        """Do the fixed piece of work."""
        start = time.perf_counter()
        for _ in range(PROBE_ROUNDS):
            hashlib.blake2b(self._block).digest()
        self._probes_ms.append(1e3 * (time.perf_counter() - start))

    def noise(self) -> Noise:
        """Say how quiet it was; to be called while the processes that were measured still live."""
        spread = None
        if self._probes_ms:
            spread = percentile(self._probes_ms, 90) / min(self._probes_ms) - 1
        others, steal = self._others_and_steal()
        return Noise(
            probe_ms=tuple(round(value, 4) for value in self._probes_ms),
            probe_spread=spread,
            others_percent=others,
            steal_percent=steal,
            load_before=self._load,
            warnings=_warnings(spread, others, steal),
        )

    def _others_and_steal(self) -> tuple[float | None, float | None]:
        now = _cpu_times(self._host)
        if now is None or self._cpu_times is None or now.total_s <= self._cpu_times.total_s:
            return None, None
        total = now.total_s - self._cpu_times.total_s
        busy = now.busy_s - self._cpu_times.busy_s
        own = _own_cpu_s() - self._own_cpu_s
        steal = now.steal_s - self._cpu_times.steal_s
        return max(0.0, 100 * (busy - own) / total), max(0.0, 100 * steal / total)


def _warnings(spread: float | None, others: float | None, steal: float | None) -> tuple[str, ...]:
    found = []
    if spread is not None and spread > SPREAD_LIMIT:
        found.append(
            f"the machine was not steady: the same work took {100 * spread:.0f} % longer in some turns than "
            "in others"
        )
    if others is not None and others > OTHERS_LIMIT_PERCENT:
        found.append(f"other programs took {others:.0f} % of the processor; close them and run it again")
    if steal is not None and steal > STEAL_LIMIT_PERCENT:
        found.append(f"the host of this virtual machine gave {steal:.0f} % of the processor to others")
    return tuple(found)


def _cpu_times(host: Host) -> _CpuTimes | None:
    """Read the first line of /proc/stat; None where there is none."""
    line = re.match(r"cpu +([\d ]+)", host.text("proc/stat"))
    if line is None:
        return None
    counts = [int(word) / TICKS_PER_S for word in line[1].split()]
    user, nice, system, idle, iowait, irq, softirq, steal, *_ = counts
    busy = user + nice + system + irq + softirq
    return _CpuTimes(busy, steal, busy + idle + iowait + steal)


def _own_cpu_s() -> float:
    """Processor time of this process and of all below it, in seconds."""
    own = psutil.Process()
    total = 0.0
    for process in (own, *own.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        # Those that have ended count with the process that waited for them.
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _load_average(host: Host) -> float | None:
    words = host.text("proc/loadavg").split()
    return float(words[0]) if words else None
