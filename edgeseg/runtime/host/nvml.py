"""Load, memory, temperature and power of an NVIDIA GPU, from its driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeseg.errors import DependencyError
from edgeseg.optional import require

from .meter import EnergyMeter, PowerMeter, Reading

if TYPE_CHECKING:
    from collections.abc import Callable


class NvmlGpu:
    """The first GPU of this machine, by the driver's order; each figure is None where it does not tell it.

    Args:
        nvml: The module `pynvml`, begun.
        handle: Of the GPU.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        self._power = PowerMeter(lambda: self._scaled(nvml.nvmlDeviceGetPowerUsage, 1e3))
        # GPUs before Volta do not count energy.
        self._energy = EnergyMeter(lambda: self._scaled(nvml.nvmlDeviceGetTotalEnergyConsumption, 1e3))

    def percent(self) -> float | None:
        """Share of the time in which it computed something, 0 to 100."""
        rates = self._ask(self._nvml.nvmlDeviceGetUtilizationRates)
        return None if rates is None else float(rates.gpu)

    def memory_mib(self) -> float | None:
        """Memory that is in use, by all programs."""
        memory = self._ask(self._nvml.nvmlDeviceGetMemoryInfo)
        return None if memory is None else float(memory.used) / 2**20

    def temperature_c(self) -> float | None:
        """Of the chip, in degrees Celsius."""
        kind = self._nvml.NVML_TEMPERATURE_GPU
        degrees = self._ask(lambda handle: self._nvml.nvmlDeviceGetTemperature(handle, kind))
        return None if degrees is None else float(degrees)

    def read(self, now_s: float) -> Reading:
        """See `Meter.read`."""
        measured, counted = self._power.read(now_s), self._energy.read(now_s)
        power_w = measured.power_w if measured.power_w is not None else counted.power_w
        return Reading(
            power_w=power_w, energy_j=measured.energy_j if counted.energy_j is None else counted.energy_j
        )

    def _scaled(self, question: Callable[[Any], Any], units: float) -> float | None:
        answer = self._ask(question)
        return None if answer is None else float(answer) / units

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        try:
            return question(self._handle)
        except self._nvml.NVMLError:
            # A Jetson's driver answers few of these questions, a virtual GPU not all.
            return None


def open_nvml() -> NvmlGpu | None:
    """Ask NVIDIA's driver for its first GPU; None where there is no GPU, driver or `pynvml`."""
    try:
        nvml = require("pynvml", purpose="read load and power of the GPU")
    except DependencyError:
        return None
    try:
        nvml.nvmlInit()
        return NvmlGpu(nvml, nvml.nvmlDeviceGetHandleByIndex(0))
    except nvml.NVMLError:
        return None
