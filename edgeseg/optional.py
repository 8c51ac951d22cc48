"""The one door through which heavy or optional packages are imported."""

from __future__ import annotations

import importlib
from types import MappingProxyType, ModuleType

from .errors import DependencyError

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
        "onnxruntime_ep_nv_tensorrt_rtx": "rtx",
        "tensorrt_rtx_bindings": "rtx",
    }
)
HINT_BY_MODULE = MappingProxyType(
    {
        "tensorrt": "on a Jetson it comes with JetPack and needs a virtual environment made with "
        "`python3 -m venv --system-site-packages`; on x86: pip install 'edgeseg[tensorrt]'",
        # Its own requirement opencv-python wants libGL and would replace the OpenCV that is there.
        "trackers": "pip install 'edgeseg[track]' && pip install --no-deps 'trackers>=2.6,<3'",
        # The extras that have it bring a whole TensorRT as well.
        "cuda.bindings.driver": "pip install cuda-bindings",
    }
)


def install_command(module: str) -> str:
    """Say what to type to get a package that `edgeseg` can use."""
    if hint := HINT_BY_MODULE.get(module):
        return hint
    extra = EXTRA_BY_MODULE.get(module.partition(".")[0])
    return f"pip install 'edgeseg[{extra}]'" if extra else f"pip install {module}"


def require(module: str, *, purpose: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    Args:
        module: Dotted import name, such as `onnxruntime`.
        purpose: What it is wanted for, as it reads after "to": `run a bundle`.

    Raises:
        DependencyError: The package is missing or fails to import.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as exc:
        absent = isinstance(exc, ModuleNotFoundError) and exc.name == module.partition(".")[0]
        state = "is not installed" if absent else f"is installed but does not import ({exc})"
        msg = f"{module} is needed to {purpose} and {state}; mend it with: {install_command(module)}"
        raise DependencyError(msg) from exc


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
