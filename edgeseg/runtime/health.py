"""Load, temperature and power of the machine while it works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How hard the machine works; None where it does not tell.

    Attributes:
        cpu_percent: Load of all cores together, 0 to 100.
        memory_mib: Resident memory of this process.
        gpu_percent: Load of the GPU.
        gpu_memory_mib: Memory in use on the GPU.
        temperature_c: Of the hottest of processor and GPU, in degrees Celsius.
        power_w: Of the whole board where it is measured, else of the GPU.
    """

    cpu_percent: float | None = None
    memory_mib: float | None = None
    gpu_percent: float | None = None
    gpu_memory_mib: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
