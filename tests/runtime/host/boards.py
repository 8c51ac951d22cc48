"""Made-up machines: the files by which Jetsons and PCs tell of themselves, and a GPU's driver.

The names and units of the Jetsons' files are those that jetson_stats reads and that users have shown; nobody
has run this on a Jetson.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

I2C = "sys/bus/i2c/drivers"
ORIN_NANO = {
    f"{I2C}/ina3221/1-0040/hwmon/hwmon1/name": "ina3221",
    f"{I2C}/ina3221/1-0040/hwmon/hwmon1/in1_label": "VDD_IN",
    f"{I2C}/ina3221/1-0040/hwmon/hwmon1/in1_input": "5000",
    f"{I2C}/ina3221/1-0040/hwmon/hwmon1/curr1_input": "1520",
    f"{I2C}/ina3221/1-0040/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV",
    f"{I2C}/ina3221/1-0040/hwmon/hwmon1/in2_input": "5000",
    f"{I2C}/ina3221/1-0040/hwmon/hwmon1/curr2_input": "400",
    f"{I2C}/ina3221/1-0040/hwmon/hwmon1/in7_label": "sum of shunt voltages",
    f"{I2C}/ina3221/1-0040/hwmon/hwmon1/curr4_input": "1920",
    "sys/devices/platform/bus@0/17000000.gpu/load": "973",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
    "sys/class/thermal/thermal_zone0/temp": "52312",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal",
    "sys/class/thermal/thermal_zone1/temp": "53500",
    "sys/class/thermal/thermal_zone8/type": "tj-thermal",
    "sys/class/thermal/thermal_zone8/temp": "54250",
}
AGX_ORIN = {
    f"{I2C}/ina3221/1-0040/hwmon/hwmon3/in1_label": "VDD_GPU_SOC",
    f"{I2C}/ina3221/1-0040/hwmon/hwmon3/in1_input": "20000",
    f"{I2C}/ina3221/1-0040/hwmon/hwmon3/curr1_input": "300",
    f"{I2C}/ina3221/1-0040/hwmon/hwmon3/in2_label": "VDD_CPU_CV",
    f"{I2C}/ina3221/1-0040/hwmon/hwmon3/in2_input": "20000",
    f"{I2C}/ina3221/1-0040/hwmon/hwmon3/curr2_input": "100",
    f"{I2C}/ina3221/1-0040/name": "ina3221",
    f"{I2C}/ina3221/1-0041/name": "ina3221",
    f"{I2C}/ina3221/1-0041/hwmon/hwmon4/in1_label": "NC",
    f"{I2C}/ina3221/1-0041/hwmon/hwmon4/in1_input": "9999",
    f"{I2C}/ina3221/1-0041/hwmon/hwmon4/curr1_input": "9999",
    f"{I2C}/ina3221/1-0041/hwmon/hwmon4/in2_label": "VDDQ_VDD2_1V8AO",
    f"{I2C}/ina3221/1-0041/hwmon/hwmon4/in2_input": "5000",
    f"{I2C}/ina3221/1-0041/hwmon/hwmon4/curr2_input": "80",
    "sys/devices/platform/17000000.ga10b/load": "500",
}
NANO = {
    f"{I2C}/ina3221x/6-0040/iio:device0/rail_name_0": "POM_5V_IN",
    f"{I2C}/ina3221x/6-0040/iio:device0/in_power0_input": "4210",
    f"{I2C}/ina3221x/6-0040/iio:device0/rail_name_1": "POM_5V_GPU",
    f"{I2C}/ina3221x/6-0040/iio:device0/in_power1_input": "1200",
    "sys/devices/gpu.0/load": "0",
    "sys/class/thermal/thermal_zone0/type": "AO-therm",
    "sys/class/thermal/thermal_zone0/temp": "41000",
    "sys/class/thermal/thermal_zone1/type": "CPU-therm",
    "sys/class/thermal/thermal_zone1/temp": "35500",
    "sys/class/thermal/thermal_zone4/type": "PMIC-Die",
    "sys/class/thermal/thermal_zone4/temp": "100000",
}
THOR = {
    "sys/class/hwmon/hwmon5/name": "ina238",
    "sys/class/hwmon/hwmon5/power1_input": "31500000",
    "sys/class/hwmon/hwmon6/name": "ina3221",
    "sys/class/hwmon/hwmon6/in1_label": "VDD_GPU",
    "sys/class/hwmon/hwmon6/in1_input": "5000",
    "sys/class/hwmon/hwmon6/curr1_input": "1000",
}
PC = {
    "sys/class/powercap/intel-rapl:0/energy_uj": "1000000",
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850",
    "sys/class/powercap/intel-rapl:0:0/energy_uj": "500000",
    "sys/class/hwmon/hwmon0/name": "coretemp",
    "sys/class/hwmon/hwmon0/temp1_input": "61000",
    "sys/class/hwmon/hwmon0/temp2_input": "58000",
    "sys/class/hwmon/hwmon1/name": "nvme",
    "sys/class/hwmon/hwmon1/temp1_input": "80850",
    "sys/class/hwmon/hwmon2/name": "nct6775",
    "sys/class/hwmon/hwmon2/in1_label": "VDD_IN",
    "sys/class/hwmon/hwmon2/in1_input": "5000",
    "sys/class/hwmon/hwmon2/curr1_input": "5000",
}


def made_up(root: Path, files: dict[str, str]) -> Path:
    """Write a machine's files below a folder; a line's end is added, as Linux does."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", "utf-8")
    return root


class NvmlError(Exception):
    pass


class FakeNvml:
    """NVIDIA's driver with one GPU; a figure that is None is not told."""

    NVMLError = NvmlError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, **figures: Any) -> None:
        self.figures = {
            "percent": 97,
            "used": 3 << 30,
            "celsius": 71,
            "milliwatts": 14200,
            "millijoules": None,
        }
        self.figures.update(figures)

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return f"gpu {index}"

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:
        return SimpleNamespace(gpu=self._told(handle, "percent"), memory=5)

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:
        return SimpleNamespace(used=self._told(handle, "used"), total=80 << 30)

    def nvmlDeviceGetTemperature(self, handle: str, kind: int) -> int:
        return int(self._told(handle, "celsius"))

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:
        return int(self._told(handle, "milliwatts"))

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        return int(self._told(handle, "millijoules"))

    def _told(self, handle: str, figure: str) -> Any:
        assert handle == "gpu 0"
        if self.figures[figure] is None:
            raise NvmlError
        return self.figures[figure]
