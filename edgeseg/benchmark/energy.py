"""Energy that the machine says it has used, where it does."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from edgeseg.errors import DependencyError
from edgeseg.optional import require
from edgeseg.runtime.machine import Host

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SAMPLE_S = 0.05


class Meter(Protocol):
    """Counts up."""

    def joules(self) -> float:
        """Energy since some moment in the past."""

    def close(self) -> None:
        """Stop counting."""


def open_meter(host: Host | None = None) -> Meter | None:
    """Find what tells of energy or power: a Jetson's sensors, an NVIDIA GPU, an Intel or AMD processor.

    Returns:
        None where nothing does, or not to this user: Linux shows a processor's counter to root alone.
    """
    here = host or Host()
    if rails := _ina_rails(here):
        return PowerMeter(lambda: _rails_w(rails))
    if gpu := _nvml_gpu():
        return GpuMeter(*gpu)
    domains = sorted((here.root / "sys/class/powercap").glob("intel-rapl:?"))
    packages = [path for path in domains if _read(path) is not None]
    return ProcessorMeter(packages) if packages else None


class ProcessorMeter:
    """The counters of a processor's packages, which begin again at 0 when they are full."""

    def __init__(self, packages: list[Path]) -> None:
        self._packages = packages
        self._last = [_read(path) or 0 for path in packages]
        self._full = [_number(path / "max_energy_range_uj") or 0 for path in packages]
        self._total_uj = 0

    def joules(self) -> float:
        """See `Meter.joules`."""
        for index, path in enumerate(self._packages):
            now = _read(path)
            if now is None:
                continue
            step = now - self._last[index]
            self._total_uj += step if step >= 0 else step + self._full[index]
            self._last[index] = now
        return self._total_uj / 1e6

    def close(self) -> None:
        """Nothing to stop."""


class GpuMeter:
    """The counter of an NVIDIA GPU."""

    def __init__(self, nvml: Any, gpu: Any) -> None:
        self._nvml, self._gpu = nvml, gpu

    def joules(self) -> float:
        """See `Meter.joules`."""
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._gpu)) / 1e3

    def close(self) -> None:
        """Release the driver's library."""
        self._nvml.nvmlShutdown()


class PowerMeter:
    """Adds up power that is read again and again in a thread of its own.

    Args:
        watts: Reads the power.
    """

    def __init__(self, watts: Callable[[], float]) -> None:
        self._watts = watts
        self._total_j = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()

    def joules(self) -> float:
        """See `Meter.joules`."""
        return self._total_j

    def close(self) -> None:
        """See `Meter.close`."""
        self._stop.set()
        self._thread.join()

    def _count(self) -> None:
        last_s, last_w = time.monotonic(), self._watts()
        while not self._stop.wait(SAMPLE_S):
            now_s, now_w = time.monotonic(), self._watts()
            self._total_j += (now_s - last_s) * (now_w + last_w) / 2
            last_s, last_w = now_s, now_w


def _nvml_gpu() -> tuple[Any, Any] | None:
    try:
        nvml = require("pynvml", purpose="read the energy of a GPU")
        nvml.nvmlInit()
        gpu = nvml.nvmlDeviceGetHandleByIndex(0)
        nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
    except DependencyError:
        return None
    # NVML's errors: no driver, no GPU, or one older than its counter.
    except Exception:  # noqa: BLE001
        return None
    return nvml, gpu


def _ina_rails(host: Host) -> list[tuple[Path, Path]]:
    """Find voltage and current of the rail that a Jetson's board is fed by: its name ends in `IN`."""
    found = []
    for label in sorted((host.root / "sys/class/hwmon").glob("hwmon*/in*_label")):
        number = label.name[2 : -len("_label")]
        pair = (label.with_name(f"in{number}_input"), label.with_name(f"curr{number}_input"))
        name = label.read_text(encoding="utf-8", errors="replace").strip()
        if name.endswith("IN") and all(path.is_file() for path in pair):
            found.append(pair)
    return found


def _rails_w(rails: list[tuple[Path, Path]]) -> float:
    return sum((_number(volt) or 0) * (_number(ampere) or 0) for volt, ampere in rails) / 1e6


def _read(package: Path) -> int | None:
    return _number(package / "energy_uj")


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
