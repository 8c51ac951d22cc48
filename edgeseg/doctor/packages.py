"""Checks which of the packages that `edgeseg` can use are installed and working, and what they support."""

from __future__ import annotations

import importlib.util
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from edgeseg.bundle.engines import machine_family
from edgeseg.errors import ArtifactError, DependencyError
from edgeseg.optional import install_command, require
from edgeseg.runtime.backends.onnxruntime import CUDA, TENSORRT
from edgeseg.runtime.backends.openvino import has_bfloat16
from edgeseg.runtime.backends.tensorrt.library import (
    OLDEST_TENSORRT,
    RTX_BINDINGS,
    TensorRTKind,
    is_installed,
    load_library,
)
from edgeseg.runtime.cuda.driver import BINDINGS, PYCUDA
from edgeseg.runtime.cuda.opening import open_cuda
from edgeseg.runtime.host.machine import (
    DRIVER_COMMAND,
    JETPACK_COMMAND,
    SYSTEM_VENV_COMMAND,
    Component,
    ComponentState,
    Host,
    machine_components,
    run_check,
    sees_system_packages,
)
from edgeseg.streaming.sources.live.plugins import SYSTEM_OPENCV_COMMAND

from .tested_versions import tested_versions

if TYPE_CHECKING:
    from types import ModuleType

EXPORT_PURPOSE = "export a checkpoint and build engines"
EXPORT_PACKAGES = ("torch", "torchvision", "onnx", "onnxscript", "onnxsim", "safetensors")
# Distributions that install the same module and overwrite each other's files.
OPENCV_WHEELS = (
    "opencv-python",
    "opencv-contrib-python",
    "opencv-python-headless",
    "opencv-contrib-python-headless",
)
ONNXRUNTIME_WHEELS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")
# Packages that a run needs only for certain options: purpose, and distributions. The command that installs
# the first one also installs the others.
LIVE_PACKAGES = {
    "Tracking": ("follow objects over time (--track)", ("trackers", "supervision", "scipy")),
    "Web page": ("show a run in a browser (--web)", ("starlette", "uvicorn")),
}
CUDA_WHEELS = ("cuda-bindings", "pycuda")
NO_GPU = "of no use without a GPU"
NEW_JETPACK_HINT = "install JetPack 6.1 or later"
PIP_TENSORRT_COMMAND = "pip install 'edgeseg[tensorrt]'"
# A Jetson's driver is part of its system, but a user outside these groups cannot use it.
GPU_GROUPS_COMMAND = 'sudo usermod -aG video,render "$USER", then log in again'
WINDOW_OPENCV_COMMAND = (
    "sudo apt install libgl1 && pip uninstall -y opencv-python-headless && pip install opencv-python"
)
# Run in a separate process: torch would stay loaded in this one, and mismatched packages may crash.
IMPORT_CHECK = "try:\n import torchvision\nexcept Exception as exc:\n print(exc)\nelse:\n print('ok')"


def inspect_machine(host: Host | None = None) -> list[Component]:
    """Report on this machine, hardware first.

    Args:
        host: Machine to inspect; None for this one.

    Returns:
        The hardware, then the packages, then the comparison with the tested versions.
    """
    host = host or Host()
    hardware = machine_components(host)
    gpu = any(item.name == "GPU" and item.state is ComponentState.OK for item in hardware)
    return [*hardware, *package_components(host, gpu=gpu), *run_check("Tested versions", _tested_versions)]


def package_components(host: Host, *, gpu: bool) -> list[Component]:
    """Check OpenCV, the backends, and the packages for export, tracking and the web page.

    Args:
        host: Machine to inspect.
        gpu: Whether there is an NVIDIA GPU to use.
    """
    reinstall = "pip install --force-reinstall"
    tensorrt_again = JETPACK_COMMAND if host.is_jetson else _reinstall_command(PIP_TENSORRT_COMMAND)
    return [
        *run_check("OpenCV", opencv, f"{reinstall} opencv-python-headless"),
        *run_check("ONNX Runtime", lambda: onnxruntime(host, gpu=gpu), f"{reinstall} onnxruntime"),
        *run_check("OpenVINO", lambda: [openvino()], f"{reinstall} openvino"),
        *run_check("Export packages", lambda: [export_packages(host)], f"{reinstall} 'edgeseg[export]'"),
        *(package_group(name, *facts) for name, facts in LIVE_PACKAGES.items()),
        *run_check("CUDA", lambda: [cuda(host, gpu=gpu)], f"{reinstall} cuda-bindings"),
        *run_check("TensorRT", lambda: [tensorrt(host, gpu=gpu)], tensorrt_again),
        *run_check("TensorRT for RTX", lambda: [tensorrt_rtx()], f"{reinstall} 'edgeseg[rtx]'"),
    ]


def opencv() -> list[Component]:
    """Check OpenCV, and what its build can read and show."""
    try:
        cv2 = require("cv2", purpose="read images")
    except DependencyError as exc:
        # The wheel with window support needs libGL, which servers and containers often lack.
        command = install_command("cv2")
        mend = "sudo apt install libgl1" if "libGL" in str(exc) else _reinstall_command(command)
        return [_broken("OpenCV", _without_advice(exc), "read images", mend)]
    return [
        _sole_distribution("OpenCV", cv2, OPENCV_WHEELS, "opencv-python-headless"),
        *opencv_features(cv2.getBuildInformation()),
    ]


def opencv_features(build: str) -> list[Component]:
    """Report GStreamer, FFmpeg and window support from the text of `cv2.getBuildInformation()`."""
    gstreamer, ffmpeg, window = (_build_feature(build, name) for name in ("GStreamer", "FFMPEG", "GUI"))
    return [
        Component(name="OpenCV: GStreamer", state=ComponentState.OK, detail=gstreamer)
        if gstreamer
        else _absent("OpenCV: GStreamer", "not in this build", "open csi:// cameras", SYSTEM_OPENCV_COMMAND),
        Component(name="OpenCV: FFmpeg", state=ComponentState.OK, detail=ffmpeg)
        if ffmpeg
        else _absent(
            "OpenCV: FFmpeg",
            "not in this build",
            "open video files and rtsp://",
            "pip install opencv-python-headless",
        ),
        Component(name="OpenCV: window", state=ComponentState.OK, detail=window)
        if window
        else _absent("OpenCV: window", "not in this build", "show a window", WINDOW_OPENCV_COMMAND),
    ]


def onnxruntime(host: Host, *, gpu: bool) -> list[Component]:
    """Check ONNX Runtime and its execution providers."""
    name, purpose = "ONNX Runtime", "run a bundle on a CPU"
    try:
        ort = require("onnxruntime", purpose=purpose)
    except DependencyError as exc:
        return [_unusable(name, "onnxruntime", exc, purpose, install_command("onnxruntime"))]
    found = _sole_distribution(name, ort, ONNXRUNTIME_WHEELS, "onnxruntime")
    if found.state is not ComponentState.OK:
        return [found]
    providers = ort.get_available_providers()
    listed = ", ".join(provider.removesuffix("ExecutionProvider") for provider in providers)
    whole = Component(name=name, state=ComponentState.OK, detail=f"{found.detail}: {listed}")
    return [whole, _onnxruntime_gpu(host, providers, gpu=gpu)]


def package_group(name: str, purpose: str, needed: tuple[str, ...]) -> Component:
    """Check packages that are only useful together, without importing them, which takes about a second.

    Args:
        name: Name of the group in the report.
        purpose: What the packages are needed for.
        needed: Names of the distributions.
    """
    versions = {package: _version(package) for package in needed}
    absent = [package for package, found in versions.items() if not found]
    if absent:
        detail = f"no {', '.join(absent)}"
        return _absent(name, detail, purpose, install_command(needed[0]))
    detail = ", ".join(f"{package} {found}" for package, found in versions.items())
    return Component(name=name, state=ComponentState.OK, detail=detail)


def openvino() -> Component:
    """Check OpenVINO, which is used on x86 only, and whether this processor supports bfloat16."""
    name, purpose = "OpenVINO", "build and run OpenVINO engines"
    if machine_family(platform.machine()) != "x86_64":
        return Component(name=name, state=ComponentState.NONE, detail="used on x86 only")
    try:
        module = require("openvino", purpose=purpose)
    except DependencyError as exc:
        return _unusable(name, "openvino", exc, purpose, install_command("openvino"))
    number = str(module.__version__).partition("-")[0]
    bfloat16 = "BF16" if has_bfloat16() else "no BF16"
    return Component(name=name, state=ComponentState.OK, detail=f"{number}, {bfloat16} in this processor")


def export_packages(host: Host) -> Component:
    """Check the packages of the extra `export`, and whether torch and torchvision are compatible."""
    versions = {name: _version(name) for name in EXPORT_PACKAGES}
    present = ", ".join(f"{name} {found}" for name, found in versions.items() if found)
    absent = ", ".join(name for name, found in versions.items() if not found)
    if absent:
        detail = f"{present}; no {absent}" if present else f"no {absent}"
        return _absent("Export packages", detail, EXPORT_PURPOSE, install_command("torch"))
    verdict = host.output_of((sys.executable, "-c", IMPORT_CHECK)) or "its import crashes"
    if not verdict.endswith("ok"):
        reason = verdict.splitlines()[-1]
        detail = f"torchvision does not import: {reason}"
        return _broken(
            "Export packages", detail, EXPORT_PURPOSE, _reinstall_command(install_command("torch"))
        )
    return Component(name="Export packages", state=ComponentState.OK, detail=present)


def cuda(host: Host, *, gpu: bool) -> Component:
    """Check the Python packages that give access to CUDA, which TensorRT engines need."""
    name, purpose = "CUDA", "run TensorRT engines"
    present = [module for module in (BINDINGS, PYCUDA) if _is_importable(module)]
    if not gpu:
        installed = ", ".join(f"{wheel} {_version(wheel)}" for wheel in CUDA_WHEELS if _version(wheel))
        return Component(
            name=name, state=ComponentState.NONE, detail=f"{installed or 'not installed'}, {NO_GPU}"
        )
    if not present:
        detail = "neither cuda-bindings nor pycuda is installed"
        return _absent(name, detail, purpose, install_command(BINDINGS))
    try:
        reached = open_cuda()
        driver = reached.device.driver
    except (ArtifactError, DependencyError) as exc:
        unreached = GPU_GROUPS_COMMAND if host.is_jetson else DRIVER_COMMAND
        mend = _reinstall_command(install_command(BINDINGS)) if "does not import" in str(exc) else unreached
        return _broken(name, _without_advice(exc), purpose, mend)
    detail = f"{reached.title}, driver of CUDA {driver}"
    if BINDINGS not in present:
        mend = install_command(BINDINGS)
        return _broken(name, f"{detail}, no CUDA graphs", "launch a frame's kernels as one", mend)
    return Component(name=name, state=ComponentState.OK, detail=detail)


def tensorrt(host: Host, *, gpu: bool) -> Component:
    """Check standard TensorRT, which needs a GPU both to build and to run engines."""
    name, purpose = "TensorRT", "build and run TensorRT engines"
    if not is_installed(TensorRTKind.TENSORRT):
        if not gpu:
            return Component(name=name, state=ComponentState.NONE, detail=f"not installed, {NO_GPU}")
        return _absent(name, "not installed", purpose, _tensorrt_command(host))
    try:
        number = load_library(TensorRTKind.TENSORRT, purpose=purpose).version
    except DependencyError as exc:
        oldest = ".".join(map(str, OLDEST_TENSORRT))
        mend = NEW_JETPACK_HINT if host.is_jetson else _reinstall_command(f"pip install 'tensorrt>={oldest}'")
        return _broken(name, _without_advice(exc), purpose, mend)
    if not gpu:
        return Component(name=name, state=ComponentState.NONE, detail=f"{number}, {NO_GPU}")
    return Component(name=name, state=ComponentState.OK, detail=number)


def tensorrt_rtx() -> Component:
    """Check TensorRT for RTX, which can build engines without a GPU."""
    name, purpose = "TensorRT for RTX", "build engines without a GPU"
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return Component(name=name, state=ComponentState.NONE, detail="for Linux on x86-64 only")
    mend = install_command(RTX_BINDINGS)
    if not is_installed(TensorRTKind.RTX):
        return _absent(name, "not installed, or one of its two wheels is missing", purpose, mend)
    try:
        number = load_library(TensorRTKind.RTX, purpose=purpose).version
    except DependencyError as exc:
        return _broken(name, _without_advice(exc), purpose, _reinstall_command(mend))
    return Component(name=name, state=ComponentState.OK, detail=number)


def _tested_versions() -> list[Component]:
    return [tested_versions()]


def _onnxruntime_gpu(host: Host, providers: list[str], *, gpu: bool) -> Component:
    """Report whether ONNX Runtime can use an NVIDIA GPU; TensorRT engines do not need it."""
    name = "ONNX Runtime: GPU"
    if present := [provider for provider in (CUDA, TENSORRT) if provider in providers]:
        listed = ", ".join(provider.removesuffix("ExecutionProvider") for provider in present)
        state, detail = (ComponentState.OK, listed) if gpu else (ComponentState.NONE, f"{listed}, {NO_GPU}")
        return Component(name=name, state=state, detail=detail)
    if not gpu:
        return Component(name=name, state=ComponentState.NONE, detail=NO_GPU)
    if host.is_jetson:
        detail = "not in this build; pip has none for a Jetson, whose GPU TensorRT uses"
        return Component(name=name, state=ComponentState.NONE, detail=detail)
    mend = "pip uninstall -y onnxruntime && pip install 'edgeseg[cuda]'"
    return _absent(name, "not in this build", "run graphs on the GPU without an engine", mend)


def _tensorrt_command(host: Host) -> str:
    if not host.is_jetson:
        return PIP_TENSORRT_COMMAND
    # JetPack installs TensorRT only into the system's Python. An environment that sees the system's packages
    # and still has no TensorRT is on a machine without JetPack.
    return JETPACK_COMMAND if sees_system_packages() else SYSTEM_VENV_COMMAND


def _is_importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        # For a dotted name, `find_spec` imports the parent, which may be missing or broken.
        return False


def _unusable(name: str, module: str, exc: DependencyError, needed_to: str, mend: str) -> Component:
    """Report a package as missing, or as broken if it is installed but does not import."""
    if not _is_importable(module):
        return _absent(name, "not installed", needed_to, mend)
    return _broken(name, _without_advice(exc), needed_to, _reinstall_command(mend))


def _reinstall_command(command: str) -> str:
    """Make pip reinstall a package that it considers installed."""
    return command.replace("install", "install --force-reinstall", 1)


def _without_advice(exc: ArtifactError | DependencyError) -> str:
    """Drop the advice from an error message, because the report gives its own."""
    return str(exc).partition(";")[0]


def _sole_distribution(name: str, module: ModuleType, wheels: tuple[str, ...], keep: str) -> Component:
    installed = [wheel for wheel in wheels if _version(wheel)]
    if len(installed) > 1:
        detail = f"{' and '.join(installed)} overwrite each other"
        mend = f"pip uninstall -y {' '.join(installed)} && pip install {keep}"
        return _broken(name, detail, f"know which {name} is used", mend)
    origin = installed[0] if installed else "not from pip"
    return Component(name=name, state=ComponentState.OK, detail=f"{module.__version__} ({origin})")


def _build_feature(build: str, name: str) -> str:
    """Read one entry of OpenCV's build information; empty for `NO`, `NONE` or a missing line."""
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
    return Component(name=name, state=ComponentState.MISSING, detail=detail, needed_to=needed_to, mend=mend)


def _broken(name: str, detail: str, needed_to: str, mend: str) -> Component:
    return Component(name=name, state=ComponentState.LIMITED, detail=detail, needed_to=needed_to, mend=mend)
