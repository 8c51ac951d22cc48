"""Describe the machine of a benchmark and its packages, and choose the cores to run on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from edgeseg.runtime.host.machine import Host, gpus, memory, processor
from edgeseg.runtime.host.processors import allowed_cores, thread_siblings, usable_cpus

from .report import Machine

PACKAGES = (
    "torch",
    "torchvision",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "tensorrt-rtx-cu13-bindings",
    "onnx",
    "numpy",
    "opencv-python-headless",
)


def describe_machine(host: Host | None = None) -> Machine:
    """Gather what a reader needs to judge the numbers."""
    machine_host = host or Host()
    return Machine(
        processor=processor(machine_host).detail,
        cores=usable_cpus(machine_host.root).count,
        memory=memory(machine_host).detail,
        gpu="; ".join(gpu.detail for gpu in gpus(machine_host)),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        versions={name: found for name in PACKAGES if (found := _version(name))},
    )


def cores_for(threads: int, host: Host | None = None) -> tuple[int, ...]:
    """Choose a core for each thread: of cores that are two threads of one, the second only when it must be.

    Returns:
        Numbers of cores; empty where threads outnumber them, so that nothing is pinned.
    """
    cores = allowed_cores()
    if threads > len(cores):
        return ()
    machine_host, seen_siblings = host or Host(), set[str]()
    chosen: list[int] = []
    second_threads: list[int] = []
    for core in cores:
        siblings = thread_siblings(core, machine_host.root)
        (second_threads if siblings in seen_siblings else chosen).append(core)
        seen_siblings.add(siblings)
    return tuple(sorted([*chosen, *second_threads][:threads]))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
