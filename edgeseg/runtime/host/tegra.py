"""Power and GPU load of a Jetson, from the files that tegrastats reads too; no root, no other process."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .sysfs import read_number, read_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Rails that feed the whole module: of Xavier NX, Orin NX and Nano, TX2; of Nano with JetPack 4; of AGX Thor.
# AGX Xavier and AGX Orin have none, and their rails are added up, as jetson_stats does.
WHOLE_RAILS = ("VDD_IN", "POM_5V_IN", "VIN")
NOT_CONNECTED = "NC"
# JetPack 5 and newer; the second for kernels that register the sensor elsewhere. INA238 is on AGX Thor.
HWMON_FOLDERS = ("sys/bus/i2c/drivers/ina*/*/hwmon/hwmon*", "sys/class/hwmon/hwmon*")
HWMON_NAMES = ("ina3221", "ina238")
# JetPack 4.
IIO_FOLDERS = ("sys/bus/i2c/drivers/ina3221x/*/iio*device*",)
# A chip has three channels; what comes after them are sums and shunt voltages.
CHANNELS = (1, 2, 3)
# By GPU: Nano, TX2, Xavier, Orin, and their names in other releases.
GPU_LOADS = (
    "sys/devices/gpu.0/load",
    "sys/devices/platform/gpu.0/load",
    "sys/devices/*.gpu/load",
    *(f"sys/devices/platform/*.{chip}/load" for chip in ("gpu", "gm20b", "gp10b", "gv11b", "ga10b")),
    "sys/devices/platform/bus@0/*.gpu/load",
)


class Rail(NamedTuple):
    """A supply whose power is measured."""

    name: str
    watts: Callable[[], float | None]


def board_watts(root: Path) -> Callable[[], float | None] | None:
    """Find what measures the power of a Jetson.

    Args:
        root: Of the file system.

    Returns:
        Reads the power in watts: of the rail that feeds the module, else of all rails together. None where
        there is no such sensor.
    """
    rails = _hwmon_rails(root) or _iio_rails(root)
    whole = [rail for rail in rails if rail.name in WHOLE_RAILS]
    if not rails:
        return None

    def watts() -> float | None:
        found = [power for rail in whole or rails if (power := rail.watts()) is not None]
        return sum(found) if found else None

    return watts


def gpu_percent(root: Path) -> Callable[[], float | None] | None:
    """Find what tells the load of a Jetson's GPU.

    Args:
        root: Of the file system.

    Returns:
        Reads the load, 0 to 100. None where there is no such file.
    """
    for pattern in GPU_LOADS:
        for path in sorted(root.glob(pattern)):
            if read_number(path) is not None:
                return lambda: _scaled(read_number(path), 10)
    return None


def _hwmon_rails(root: Path) -> list[Rail]:
    folders = {path.resolve(): None for pattern in HWMON_FOLDERS for path in sorted(root.glob(pattern))}
    return [
        rail
        for folder in folders
        if read_text(folder / "name") in HWMON_NAMES
        or read_text(folder.parent.parent / "name") in HWMON_NAMES
        for rail in (*_volt_ampere_rails(folder), *_power_rail(folder))
    ]


def _volt_ampere_rails(folder: Path) -> list[Rail]:
    named = [(channel, read_text(folder / f"in{channel}_label")) for channel in CHANNELS]
    return [
        Rail(name, _product(folder / f"in{channel}_input", folder / f"curr{channel}_input"))
        for channel, name in named
        if name and name != NOT_CONNECTED and (folder / f"curr{channel}_input").exists()
    ]


def _power_rail(folder: Path) -> list[Rail]:
    """An INA238 has one channel, without a label, and measures power itself."""
    path = folder / "power1_input"
    return [Rail(WHOLE_RAILS[-1], lambda: _scaled(read_number(path), 1e6))] if path.exists() else []


def _iio_rails(root: Path) -> list[Rail]:
    rails = []
    for folder in [path for pattern in IIO_FOLDERS for path in sorted(root.glob(pattern))]:
        for label in sorted(folder.glob("rail_name_*")):
            number = label.name.rpartition("_")[2]
            name = read_text(label)
            if name and name != NOT_CONNECTED:
                rails.append(Rail(name, _milliwatts(folder / f"in_power{number}_input")))
    return rails


def _product(volts: Path, amperes: Path) -> Callable[[], float | None]:
    def watts() -> float | None:
        millivolts, milliamperes = read_number(volts), read_number(amperes)
        if millivolts is None or milliamperes is None:
            return None
        return millivolts * milliamperes / 1e6

    return watts


def _milliwatts(path: Path) -> Callable[[], float | None]:
    return lambda: _scaled(read_number(path), 1e3)


def _scaled(value: float | None, units: float) -> float | None:
    return None if value is None else value / units
