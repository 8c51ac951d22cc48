"""What an engine must fit on this machine."""

from __future__ import annotations

import platform

from edgeseg.bundle.compatibility import DeviceInfo
from edgeseg.bundle.engines import Gpu, Target, machine_family
from edgeseg.errors import ArtifactError, DependencyError

from .backends.tensorrt.library import TensorRTKind, load_library
from .cuda.opening import open_cuda
from .host.machine import Host, weight_bits

TENSORRT_KINDS = {Target.TENSORRT: TensorRTKind.TENSORRT, Target.TENSORRT_RTX: TensorRTKind.RTX}


def find_gpu() -> Gpu:
    """Find the GPU that CUDA would use.

    Raises:
        DependencyError: There is none, or no package to reach it; the message says which.
    """
    device = open_cuda().device
    return Gpu(name=device.name, compute_capability=device.compute_capability, driver=device.driver)


def read_device_info(target: Target) -> DeviceInfo:
    """Read what this machine offers to engines of one kind; without a GPU no engine that needs one fits."""
    machine = machine_family(platform.machine())
    if not target.needs_gpu:
        return DeviceInfo(machine=machine, weight_bits=weight_bits(Host()))
    try:
        gpu = find_gpu()
    except (ArtifactError, DependencyError):
        gpu = None
    try:
        version = load_library(TENSORRT_KINDS[target], purpose="run an engine").version
    except DependencyError:
        version = None
    return DeviceInfo(machine=machine, backend_version=version, gpu=gpu)
