"""How quiet the machine was, on machines made up of a few files."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edgeseg.benchmark.statistics import noise
from edgeseg.benchmark.statistics.noise import NoiseMonitor
from edgeseg.runtime.host.machine import Host

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Host]:
    """A machine whose counters are set; the processor time of this process stands still."""
    (tmp_path / "proc").mkdir()
    monkeypatch.setattr(noise, "_own_cpu_s", lambda: 0.0)

    def count(*, user: int, idle: int, steal: int = 0) -> Host:
        line = f"cpu  {user} 0 0 {idle} 0 0 0 {steal} 0 0\ncpu0 1 1 1 1\n"
        (tmp_path / "proc/stat").write_text(line)
        return Host(root=tmp_path)

    (tmp_path / "proc/loadavg").write_text("1.25 0.5 0.1 1/100 1\n")
    return count


def test_a_quiet_machine(machine: Callable[..., Host]) -> None:
    noise_monitor = NoiseMonitor(machine(user=100, idle=100))
    machine(user=102, idle=298)
    found = noise_monitor.noise()

    assert found.others_percent == pytest.approx(1)
    assert (found.steal_percent, found.load_before, found.warnings) == (0, 1.25, ())
    assert found.probe_spread is None


def test_other_programs_and_other_machines(machine: Callable[..., Host]) -> None:
    noise_monitor = NoiseMonitor(machine(user=100, idle=100))
    machine(user=140, idle=150, steal=10)
    found = noise_monitor.noise()

    assert found.others_percent == pytest.approx(40)
    assert found.steal_percent == pytest.approx(10)
    assert "other programs took 40 % of the processor" in found.warnings[0]
    assert "the host of this virtual machine gave 10 %" in found.warnings[1]


def test_own_work_is_no_noise(machine: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    noise_monitor = NoiseMonitor(machine(user=100, idle=100))
    machine(user=300, idle=100)
    monkeypatch.setattr(noise, "_own_cpu_s", lambda: 2.0)

    assert noise_monitor.noise().others_percent == 0


def test_work_of_a_process_that_has_ended_is_own_work() -> None:
    before_s = noise._own_cpu_s()
    subprocess.run([sys.executable, "-c", "sum(range(20_000_000))"], check=True)

    assert noise._own_cpu_s() - before_s > 0.1


def test_what_was_before_the_start_is_forgotten(machine: Callable[..., Host]) -> None:
    noise_monitor = NoiseMonitor(machine(user=0, idle=0))
    noise_monitor.probe()
    machine(user=500, idle=100)
    noise_monitor.start()
    machine(user=500, idle=200)

    assert noise_monitor.noise().others_percent == 0
    assert noise_monitor.noise().probe_ms == ()


def test_a_machine_that_is_not_steady(machine: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    noise_monitor = NoiseMonitor(machine(user=0, idle=0))
    noise_monitor.probe()
    assert noise_monitor.noise().probe_ms[0] > 0
    monkeypatch.setattr(noise_monitor, "_probes_ms", [10.0, 10.2, 10.1, 13.0])
    found = noise_monitor.noise()

    assert found.probe_spread == pytest.approx(0.3)
    assert "the same work took 30 % longer" in found.warnings[0]


def test_no_counters(tmp_path: Path) -> None:
    found = NoiseMonitor(Host(root=tmp_path)).noise()

    assert (found.others_percent, found.steal_percent, found.load_before) == (None, None, None)


def test_this_machine() -> None:
    noise_monitor = NoiseMonitor()
    noise_monitor.probe()

    assert noise_monitor.noise().probe_spread == 0
