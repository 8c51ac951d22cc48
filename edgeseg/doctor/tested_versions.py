"""The newest versions of other packages that this release was tested with."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType

from edgeseg.runtime.host.machine import Component, ComponentState

TITLE = "Tested versions"
# Newest tested version by distribution, for every runtime dependency in pyproject.toml. Updated before each
# release.
TESTED = MappingProxyType(
    {
        "click": "8.5",
        "cuda-bindings": "13.5",
        "h11": "0.16",
        "jinja2": "3.1",
        "numpy": "2.4",
        "nvidia-ml-py": "13.615",
        "onnx": "1.23",
        "onnxruntime": "1.32",
        "onnxruntime-ep-nv-tensorrt-rtx-cu13": "0.5",
        "onnxscript": "0.7",
        "onnxsim": "0.8",
        "opencv-python-headless": "5.0",
        "openvino": "2026.4",
        "pillow": "13.0",
        "psutil": "7.2",
        "pycocotools": "2.0",
        "pydeprecate": "0.13",
        "requests": "2.34",
        "rich": "15.0",
        "safetensors": "0.8",
        "scipy": "1.17",
        "starlette": "1.10",
        "supervision": "0.31",
        "tenacity": "9.2",
        "tensorrt-rtx-cu13-bindings": "1.7",
        "torch": "2.11",
        "torchvision": "0.26",
        "trackers": "2.6",
        "uvicorn": "0.54",
    }
)
# Not tested, because they need a GPU; their versions are not checked.
UNTESTED = frozenset(("onnxruntime-gpu", "pycuda", "tensorrt"))


def newer_packages() -> list[str]:
    """List the distributions installed in a newer version than the newest tested one."""
    return [name for name, tested in TESTED.items() if _digits(_installed(name)) > _digits(tested)]


def tested_versions() -> Component:
    """Report whether any package is newer than the newest tested version."""
    newer = newer_packages()
    if not newer:
        return Component(
            name=TITLE, state=ComponentState.OK, detail="no package is newer than what was tested"
        )
    listed = ", ".join(
        f"{package} {_installed(package)} (tested up to {TESTED[package]})" for package in newer
    )
    older = " ".join(f"'{package}=={TESTED[package]}.*'" for package in newer)
    return Component(
        name=TITLE,
        state=ComponentState.LIMITED,
        detail=f"newer than tested: {listed}",
        needed_to="have what was tested, should something fail",
        mend=f"pip install {older}",
    )


def _installed(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _digits(text: str) -> tuple[int, ...]:
    """Parse the major and minor version; incompatible changes rarely come in a patch release."""
    numbers = re.match(r"(\d+)(?:\.(\d+))?", text)
    return tuple(int(number or 0) for number in numbers.groups()) if numbers else ()
