"""Facts of machines that are made up as folders: a Jetson, a PC with and without a driver."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from edgeseg.errors import ArtifactError, DependencyError
from edgeseg.runtime.cuda.driver import CudaDevice
from edgeseg.runtime.host import machine
from edgeseg.runtime.host.machine import Component, ComponentState, Host

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class MadeUpHost(Host):
    """A host whose commands print what the test says; commands it does not list are absent."""

    printed: dict[str, str] = field(default_factory=dict)
    device: CudaDevice | None = None

    def output_of(self, command: Sequence[str]) -> str | None:
        return self.printed.get(command[0])

    def cuda_device(self) -> CudaDevice | None:
        return self.device


ORIN_GPU = CudaDevice(name="Orin", compute_capability="8.7", driver="12.6", total_mib=7619, free_mib=5012)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root


ORIN = {
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "proc/cpuinfo": "processor : 0\nFeatures\t: fp asimd asimddp i8mm\n",
    "proc/meminfo": "MemTotal:        7802000 kB\n",
}
CARD = {
    "sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
    "sys/bus/pci/devices/0000:01:00.0/class": "0x030000\n",
}


def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, system: str) -> None:
    write(tmp_path / "env", {"pyvenv.cfg": f"home = /usr/bin\ninclude-system-site-packages = {system}\n"})
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))


def test_jetson_with_jetpack(tmp_path: Path) -> None:
    host = MadeUpHost(root=write(tmp_path, ORIN), printed={"dpkg-query": "6.2+b77"})

    found = machine.jetpack(host)

    assert host.is_jetson
    assert found.state is ComponentState.OK
    assert found.detail == "6.2+b77 (L4T 36.4.3) on NVIDIA Jetson Orin Nano Developer Kit"


def test_jetson_without_jetpack(tmp_path: Path) -> None:
    found = machine.jetpack(MadeUpHost(root=write(tmp_path, ORIN)))

    assert found.state is ComponentState.MISSING
    assert found.mend == "sudo apt update && sudo apt install nvidia-jetpack"


def test_jetson_of_a_release_that_is_written_otherwise(tmp_path: Path) -> None:
    root = write(tmp_path, {**ORIN, "etc/nv_tegra_release": "something new"})

    assert "L4T of unknown release" in machine.jetpack(MadeUpHost(root=root)).detail


def test_virtual_environment_on_a_jetson_needs_the_systems_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv(tmp_path, monkeypatch, system="false")

    found = machine.python(MadeUpHost(root=write(tmp_path, ORIN)))

    assert found.state is ComponentState.LIMITED
    assert found.mend == "python3 -m venv --system-site-packages .venv"


@pytest.mark.parametrize(
    ("system", "files"), [("true", ORIN), ("TRUE", ORIN), ("false", {})], ids=["true", "TRUE", "false"]
)
def test_virtual_environment_that_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, files: dict[str, str]
) -> None:
    venv(tmp_path, monkeypatch, system=system)

    assert machine.python(MadeUpHost(root=write(tmp_path, files))).state is ComponentState.OK


def test_no_virtual_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)

    assert "no virtual environment" in machine.python(MadeUpHost(root=tmp_path)).detail


def test_processor_and_memory_of_a_jetson(tmp_path: Path) -> None:
    host = MadeUpHost(root=write(tmp_path, ORIN))

    assert machine.processor(host).detail.endswith("INT8: i8mm asimddp")
    assert machine.memory(host).detail == "7.4 GiB"


def test_processor_of_a_pc(tmp_path: Path) -> None:
    info = "model name\t: Some(R) CPU @ 2 GHz\nflags\t\t: fpu avx512_vnni sse2\n" * 2
    root = write(tmp_path, {"proc/cpuinfo": info})

    found = machine.processor(MadeUpHost(root=root)).detail

    assert found.startswith("Some(R) CPU @ 2 GHz, ")
    assert found.endswith("INT8: avx512_vnni")


@pytest.mark.parametrize(
    ("flags", "instructions", "family", "bits"),
    [
        ("fma avx2", (), "x86_64", 7),
        ("avx2 avx512f avx512bw", (), "AMD64", 7),
        ("avx2 avx_vnni", ("avx_vnni",), "x86_64", 8),
        ("avx_vnni amx_int8", ("amx_int8", "avx_vnni"), "AMD64", 8),
        ("avx512_vnni", ("avx512_vnni",), "x86_64", 8),
        # A hypervisor may hide one and not the other.
        ("avx2 amx_int8", ("amx_int8",), "x86_64", 7),
        ("fp asimd", (), "aarch64", 8),
        ("fp asimddp", ("asimddp",), "arm64", 8),
    ],
)
def test_weights_have_8_bits_where_their_products_are_added_exactly(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: str,
    instructions: tuple[str, ...],
    family: str,
    bits: int,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: family)
    host = MadeUpHost(root=write(tmp_path, {"proc/cpuinfo": f"processor\t: 0\nflags\t\t: {flags}\n"}))

    assert machine.int8_instructions(host) == instructions
    assert machine.weight_bits(host) == bits
    assert machine.int8_summary(host).endswith(", engines get 7-bit weights") == (bits == 7)
    assert machine.processor(host).detail.endswith(f"INT8: {machine.int8_summary(host)}")


def test_weights_have_7_bits_where_an_x86_processor_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "AMD64")

    assert machine.weight_bits(MadeUpHost(root=tmp_path)) == 7


def test_processor_in_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    files = {
        "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/cpu.max": "150000 100000\n",
    }

    detail = machine.processor(MadeUpHost(root=write(tmp_path, files))).detail

    limits = "8 cores, 4 of them allowed by affinity, a quota of 1.5 by the control group: 2 usable"
    assert limits in detail


def test_machine_without_proc(tmp_path: Path) -> None:
    host = MadeUpHost(root=tmp_path)

    assert "no instructions of its own" in machine.processor(host).detail
    assert machine.memory(host).detail == "unknown"


def test_two_gpus() -> None:
    lines = "NVIDIA RTX A5000, 8.6, 24564 MiB, 570.1\nNVIDIA L4, 8.9, 23034 MiB, 570.1"

    found = machine.gpus(MadeUpHost(printed={"nvidia-smi": lines}))

    assert [gpu.state for gpu in found] == [ComponentState.OK, ComponentState.OK]
    assert found[1].detail == "NVIDIA L4, compute capability 8.9, 23034 MiB, driver 570.1"


def test_card_without_a_driver(tmp_path: Path) -> None:
    (found,) = machine.gpus(MadeUpHost(root=write(tmp_path, CARD)))

    assert found.state is ComponentState.MISSING
    assert found.mend is not None


@pytest.mark.parametrize(("entry", "value"), [("vendor", "0x8086"), ("class", "0x040300")])
def test_other_cards_are_no_gpu(tmp_path: Path, entry: str, value: str) -> None:
    root = write(tmp_path, {**CARD, f"sys/bus/pci/devices/0000:01:00.0/{entry}": value})

    (found,) = machine.gpus(MadeUpHost(root=root))

    assert found.state is ComponentState.NONE
    assert found.mend is None


def test_integrated_gpu(tmp_path: Path) -> None:
    (found,) = machine.gpus(MadeUpHost(root=write(tmp_path, ORIN)))

    assert (found.state, found.detail) == (ComponentState.OK, "integrated; CUDA cannot be asked for more")


@pytest.mark.parametrize(
    "printed", [None, "Orin (nvgpu), [N/A], [N/A], 540.4.0", "No devices were found", "Orin, 8.7"]
)
def test_integrated_gpu_that_only_cuda_knows(tmp_path: Path, printed: str | None) -> None:
    told = {"nvidia-smi": printed} if printed else {}

    (found,) = machine.gpus(MadeUpHost(root=write(tmp_path, ORIN), printed=told, device=ORIN_GPU))

    assert found.state is ComponentState.OK
    assert found.detail == "Orin, compute capability 8.7, 7619 MiB, driver of CUDA 12.6"


def test_gpu_that_shares_the_machines_memory() -> None:
    (found,) = machine.gpus(MadeUpHost(printed={"nvidia-smi": "NVIDIA GB10, 12.1, [N/A], 580.95"}))

    assert found.detail == "NVIDIA GB10, compute capability 12.1, [N/A], driver 580.95"


def test_card_in_a_container_without_nvidia_smi(tmp_path: Path) -> None:
    (found,) = machine.gpus(MadeUpHost(root=write(tmp_path, CARD), device=ORIN_GPU))

    assert found.state is ComponentState.OK


def test_cuda_is_asked_for_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "open_cuda", lambda: type("Cuda", (), {"device": ORIN_GPU}))

    assert Host().cuda_device() == ORIN_GPU


@pytest.mark.parametrize(
    "error",
    [DependencyError("no GPU"), ArtifactError("refused"), OSError("libcuda.so.1 is too short")],
)
def test_cuda_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken() -> None:
        raise error

    monkeypatch.setattr(machine, "open_cuda", broken)

    assert Host().cuda_device() is None


def test_cameras_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    devices = {f"dev/video{number}": "" for number in (10, 0, 2)}
    names = {"sys/class/video4linux/video0/name": "HD Webcam\n", "sys/class/video4linux/video10/name": "Loop"}

    found = machine.cameras(MadeUpHost(root=write(tmp_path, {**devices, **names})))

    assert found.state is ComponentState.OK
    assert found.detail == "0: HD Webcam, 2: unnamed, 10: Loop"


def test_camera_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    found = machine.cameras(MadeUpHost(root=write(tmp_path, {"dev/video0": ""})))

    assert found.state is ComponentState.LIMITED
    assert "usermod" in (found.mend or "")


def test_nodes_that_are_no_camera(tmp_path: Path) -> None:
    found = machine.cameras(MadeUpHost(root=write(tmp_path, {"dev/video0-raw": "", "dev/video1": ""})))

    assert found.detail == "1: unnamed"


def test_no_camera(tmp_path: Path) -> None:
    assert machine.cameras(MadeUpHost(root=tmp_path)).state is ComponentState.NONE


@pytest.mark.parametrize(
    "command",
    [("no-such-command-anywhere",), (sys.executable, "-c", "raise SystemExit(1)")],
    ids=["absent", "fails"],
)
def test_command_that_is_absent_or_fails(command: tuple[str, ...]) -> None:
    assert Host().output_of(command) is None


def test_command_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "COMMAND_TIMEOUT_S", 0.1)

    assert Host().output_of((sys.executable, "-c", "import time; time.sleep(60)")) is None


@pytest.mark.parametrize(
    ("error", "detail"), [(ValueError("bad\nworse"), "ValueError: bad"), (OSError(), "OSError")]
)
def test_a_check_that_breaks_is_a_line_of_the_report(error: Exception, detail: str) -> None:
    def check() -> list[Component]:
        raise error

    (found,) = machine.run_check("Fan", check, "sudo apt install fan")

    assert found == Component(
        name="Fan",
        state=ComponentState.LIMITED,
        detail=detail,
        needed_to="use Fan",
        mend="sudo apt install fan",
    )


@pytest.mark.parametrize("name", ["python", "processor", "memory", "jetpack", "gpus", "cameras"])
def test_no_broken_fact_hides_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    def broken(host: Host) -> Component:
        raise RuntimeError(name)

    monkeypatch.setattr(machine, name, broken)

    found = machine.machine_components(MadeUpHost(root=tmp_path))

    assert len(found) == 6
    assert [(item.detail, item.mend) for item in found if item.mend] == [
        (f"RuntimeError: {name}", machine.REPORT_HINT)
    ]


def test_this_machine() -> None:
    found = machine.machine_components(Host())

    assert all(component.detail for component in found)
