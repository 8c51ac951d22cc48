"""Which of the packages that `edgeseg` can use are installed, work, and can do what is asked of them."""

from __future__ import annotations

import importlib.util
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from ..errors import DependencyError
from ..optional import install_command, require
from .machine import SYSTEM_VENV, Component, Host, State, machine_components

if TYPE_CHECKING:
    from types import ModuleType

EXPORT_PACKAGES = ("torch", "torchvision", "onnx", "onnxscript", "onnxsim", "safetensors")
# Distributions that install one and the same module and overwrite each other's files.
OPENCV_WHEELS = (
    "opencv-python",
    "opencv-contrib-python",
    "opencv-python-headless",
    "opencv-contrib-python-headless",
)
ONNXRUNTIME_WHEELS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")
RTX_MODULES = ("onnxruntime_ep_nv_tensorrt_rtx", "tensorrt_rtx_bindings")
RTX_WHEELS = ("onnxruntime-ep-nv-tensorrt-rtx-cu13", "tensorrt-rtx-cu13-bindings")
OLDEST_TENSORRT = (10, 3)
# Ubuntu's and JetPack's OpenCV are compiled against NumPy 1; pip's wheel would hide them.
SYSTEM_OPENCV = (
    f"sudo apt install python3-opencv && {SYSTEM_VENV} && .venv/bin/pip install edgeseg 'numpy<2' "
    "&& .venv/bin/pip uninstall -y opencv-python-headless"
)
WINDOW_OPENCV = (
    "sudo apt install libgl1 && pip uninstall -y opencv-python-headless && pip install opencv-python"
)
# Imported in a process of its own: torch would stay in this one, and a broken pair may crash.
IMPORT_CHECK = "try:\n import torchvision\nexcept Exception as exc:\n print(exc)\nelse:\n print('ok')"


def look_around(host: Host | None = None) -> list[Component]:
    """Report on this machine, hardware first.

    Args:
        host: Where the machine's facts come from; None for this machine.
    """
    host = host or Host()
    hardware = machine_components(host)
    gpu = any(item.name == "GPU" and item.state is State.OK for item in hardware)
    return [*hardware, *package_components(host, gpu=gpu)]


def package_components(host: Host, *, gpu: bool) -> list[Component]:
    """Look at OpenCV, the backends and the packages that export.

    Args:
        host: Where the machine's facts come from.
        gpu: Whether there is an NVIDIA GPU to use.
    """
    return [*opencv(), onnxruntime(), export_packages(host), tensorrt(host, gpu=gpu), tensorrt_rtx()]


def opencv() -> list[Component]:
    """OpenCV, and what its build can read and show."""
    try:
        cv2 = require("cv2", purpose="read images")
    except DependencyError as exc:
        # The wheel with windows needs a library that servers and containers lack.
        mend = "sudo apt install libgl1" if "libGL" in str(exc) else "pip install opencv-python-headless"
        return [_broken("OpenCV", str(exc), "read images", mend)]
    return [
        _sole_distribution("OpenCV", cv2, OPENCV_WHEELS, "opencv-python-headless"),
        *opencv_abilities(cv2.getBuildInformation()),
    ]


def opencv_abilities(build: str) -> list[Component]:
    """Read from `cv2.getBuildInformation()` what the build was made with."""
    gstreamer, ffmpeg, window = (_ability(build, name) for name in ("GStreamer", "FFMPEG", "GUI"))
    return [
        Component(name="OpenCV: GStreamer", state=State.OK, detail=gstreamer)
        if gstreamer
        else _absent("OpenCV: GStreamer", "not in this build", "open csi:// cameras", SYSTEM_OPENCV),
        Component(name="OpenCV: FFmpeg", state=State.OK, detail=ffmpeg)
        if ffmpeg
        else _absent(
            "OpenCV: FFmpeg",
            "not in this build",
            "open video files and rtsp://",
            "pip install opencv-python-headless",
        ),
        Component(name="OpenCV: window", state=State.OK, detail=window)
        if window
        else _absent("OpenCV: window", "not in this build", "show a window", WINDOW_OPENCV),
    ]


def onnxruntime() -> Component:
    """ONNX Runtime and where it can compute."""
    purpose = "run a bundle on a CPU"
    try:
        ort = require("onnxruntime", purpose=purpose)
    except DependencyError as exc:
        return _broken("ONNX Runtime", str(exc), purpose, install_command("onnxruntime"))
    found = _sole_distribution("ONNX Runtime", ort, ONNXRUNTIME_WHEELS, "onnxruntime")
    if found.state is not State.OK:
        return found
    providers = ", ".join(name.removesuffix("ExecutionProvider") for name in ort.get_available_providers())
    return Component(name=found.name, state=State.OK, detail=f"{found.detail}: {providers}")


def export_packages(host: Host) -> Component:
    """The packages of the extra `export`, and whether torch and torchvision fit together."""
    versions = {name: _version(name) for name in EXPORT_PACKAGES}
    present = ", ".join(f"{name} {found}" for name, found in versions.items() if found)
    absent = ", ".join(name for name, found in versions.items() if not found)
    if absent:
        detail = f"{present}; no {absent}" if present else f"no {absent}"
        return _absent("Export packages", detail, "export a checkpoint", install_command("torch"))
    verdict = host.output_of((sys.executable, "-c", IMPORT_CHECK)) or "its import crashes"
    if not verdict.endswith("ok"):
        reason = verdict.splitlines()[-1]
        again = install_command("torch").replace("install", "install --force-reinstall")
        return _broken(
            "Export packages", f"torchvision does not import: {reason}", "export a checkpoint", again
        )
    return Component(name="Export packages", state=State.OK, detail=present)


def tensorrt(host: Host, *, gpu: bool) -> Component:
    """TensorRT proper, which needs a GPU both to build and to run."""
    purpose = "build and run TensorRT engines"
    spec = importlib.util.find_spec("tensorrt")
    # A folder of type stubs also passes for a package, but has no file to load.
    if spec is None or spec.origin is None:
        if not gpu:
            return Component(
                name="TensorRT", state=State.NONE, detail="not installed, of no use without a GPU"
            )
        mend = SYSTEM_VENV if host.is_jetson else install_command("tensorrt")
        return _absent("TensorRT", "not installed", purpose, mend)
    try:
        found = str(require("tensorrt", purpose=purpose).__version__)
    except DependencyError as exc:
        return _broken("TensorRT", str(exc), purpose, install_command("tensorrt"))
    if tuple(map(int, found.split(".")[:2])) < OLDEST_TENSORRT:
        oldest = ".".join(map(str, OLDEST_TENSORRT))
        mend = "install JetPack 6.1 or later" if host.is_jetson else f"pip install 'tensorrt>={oldest}'"
        return _broken("TensorRT", f"{found} is older than {oldest}", purpose, mend)
    return Component(name="TensorRT", state=State.OK, detail=found)


def tensorrt_rtx() -> Component:
    """TensorRT for RTX: libraries and Python API come in two wheels."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        detail = "there are wheels for Linux on x86-64 only"
        return Component(name="TensorRT for RTX", state=State.NONE, detail=detail)
    absent = [name for name in RTX_MODULES if importlib.util.find_spec(name) is None]
    if absent:
        mend = install_command("tensorrt_rtx_bindings")
        return _absent("TensorRT for RTX", f"no {', '.join(absent)}", "build engines without a GPU", mend)
    detail = ", ".join(f"{name} {_version(name) or 'of unknown version'}" for name in RTX_WHEELS)
    return Component(name="TensorRT for RTX", state=State.OK, detail=detail)


def _sole_distribution(name: str, module: ModuleType, wheels: tuple[str, ...], keep: str) -> Component:
    installed = [wheel for wheel in wheels if _version(wheel)]
    if len(installed) > 1:
        detail = f"{' and '.join(installed)} overwrite each other"
        mend = f"pip uninstall -y {' '.join(installed)} && pip install {keep}"
        return _broken(name, detail, f"know which {name} is used", mend)
    origin = installed[0] if installed else "not from pip"
    return Component(name=name, state=State.OK, detail=f"{module.__version__} ({origin})")


def _ability(build: str, name: str) -> str:
    """Read one line of OpenCV's build information; empty for `NO`, `NONE` and an absent line."""
    line = re.search(rf"^\s*{name}:[ \t]*(.*)$", build, re.MULTILINE)
    value = line[1].strip() if line else ""
    if value in ("NO", "NONE"):
        return ""
    return value.removeprefix("YES").strip(" ()") or value.lower()


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _absent(name: str, detail: str, needed_to: str, mend: str) -> Component:
    return Component(name=name, state=State.MISSING, detail=detail, needed_to=needed_to, mend=mend)


def _broken(name: str, detail: str, needed_to: str, mend: str) -> Component:
    return Component(name=name, state=State.LIMITED, detail=detail, needed_to=needed_to, mend=mend)
