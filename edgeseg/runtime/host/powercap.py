"""Energy of an Intel or AMD processor, from its own counters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .meter import EnergyMeter
from .sysfs import read_number

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def processor_meters(root: Path) -> list[EnergyMeter]:
    """Find the counters of a processor's packages.

    Args:
        root: Of the file system.

    Returns:
        A meter for each package; empty where there are none, or only root may read them, as Linux has it by
        default since 2020.
    """
    # `intel-rapl:0` is a package, `intel-rapl:0:1` a part of it that is counted there already.
    packages = sorted((root / "sys/class/powercap").glob("intel-rapl:?"))
    return [
        EnergyMeter(_joules(package / "energy_uj"), _joules(package / "max_energy_range_uj")())
        for package in packages
        if read_number(package / "energy_uj") is not None
    ]


def _joules(path: Path) -> Callable[[], float | None]:
    def joules() -> float | None:
        microjoules = read_number(path)
        return None if microjoules is None else microjoules / 1e6

    return joules
