"""Load, temperature and power of the machine while it works."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import psutil

from .machine import Host
from .meter import PowerMeter
from .nvml import open_nvml
from .powercap import processor_meters
from .tegra import board_watts, gpu_percent
from .thermal import hottest_c

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from .meter import Meter
    from .nvml import NvmlGpu

SAMPLE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How hard the machine works; None where it does not tell.

    Attributes:
        cpu_percent: Load of all cores together, 0 to 100.
        memory_mib: Resident memory of this process.
        gpu_percent: Load of the GPU.
        gpu_memory_mib: Memory in use on the GPU.
        temperature_c: Of the hottest of processor and GPU, in degrees Celsius.
        power_w: Of the whole board where it is measured, else of GPU and processor as far as they tell.
    """

    cpu_percent: float | None = None
    memory_mib: float | None = None
    gpu_percent: float | None = None
    gpu_memory_mib: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None


class HealthMonitor:
    """Reads load, temperature and power, at most once a second; every thread may ask.

    Args:
        host: Where the files are that Linux tells them by; None for this machine.
        open_gpu: Finds a GPU of NVIDIA's driver.
        clock: Seconds that do not go back.
    """

    def __init__(
        self,
        host: Host | None = None,
        *,
        open_gpu: Callable[[], NvmlGpu | None] = open_nvml,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        root = (host or Host()).root
        self._lock, self._clock = Lock(), clock
        self._process, self._gpu = psutil.Process(), open_gpu()
        self._hottest_c, self._gpu_percent = hottest_c(root), gpu_percent(root)
        board = board_watts(root)
        # A board's power is that of all that is on it.
        self._meters: list[Meter] = [PowerMeter(board)] if board else self._parts(root)
        self._cpu_s = _cpu_seconds()
        self._energy_j: float | None = None
        self._health = Health()
        self._due_s = clock()
        # From here on energy is counted.
        self._measure_power(self._due_s)

    def read(self) -> Health:
        """Tell how hard the machine works, as of at most a second ago."""
        with self._lock:
            now_s = self._clock()
            if now_s >= self._due_s:
                self._due_s = now_s + SAMPLE_S
                self._health = self._sample(now_s)
            return self._health

    def energy_j(self) -> float | None:
        """Joules since this was made, of what `Health.power_w` is of; None where power is not known.

        Where no counter tells it, as on a Jetson, it is as exact as readings are frequent.
        """
        with self._lock:
            self._measure_power(self._clock())
            return self._energy_j

    def _parts(self, root: Path) -> list[Meter]:
        return [*([self._gpu] if self._gpu else []), *processor_meters(root)]

    def _sample(self, now_s: float) -> Health:
        gpu = self._gpu
        temperatures = (self._hottest_c() if self._hottest_c else None, gpu.temperature_c() if gpu else None)
        load = gpu.percent() if gpu else None
        return Health(
            cpu_percent=self._cpu_percent(),
            memory_mib=self._process.memory_info().rss / 2**20,
            # NVIDIA's driver on a Jetson knows its GPU, but not its load.
            gpu_percent=self._gpu_percent() if load is None and self._gpu_percent else load,
            gpu_memory_mib=gpu.memory_mib() if gpu else None,
            temperature_c=max(_known(temperatures), default=None),
            power_w=self._measure_power(now_s),
        )

    def _measure_power(self, now_s: float) -> float | None:
        readings = [meter.read(now_s) for meter in self._meters]
        energies = _known(reading.energy_j for reading in readings)
        self._energy_j = sum(energies) if energies else None
        powers = _known(reading.power_w for reading in readings)
        return sum(powers) if powers else None

    def _cpu_percent(self) -> float | None:
        """Not psutil's own: that one begins anew in every thread that asks."""
        (last_busy, last_all), self._cpu_s = self._cpu_s, _cpu_seconds()
        busy, passed = self._cpu_s[0] - last_busy, self._cpu_s[1] - last_all
        return 100 * min(max(busy / passed, 0.0), 1.0) if passed > 0 else None


def health_line(health: Health) -> str:
    """Tell what is known in one line: `CPU 43 %, GPU 97 %, 61 C, 14.2 W, 812 MiB`."""
    parts = (
        (health.cpu_percent, "CPU {:.0f} %"),
        (health.gpu_percent, "GPU {:.0f} %"),
        (health.temperature_c, "{:.0f} C"),
        (health.power_w, "{:.1f} W"),
        (health.memory_mib, "{:.0f} MiB"),
    )
    return ", ".join(text.format(value) for value, text in parts if value is not None)


def _cpu_seconds() -> tuple[float, float]:
    """Seconds of all cores since the machine was started: busy, and in all."""
    times = psutil.cpu_times()._asdict()
    # Linux counts what guests use among user and nice already.
    total = sum(times.values()) - times.get("guest", 0.0) - times.get("guest_nice", 0.0)
    return total - times["idle"] - times.get("iowait", 0.0), total


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
