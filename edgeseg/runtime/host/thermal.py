"""Temperatures of processor and GPU, from Linux's thermal zones and sensors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .sysfs import read_number, read_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Of a Jetson `CPU-therm`, `gpu-thermal`, `tj-thermal`; of a PC `x86_pkg_temp`. Others are of memory, power
# chips and boards, and some of those tell 100 degrees at all times.
ZONE = re.compile(r"(cpu|gpu|tj|x86_pkg_temp)", re.IGNORECASE)
# Drivers of sensors within processors.
SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
# A sensor that is switched off tells -256 or 0 K.
PLAUSIBLE_C = (-50.0, 150.0)


def hottest_c(root: Path) -> Callable[[], float | None] | None:
    """Find thermometers of processor and GPU.

    Args:
        root: Of the file system.

    Returns:
        Reads the hottest of them, in degrees Celsius. None where there are none.
    """
    zones = (root / "sys/class/thermal").glob("thermal_zone*")
    paths = [zone / "temp" for zone in zones if ZONE.match(read_text(zone / "type"))]
    chips = (root / "sys/class/hwmon").glob("hwmon*")
    sensors = [chip for chip in chips if read_text(chip / "name") in SENSORS]
    paths += [path for sensor in sensors for path in sensor.glob("temp*_input")]
    if not paths:
        return None

    def hottest() -> float | None:
        found = [value / 1000 for path in paths if (value := read_number(path)) is not None]
        return max((value for value in found if PLAUSIBLE_C[0] < value < PLAUSIBLE_C[1]), default=None)

    return hottest
