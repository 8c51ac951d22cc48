"""The one door through which heavy or optional packages are imported."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING

from .errors import DependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator

EXTRA_BY_MODULE = MappingProxyType(
    {
        "torch": "export",
        "torchvision": "export",
        "onnx": "export",
        "onnxscript": "export",
        "onnxsim": "export",
        "safetensors": "export",
        "onnxruntime": "cpu",
        "openvino": "openvino",
        "supervision": "supervision",
        "scipy": "track",
        "starlette": "web",
        "uvicorn": "web",
        "jinja2": "report",
        "pynvml": "nvml",
        "pycuda": "pycuda",
        "onnxruntime_ep_nv_tensorrt_rtx": "rtx",
        "tensorrt_rtx_bindings": "rtx",
    }
)
# Packages that `edgeseg` itself needs, by the names under which pip knows them.
DISTRIBUTION_BY_MODULE = MappingProxyType(
    {
        "click": "click",
        "cv2": "opencv-python-headless",
        "numpy": "numpy",
        "PIL": "pillow",
        "psutil": "psutil",
        "pycocotools": "pycocotools",
        "rich": "rich",
        "tenacity": "tenacity",
    }
)
# What of them is imported, as some fail only there.
REQUIRED_MODULES = ("numpy", "cv2", "PIL.Image", "psutil", "pycocotools.mask", "rich", "tenacity")
MAX_REASON_CHARS = 300
# The extras that have it bring a whole TensorRT as well.
CUDA_BINDINGS = "pip install cuda-bindings"
HINT_BY_MODULE = MappingProxyType(
    {
        "tensorrt": "on a Jetson it comes with JetPack and needs a virtual environment made with "
        "`python3 -m venv --system-site-packages`; on x86: pip install 'edgeseg[tensorrt]'",
        # Its own requirement opencv-python wants libGL and would replace the OpenCV that is there.
        "trackers": "pip install 'edgeseg[track]' && pip install --no-deps 'trackers>=2.6,<3'",
        "cuda": CUDA_BINDINGS,
    }
)
# Set before its library is loaded, which reads it once.
ONNXRUNTIME_TELEMETRY_VARIABLE = "ORT_DISABLE_TELEMETRY"
OPENVINO_TELEMETRY_MODULE = "openvino_telemetry"
# The file in which OpenVINO's own `opt_in_out` notes what the user wants, below the home folder.
OPENVINO_CONSENT_FILES = ("intel/openvino_telemetry", "AppData/Local/Intel Corporation/openvino_telemetry")


def install_command(module: str) -> str:
    """Say what to type to get a package that `edgeseg` can use.

    Raises:
        LookupError: Nobody has said where it comes from; pip must not be pointed to a name that anyone may
            have taken.
    """
    package = module.partition(".")[0]
    if hint := HINT_BY_MODULE.get(package):
        return hint
    if extra := EXTRA_BY_MODULE.get(package):
        return f"pip install 'edgeseg[{extra}]'"
    return f"pip install {DISTRIBUTION_BY_MODULE[package]}"


def require(module: str, *, purpose: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    Packages that would report to their makers are kept from it, unless the user has said otherwise.

    Args:
        module: Dotted import name, such as `onnxruntime`.
        purpose: What it is wanted for, as it reads after "to": `run a bundle`.

    Raises:
        DependencyError: The package is missing or fails to import.
    """
    try:
        with without_telemetry():
            return importlib.import_module(module)
    except Exception as exc:
        raise DependencyError(_cannot_import(module, exc, purpose)) from exc


def _cannot_import(module: str, exc: Exception, purpose: str) -> str:
    command = install_command(module)
    if isinstance(exc, ModuleNotFoundError) and f"{module}.".startswith(f"{exc.name}."):
        if getattr(sys, "frozen", False):
            return (
                f"{module} is needed to {purpose} and was not packed into this program; pack it with "
                f"PyInstaller's `--hidden-import {module} --collect-all {module.partition('.')[0]}`"
            )
        return f"{module} is needed to {purpose} and is not installed; mend it with: {command}"
    # A sentence or two: NumPy explains at length what was compiled against which of its versions.
    reason = " ".join(f"{exc or type(exc).__name__}".split())[:MAX_REASON_CHARS]
    upgrade = command.replace("pip install", "pip install --upgrade")
    return (
        f"{module} is needed to {purpose} and is installed but does not import ({reason}); "
        f"mend it with: {upgrade}"
    )


def broken_requirement(exc: BaseException) -> DependencyError | None:
    """Find the package that `edgeseg` cannot do without and that does not import, after something failed.

    Args:
        exc: What failed.

    Returns:
        What to raise instead; None where every such package imports.
    """
    missing_module = (exc.name or "") if isinstance(exc, ModuleNotFoundError) else ""
    if missing_module.partition(".")[0] == __package__ and getattr(sys, "frozen", False):
        return DependencyError(
            f"{missing_module} was not packed into this program; pack it with PyInstaller's "
            f"`--collect-submodules {__package__} --collect-data {__package__}`"
        )
    for module in REQUIRED_MODULES:
        try:
            importlib.import_module(module)
        except Exception as failure:  # noqa: BLE001 - as in `require`
            # The first failure says more: OpenCV's second only says that it is the second.
            cause = exc if isinstance(exc, ImportError) else failure
            return DependencyError(_cannot_import(module, cause, "do anything"))
    return None


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Keep what is imported in the block from reporting to its maker.

    ONNX Runtime from 1.32 on writes a number for this device below the home folder and asks for a server of
    Microsoft, and `import openvino` reports to Google Analytics. A user's own setting wins: the environment
    variable `ORT_DISABLE_TELEMETRY`, whatever is in it, and the file that OpenVINO's `opt_in_out` writes.
    """
    os.environ.setdefault(ONNXRUNTIME_TELEMETRY_VARIABLE, "1")
    if OPENVINO_TELEMETRY_MODULE in sys.modules or _has_openvino_consent_file():
        yield
        return
    # An import of it fails then, and OpenVINO does without.
    sys.modules[OPENVINO_TELEMETRY_MODULE] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules.pop(OPENVINO_TELEMETRY_MODULE, None)


def _has_openvino_consent_file() -> bool:
    try:
        return any((Path.home() / name).exists() for name in OPENVINO_CONSENT_FILES)
    except (OSError, RuntimeError):
        # No home folder, or none that may be looked into.
        return False


def require_extra(extra: str, *, purpose: str) -> None:
    """Check that every package of an extra imports.

    Args:
        extra: Such as `export`.
        purpose: As `require`.

    Raises:
        DependencyError: One is missing or fails to import.
    """
    for module, name in EXTRA_BY_MODULE.items():
        if name == extra:
            require(module, purpose=purpose)
