"""Load, temperature and power of made-up machines, and of the one that tests run on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from edgeseg.runtime.host import health
from edgeseg.runtime.host.health import Health, HealthMonitor, health_line
from edgeseg.runtime.host.machine import Host
from edgeseg.runtime.host.nvml import NvmlGpu

from .boards import I2C, ORIN_NANO, PC, FakeNvml, made_up

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def monitor(root: Path, nvml: FakeNvml | None = None, clock: Any = None) -> HealthMonitor:
    def gpu() -> NvmlGpu | None:
        return NvmlGpu(nvml, "gpu 0") if nvml else None

    return HealthMonitor(Host(root=root), open_gpu=gpu, clock=clock or Clock())


def test_a_jetson(tmp_path: Path) -> None:
    # As on a Jetson, the driver knows the GPU and answers nothing.
    nvml = FakeNvml(percent=None, used=None, celsius=None, milliwatts=None)

    found = monitor(made_up(tmp_path, ORIN_NANO), nvml).read()

    assert (found.gpu_percent, found.gpu_memory_mib, found.temperature_c) == (97.3, None, 54.25)
    assert found.power_w == pytest.approx(7.6)


def test_a_pc_with_a_gpu(tmp_path: Path) -> None:
    clock = Clock()
    detect_size_changes = monitor(made_up(tmp_path, PC), FakeNvml(), clock)
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").write_text("41000000")
    clock.now_s += 2

    found = detect_size_changes.read()

    assert (found.gpu_percent, found.gpu_memory_mib, found.temperature_c) == (97, 3072, 71)
    assert found.power_w == pytest.approx(14.2 + 20)
    assert detect_size_changes.energy_j() == pytest.approx(28.4 + 40)


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    detect_size_changes = monitor(tmp_path)
    found = detect_size_changes.read()

    assert found.memory_mib is not None
    assert found.memory_mib > 1
    assert found == Health(cpu_percent=found.cpu_percent, memory_mib=found.memory_mib)
    assert detect_size_changes.energy_j() is None


def test_this_machine() -> None:
    detect_size_changes = HealthMonitor()
    found = detect_size_changes.read()

    assert found.memory_mib == pytest.approx(psutil.Process().memory_info().rss / 2**20, rel=0.5)
    assert found.cpu_percent is None or 0 <= found.cpu_percent <= 100
    assert health_line(found)


def test_at_most_one_sample_a_second(tmp_path: Path) -> None:
    clock = Clock()
    detect_size_changes = monitor(made_up(tmp_path, ORIN_NANO), clock=clock)
    first = detect_size_changes.read()
    (tmp_path / I2C / "ina3221/1-0040/hwmon/hwmon1/curr1_input").write_text("2000")

    clock.now_s += 0.9
    assert detect_size_changes.read() is first
    clock.now_s += 0.2
    assert detect_size_changes.read().power_w == pytest.approx(10)


def test_energy_of_a_jetson_adds_up_from_the_start(tmp_path: Path) -> None:
    clock = Clock()
    detect_size_changes = monitor(made_up(tmp_path, ORIN_NANO), clock=clock)
    assert detect_size_changes.energy_j() == 0

    for _ in range(10):
        clock.now_s += 1
        detect_size_changes.read()

    assert detect_size_changes.energy_j() == pytest.approx(76)


def test_load_of_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    seconds = iter([(100.0, 1000.0), (103.0, 1004.0), (103.0, 1004.0)])
    monkeypatch.setattr(health, "_cpu_seconds", lambda: next(seconds))
    detect_size_changes = monitor(tmp_path, clock=clock)

    assert detect_size_changes.read().cpu_percent == 75
    clock.now_s += 5
    assert detect_size_changes.read().cpu_percent is None


def test_busy_seconds_are_a_part_of_all() -> None:
    busy, total = health._cpu_seconds()

    assert 0 < busy < total


def test_many_threads_share_a_sample(tmp_path: Path) -> None:
    detect_size_changes = monitor(made_up(tmp_path, ORIN_NANO))
    start, found = threading.Barrier(8), []

    def ask() -> None:
        start.wait(30)
        found.append(detect_size_changes.read())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(found) == 8
    assert len(set(map(id, found))) == 1


@pytest.mark.parametrize(
    ("known", "line"),
    [
        ({}, ""),
        ({"cpu_percent": 42.6, "memory_mib": 811.7}, "CPU 43 %, 812 MiB"),
        (
            {"cpu_percent": 43, "gpu_percent": 97, "temperature_c": 61, "power_w": 14.23, "memory_mib": 812},
            "CPU 43 %, GPU 97 %, 61 C, 14.2 W, 812 MiB",
        ),
        ({"cpu_percent": 0.0, "gpu_percent": 0.0}, "CPU 0 %, GPU 0 %"),
    ],
    ids=[
        "nothing is known",
        "processor and memory",
        "everything",
        "all at rest",
    ],
)
def test_health_line(known: dict[str, float], line: str) -> None:
    assert health_line(Health(**known)) == line
