"""What an engine must fit on this machine."""

from __future__ import annotations

import platform

from edgeseg.bundle.compatibility import Here
from edgeseg.bundle.engines import Gpu, Target, machine_family
from edgeseg.errors import ArtifactError, DependencyError

from .backends.tensorrt.library import Flavour, load_library
from .cuda.opening import open_cuda
from .host.machine import Host, weight_bits

FLAVOURS = {Target.TENSORRT: Flavour.TENSORRT, Target.TENSORRT_RTX: Flavour.RTX}


def this_gpu() -> Gpu:
    """Find the GPU that CUDA would use.

    Raises:
        DependencyError: There is none, or no package to reach it; the message says which.
    """
    device = open_cuda().device
    return Gpu(name=device.name, compute_capability=device.compute_capability, driver=device.driver)


def here_for(target: Target) -> Here:
    """Gather what an engine of one kind must fit; without a GPU it fits no engine that needs one."""
    machine = machine_family(platform.machine())
    if not target.needs_gpu:
        return Here(machine=machine, weight_bits=weight_bits(Host()))
    try:
        gpu = this_gpu()
    except (ArtifactError, DependencyError):
        gpu = None
    try:
        version = load_library(FLAVOURS[target], purpose="run an engine").version
    except DependencyError:
        version = None
    return Here(machine=machine, backend_version=version, gpu=gpu)
