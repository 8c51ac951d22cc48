"""Facts about this machine: Python, processor, GPU, Jetson and cameras, and how to mend what is wrong."""

from __future__ import annotations

import logging
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.bundle.engines import FULL_WEIGHT_BITS, NARROW_WEIGHT_BITS, machine_family
from edgeseg.runtime.cuda.opening import open_cuda

from .processors import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeseg.runtime.cuda.driver import CudaDevice


# What integer convolutions use, fastest first, as /proc/cpuinfo spells it on x86 and on ARM.
INT8_FLAGS = ("amx_int8", "avx512_vnni", "avx_vnni", "i8mm", "asimddp")
# With one of these, products of 8-bit values are added in 32 bits; x86 without adds pairs of them in 16 bits.
WIDE_SUM_FLAGS = ("avx512_vnni", "avx_vnni", "i8mm", "asimddp")
GPU_QUERY = (
    "nvidia-smi",
    "--query-gpu=name,compute_cap,memory.total,driver_version",
    "--format=csv,noheader",
)
NVIDIA_VENDOR = "0x10de"
DISPLAY_CLASS = "0x03"
SYSTEM_VENV_COMMAND = "python3 -m venv --system-site-packages .venv"
JETPACK_COMMAND = "sudo apt update && sudo apt install nvidia-jetpack"
DRIVER_COMMAND = "sudo ubuntu-drivers install && sudo reboot"
REPORT_HINT = "report it, with what `edgeseg --debug doctor` prints"
COMMAND_TIMEOUT_S = 60

logger = logging.getLogger(__name__)


class ComponentState(str, Enum):
    """Whether a component can be used."""

    OK = "ok"
    LIMITED = "limited"
    MISSING = "missing"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One line of the report.

    Attributes:
        state: `missing` can be mended; `none` is of no use or not in this machine.
        detail: Version, or what was found.
        needed_to: What cannot be done as it is; empty where nothing is wrong.
        mend: Command that mends it; None when nothing needs mending.
    """

    name: str
    state: ComponentState
    detail: str
    needed_to: str = ""
    mend: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Where facts are read from.

    Attributes:
        root: The root of the file system; tests put a made-up one in its place.
    """

    root: Path = Path("/")

    def text(self, path: str) -> str:
        """Read a small file below the root; empty if there is none."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").replace("\0", "").strip()
        except OSError:
            return ""

    def output_of(self, command: Sequence[str]) -> str | None:
        """Run a command and return what it printed; None if it is absent, fails or hangs."""
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    def cuda_device(self) -> CudaDevice | None:
        """Ask CUDA for its GPU; None if there is none, or nothing that reaches it."""
        try:
            return open_cuda().device
        except Exception:  # noqa: BLE001
            # The line on CUDA tells what is broken there.
            return None

    @property
    def is_jetson(self) -> bool:
        """Whether this is one of NVIDIA's Tegra boards."""
        board = self.text("proc/device-tree/model")
        return (self.root / "etc/nv_tegra_release").exists() or "Jetson" in board


def machine_components(host: Host) -> list[Component]:
    """Look at the hardware and the Python that runs on it."""
    return [
        *run_check("Python", lambda: [python(host)]),
        *run_check("Processor", lambda: [processor(host)]),
        *run_check("Memory", lambda: [memory(host)]),
        *run_check("JetPack", lambda: [jetpack(host)]),
        *run_check("GPU", lambda: gpus(host)),
        *run_check("Cameras", lambda: [cameras(host)]),
    ]


def run_check(name: str, check: Callable[[], list[Component]], mend: str = REPORT_HINT) -> list[Component]:
    """Run a check; where it breaks, that is its result.

    Args:
        name: What is looked at.
        check: Gives its lines of the report.
        mend: Command that brings back what cannot be looked at.
    """
    try:
        return check()
    except Exception as exc:
        # A package that is broken fails as it likes when it is imported, and the report has to go on.
        logger.info("cannot look at %s", name, exc_info=True)
        words = str(exc).strip().splitlines()
        reason = f"{type(exc).__name__}: {words[0]}" if words else type(exc).__name__
        return [
            Component(
                name=name, state=ComponentState.LIMITED, detail=reason, needed_to=f"use {name}", mend=mend
            )
        ]


def python(host: Host) -> Component:
    """Python's version, and whether it sees the system's packages, where JetPack puts TensorRT."""
    version = platform.python_version()
    if sys.prefix == sys.base_prefix:
        return Component(name="Python", state=ComponentState.OK, detail=f"{version}, no virtual environment")
    if sees_system_packages():
        detail = f"{version}, virtual environment with --system-site-packages"
        return Component(name="Python", state=ComponentState.OK, detail=detail)
    detail = f"{version}, virtual environment without --system-site-packages"
    if not host.is_jetson:
        return Component(name="Python", state=ComponentState.OK, detail=detail)
    return Component(
        name="Python",
        state=ComponentState.LIMITED,
        detail=detail,
        needed_to="use the TensorRT and OpenCV that JetPack brings",
        mend=SYSTEM_VENV_COMMAND,
    )


def sees_system_packages() -> bool:
    """Whether this Python finds the packages of the system's, where JetPack puts TensorRT and OpenCV."""
    if sys.prefix == sys.base_prefix:
        return True
    config = Path(sys.prefix, "pyvenv.cfg").read_text(encoding="utf-8")
    return bool(re.search(r"^include-system-site-packages\s*=\s*true", config, re.IGNORECASE | re.MULTILINE))


def processor(host: Host) -> Component:
    """The processor, its cores, how many of them may be used, and what it has for INT8."""
    info = host.text("proc/cpuinfo")
    named = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    model = named[1] if named else platform.processor() or platform.machine()
    detail = f"{model}, {usable_cpus(host.root)}, INT8: {int8_summary(host)}"
    return Component(name="Processor", state=ComponentState.OK, detail=detail)


def int8_instructions(host: Host) -> tuple[str, ...]:
    """What the processor has for integer convolutions, fastest first; Linux only, elsewhere empty."""
    info = host.text("proc/cpuinfo")
    flags = set(" ".join(re.findall(r"^(?:flags|Features)\s*:\s*(.+)$", info, re.MULTILINE)).split())
    return tuple(flag for flag in INT8_FLAGS if flag in flags)


def weight_bits(host: Host) -> int:
    """Count the bits that weights of an INT8 engine may have for this processor to compute it exactly.

    Returns:
        8, or on x86-64 without VNNI 7: there libraries add two products of a weight and an unsigned 8-bit
        value in 16 bits, which hold 2 * 255 * 64 and not 2 * 255 * 127. 7 also on x86-64 where the
        processor's instructions cannot be read.
    """
    exact = set(WIDE_SUM_FLAGS) & set(int8_instructions(host))
    return FULL_WEIGHT_BITS if exact or machine_family(platform.machine()) != "x86_64" else NARROW_WEIGHT_BITS


def int8_summary(host: Host) -> str:
    """Say in words what the processor has for INT8, and what engines are built with because of it."""
    words, bits = " ".join(int8_instructions(host)) or "no instructions of its own", weight_bits(host)
    return words if bits == FULL_WEIGHT_BITS else f"{words}, engines get {bits}-bit weights"


def has_amx() -> bool:
    """Whether this processor multiplies matrices of 8-bit values."""
    return "amx_int8" in int8_instructions(Host())


def memory(host: Host) -> Component:
    """Memory in all, which bounds what can be exported or built here."""
    total = re.search(r"^MemTotal:\s+(\d+) kB", host.text("proc/meminfo"), re.MULTILINE)
    detail = f"{int(total[1]) / 2**20:.1f} GiB" if total else "unknown"
    return Component(name="Memory", state=ComponentState.OK, detail=detail)


def jetpack(host: Host) -> Component:
    """The Jetson board and its release of JetPack."""
    if not host.is_jetson:
        return Component(name="JetPack", state=ComponentState.NONE, detail="not a Jetson")
    board = host.text("proc/device-tree/model") or "Jetson"
    release = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", host.text("etc/nv_tegra_release"))
    linux = f"L4T {release[1]}.{release[2]}" if release else "L4T of unknown release"
    version = host.output_of(("dpkg-query", "-W", "-f=${Version}", "nvidia-jetpack"))
    if version:
        return Component(name="JetPack", state=ComponentState.OK, detail=f"{version} ({linux}) on {board}")
    return Component(
        name="JetPack",
        state=ComponentState.MISSING,
        detail=f"{linux} on {board}, without the package nvidia-jetpack",
        needed_to="have TensorRT",
        mend=JETPACK_COMMAND,
    )


def gpus(host: Host) -> list[Component]:
    """NVIDIA GPUs with their driver."""
    listed = [_gpu(line) for line in (host.output_of(GPU_QUERY) or "").splitlines()]
    if found := [gpu for gpu in listed if gpu]:
        return found
    # Before JetPack 7 nvidia-smi knows nothing of an integrated GPU, and a container may lack it.
    if device := host.cuda_device():
        detail = (
            f"{device.name}, compute capability {device.compute_capability}, {device.total_mib} MiB, "
            f"driver of CUDA {device.driver}"
        )
        return [Component(name="GPU", state=ComponentState.OK, detail=detail)]
    if host.is_jetson:
        return [
            Component(name="GPU", state=ComponentState.OK, detail="integrated; CUDA cannot be asked for more")
        ]
    if not _has_nvidia_card(host):
        return [Component(name="GPU", state=ComponentState.NONE, detail="no NVIDIA GPU")]
    return [
        Component(
            name="GPU",
            state=ComponentState.MISSING,
            detail="an NVIDIA card without a working driver (nvidia-smi is absent or fails)",
            needed_to="use the GPU",
            mend=DRIVER_COMMAND,
        )
    ]


def cameras(host: Host) -> Component:
    """Cameras that Video4Linux lists, with the numbers that `edgeseg run --camera` takes."""
    nodes = [path for path in (host.root / "dev").glob("video[0-9]*") if path.name[5:].isdecimal()]
    devices = sorted(nodes, key=lambda path: int(path.name[5:]))
    if not devices:
        return Component(name="Cameras", state=ComponentState.NONE, detail="no /dev/video*")
    names = [host.text(f"sys/class/video4linux/{device.name}/name") for device in devices]
    listed = ", ".join(
        f"{device.name[5:]}: {name or 'unnamed'}" for device, name in zip(devices, names, strict=True)
    )
    if all(os.access(device, os.R_OK | os.W_OK) for device in devices):
        return Component(name="Cameras", state=ComponentState.OK, detail=listed)
    return Component(
        name="Cameras",
        state=ComponentState.LIMITED,
        detail=f"{listed} (not all may be opened by this user)",
        needed_to="open a camera",
        mend='sudo usermod -aG video "$USER", then log in again',
    )


def _gpu(line: str) -> Component | None:
    """Read a line of nvidia-smi; None if it does not know the GPU, and has `[N/A]` for what it is."""
    match = re.fullmatch(r"(.+), (\d+\.\d+), (\d+ MiB|\[.*\]), (.+)", line.strip())
    if match is None:
        return None
    name, capability, total, driver = match.groups()
    detail = f"{name}, compute capability {capability}, {total}, driver {driver}"
    return Component(name="GPU", state=ComponentState.OK, detail=detail)


def _has_nvidia_card(host: Host) -> bool:
    cards = (host.root / "sys/bus/pci/devices").glob("*")
    return any(
        host.text(f"sys/bus/pci/devices/{card.name}/vendor") == NVIDIA_VENDOR
        and host.text(f"sys/bus/pci/devices/{card.name}/class").startswith(DISPLAY_CLASS)
        for card in cards
    )
