"""Import of heavy or optional packages, with messages that say how to install what is missing."""

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
# Names on PyPI of the packages that `edgeseg` always needs.
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
# The modules that are imported to test those packages; some packages only fail in a submodule.
REQUIRED_MODULES = ("numpy", "cv2", "PIL.Image", "psutil", "pycocotools.mask", "rich", "tenacity")
MAX_REASON_CHARS = 300
# Installed on its own, because the extras that contain it also install TensorRT.
CUDA_BINDINGS = "pip install cuda-bindings"
HINT_BY_MODULE = MappingProxyType(
    {
        "tensorrt": "on a Jetson it comes with JetPack and needs a virtual environment made with "
        "`python3 -m venv --system-site-packages`; on x86: pip install 'edgeseg[tensorrt]'",
        # `trackers` requires opencv-python, which needs libGL and would replace the installed OpenCV.
        "trackers": "pip install 'edgeseg[track]' && pip install --no-deps 'trackers>=2.6,<3'",
        "cuda": CUDA_BINDINGS,
    }
)
# Must be set before the library is loaded, which reads the variable once.
ONNXRUNTIME_TELEMETRY_VARIABLE = "ORT_DISABLE_TELEMETRY"
OPENVINO_TELEMETRY_MODULE = "openvino_telemetry"
# Files, relative to the home folder, in which OpenVINO's `opt_in_out` stores the user's choice.
OPENVINO_CONSENT_FILES = ("intel/openvino_telemetry", "AppData/Local/Intel Corporation/openvino_telemetry")


def install_command(module: str) -> str:
    """Return the command that installs a package that `edgeseg` can use.

    Raises:
        LookupError: The package is not listed here. Its import name is not passed to pip, as anyone may have
            registered that name.
    """
    package = module.partition(".")[0]
    if hint := HINT_BY_MODULE.get(package):
        return hint
    if extra := EXTRA_BY_MODULE.get(package):
        return f"pip install 'edgeseg[{extra}]'"
    return f"pip install {DISTRIBUTION_BY_MODULE[package]}"


def require(module: str, *, purpose: str) -> ModuleType:
    """Import an optional package, or raise an error that says how to install it.

    Telemetry of the package is switched off, unless the user has set otherwise.

    Args:
        module: Dotted import name, such as `onnxruntime`.
        purpose: What the package is needed for, phrased to follow "to", such as `run a bundle`.

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
    # Cut to a sentence or two, as NumPy explains binary incompatibilities at length.
    reason = " ".join(f"{exc or type(exc).__name__}".split())[:MAX_REASON_CHARS]
    upgrade = command.replace("pip install", "pip install --upgrade")
    return (
        f"{module} is needed to {purpose} and is installed but does not import ({reason}); "
        f"mend it with: {upgrade}"
    )


def broken_requirement(exc: BaseException) -> DependencyError | None:
    """Find out whether an error comes from a required package that does not import.

    Args:
        exc: The error to explain.

    Returns:
        The error to raise instead; None if every required package imports.
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
            # The first failure tells more: OpenCV's second one only says that it was imported before.
            cause = exc if isinstance(exc, ImportError) else failure
            return DependencyError(_cannot_import(module, cause, "do anything"))
    return None


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Switch off telemetry of the packages that are imported in the block.

    ONNX Runtime from 1.32 on stores a device id below the home folder and contacts a server of Microsoft, and
    `import openvino` reports to Google Analytics. The user's own settings take precedence: the environment
    variable `ORT_DISABLE_TELEMETRY` with any value, and the file that OpenVINO's `opt_in_out` writes.
    """
    os.environ.setdefault(ONNXRUNTIME_TELEMETRY_VARIABLE, "1")
    if OPENVINO_TELEMETRY_MODULE in sys.modules or _has_openvino_consent_file():
        yield
        return
    # None makes an import of the module fail, and OpenVINO then runs without telemetry.
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
        extra: Name of the extra, such as `export`.
        purpose: What it is needed for, as in `require`.

    Raises:
        DependencyError: A package is missing or fails to import.
    """
    for module, name in EXTRA_BY_MODULE.items():
        if name == extra:
            require(module, purpose=purpose)
