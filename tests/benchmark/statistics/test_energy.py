"""Energy from counters and sensors, on machines made up of a few files."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from edgeseg.benchmark.statistics.energy import open_energy_meter
from edgeseg.runtime.host.health import HealthMonitor
from edgeseg.runtime.host.machine import Host
from edgeseg.runtime.host.meter import Reading

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    return tmp_path


def test_nothing_tells(root: Path) -> None:
    assert open_energy_meter(Host(root=root)) is None


def test_a_processors_counter_goes_on_where_it_is_full(root: Path) -> None:
    package = root / "sys/class/powercap/intel-rapl:0"
    package.mkdir(parents=True)
    (package / "energy_uj").write_text("9000000\n")
    (package / "max_energy_range_uj").write_text("10000000\n")
    meter = open_energy_meter(Host(root=root))
    assert meter is not None
    (package / "energy_uj").write_text("9500000\n")
    assert meter.joules() == pytest.approx(0.5)
    (package / "energy_uj").write_text("200000\n")

    assert meter.joules() == pytest.approx(1.2)
    (package / "energy_uj").unlink()
    assert meter.joules() == pytest.approx(1.2)
    meter.close()


def test_a_counter_that_may_not_be_read(root: Path) -> None:
    (root / "sys/class/powercap/intel-rapl:0").mkdir(parents=True)

    assert open_energy_meter(Host(root=root)) is None


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_jetsons_sensor_is_added_up(root: Path) -> None:
    sensor = root / "sys/class/hwmon/hwmon3"
    sensor.mkdir(parents=True)
    (sensor / "name").write_text("ina3221\n")
    for name, text in (("in1_label", "VDD_IN"), ("in2_label", "VDD_CPU_GPU_CV")):
        (sensor / name).write_text(text)
    for name, value in (
        ("in1_input", 5000),
        ("curr1_input", 2000),
        ("in2_input", 5000),
        ("curr2_input", 9000),
    ):
        (sensor / name).write_text(f"{value}\n")
    meter = open_energy_meter(Host(root=root))
    assert meter is not None
    start = time.monotonic()
    # Without a reading in between, the power of the end would be taken for all of the time.
    wait_until(lambda: (meter._monitor._energy_j or 0) > 1)
    seconds = time.monotonic() - start
    meter.close()

    # 5 V and 2 A; what the second rail takes is part of it.
    assert 1 < meter.joules() <= 10 * (seconds + 1)


class Gpu:
    """NVML's counter."""

    counted_j = 12.5

    def read(self, now_s: float) -> Reading:
        return Reading(energy_j=self.counted_j)

    def temperature_c(self) -> None:
        return None

    percent = memory_mib = temperature_c


def open_fake() -> Any:
    return Gpu()


def test_a_gpus_counter(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "edgeseg.benchmark.statistics.energy.HealthMonitor", partial(HealthMonitor, open_gpu=open_fake)
    )
    meter = open_energy_meter(Host(root=root))

    assert meter is not None
    assert meter.joules() == 12.5
    meter.close()


def test_a_gpu_that_does_not_count(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gpu, "counted_j", None)
    monkeypatch.setattr(
        "edgeseg.benchmark.statistics.energy.HealthMonitor", partial(HealthMonitor, open_gpu=open_fake)
    )

    assert open_energy_meter(Host(root=root)) is None
