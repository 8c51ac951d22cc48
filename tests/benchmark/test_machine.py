"""The machine and its cores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeseg.benchmark import machine as place
from edgeseg.benchmark.machine import cores_for, describe_machine
from edgeseg.benchmark.worker.memory import device_memory_mib, peak_rss_mib
from edgeseg.runtime.host.machine import Host

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def four_cores_of_two_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(place, "allowed_cores", lambda: tuple(range(8)))
    for core in range(8):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{core}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{core // 2 * 2}-{core // 2 * 2 + 1}\n")
    return Host(root=tmp_path)


@pytest.mark.parametrize(
    ("threads", "cores"),
    [(1, (0,)), (2, (0, 2)), (4, (0, 2, 4, 6)), (5, (0, 1, 2, 4, 6)), (8, tuple(range(8))), (9, ())],
)
def test_a_core_for_each_thread(
    four_cores_of_two_threads: Host, threads: int, cores: tuple[int, ...]
) -> None:
    assert cores_for(threads, four_cores_of_two_threads) == cores


def test_what_a_reader_needs() -> None:
    machine = describe_machine()

    assert machine.cores >= 1
    assert machine.versions["numpy"]
    assert "tensorrt" not in machine.versions or machine.versions["tensorrt"]


def test_memory_by_the_kernel_and_without_it(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text("Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t 1 kB\n")

    assert peak_rss_mib(Host(root=tmp_path)) == 2
    assert peak_rss_mib(Host(root=tmp_path / "nothing")) > 10


def test_memory_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 42)
    monkeypatch.setattr(Host, "output_of", lambda host, command: "41, 999\n42, 100\n42, 23")

    assert device_memory_mib() == 123
    monkeypatch.setattr(Host, "output_of", lambda host, command: None)
    assert device_memory_mib() is None


def test_a_quota_counts_and_pins_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (tmp_path / "cg").mkdir()
    (tmp_path / "cg/cpu.max").write_text("250000 100000\n")

    machine = describe_machine(Host(root=tmp_path))

    assert machine.cores == 3
    assert "a quota of 2.5 by the control group: 3 usable" in machine.processor
    assert cores_for(3, Host(root=tmp_path)) == (0, 1, 2)
