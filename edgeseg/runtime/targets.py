"""What to build an engine for: what was named, or what is fastest on this machine."""

from __future__ import annotations

import importlib.util
import platform
from dataclasses import replace
from typing import NamedTuple

from edgeseg.bundle.engines import (
    FULL_WEIGHT_BITS,
    NARROW_WEIGHT_BITS,
    PRECISIONS_OF,
    EngineOptions,
    Precision,
    Target,
    machine_family,
)
from edgeseg.bundle.refusals import EngineRefusal, RefusalKind, distinct_reasons
from edgeseg.errors import ArtifactError, ConfigError, DependencyError
from edgeseg.optional import require

from .backends.tensorrt.library import is_installed, load_library
from .device import TENSORRT_KINDS, find_gpu
from .host.machine import Host, has_amx, weight_bits

# Compute capabilities that TensorRT for RTX 1.7 has; neither Jetson Orin nor H100 is among them.
RTX_CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
# Processors whose 8-bit kernels in ONNX Runtime are known here.
MACHINES = ("x86_64", "aarch64")


class BuildChoice(NamedTuple):
    """What to build for and in, and why, for people; and the faster targets that were passed over."""

    target: Target
    precision: Precision
    reason: str
    refusals: tuple[EngineRefusal, ...] = ()


def choose_engine(target: Target | None, precision: Precision | None, options: EngineOptions) -> BuildChoice:
    """Choose what was not named.

    Args:
        target: None for the fastest that is installed here, can run here and has the options.
        precision: None for `fp16` on GPUs and `fp32` on processors: what needs no calibration.
        options: Those that were given; the rest is at its default.

    Raises:
        ConfigError: The target does not compute in that precision, or does not have an option.
    """
    supporting, option = _supporting_targets(options)
    refusals: tuple[EngineRefusal, ...] = ()
    if target is not None:
        reason = "it was asked for"
    elif len(supporting) == 1:
        target, reason = supporting[0], f"{option} is for it alone"
    else:
        target, refusals = _fastest_available(precision, supporting)
        reason = "; ".join((*distinct_reasons(refusals), f"{target.value} runs here"))
    if target not in supporting:
        msg = f"{option} is for --target {' or '.join(item.value for item in supporting)}, got {target.value}"
        raise ConfigError(msg)
    if options.machine and options.machine not in MACHINES:
        msg = f"engines of ONNX Runtime are built for {' or '.join(MACHINES)}, got {options.machine}"
        raise ConfigError(msg)
    if precision is None:
        precision = Precision.FP16 if target.needs_gpu else Precision.FP32
    computes = PRECISIONS_OF[target]
    if precision not in computes:
        names = ", ".join(item.value for item in computes)
        msg = f"{target.value} computes in {names}; got {precision.value}"
        raise ConfigError(msg)
    _check_weight_bits(precision, options)
    return BuildChoice(target, precision, reason, refusals)


def _check_weight_bits(precision: Precision, options: EngineOptions) -> None:
    if options.weight_bits is None:
        return
    if precision is not Precision.INT8:
        msg = f"--weight-bits is for --int8, got {precision.value}"
        raise ConfigError(msg)
    if not options.machine and options.weight_bits > (here := weight_bits(Host())):
        msg = (
            f"weights of {options.weight_bits} bits need a processor with AVX-512 VNNI or AVX-VNNI, and none "
            f"was found here; leave --weight-bits out for {here}, or build for other processors with "
            "--machine x86_64"
        )
        raise ConfigError(msg)


def engine_weight_bits(target: Target, options: EngineOptions) -> int:
    """Count the bits that the weights of an INT8 engine get.

    Args:
        target: What is to run it; GPUs take 8 bits always.
        options: Who names a machine means any of that family, else it is this one.
    """
    if target.needs_gpu:
        return FULL_WEIGHT_BITS
    if options.weight_bits is not None:
        return options.weight_bits
    if options.machine:
        return NARROW_WEIGHT_BITS if options.machine == "x86_64" else FULL_WEIGHT_BITS
    return weight_bits(Host())


def resolve_options(target: Target, precision: Precision, options: EngineOptions) -> EngineOptions:
    """Fill in what was left open as to the processor."""
    machine = options.machine or machine_family(platform.machine())
    if precision is not Precision.INT8 or target.needs_gpu:
        return replace(options, machine=machine, amx=False)
    bits = engine_weight_bits(target, options)
    amx = options.amx or (not options.machine and bits == FULL_WEIGHT_BITS and has_amx())
    return replace(options, machine=machine, amx=amx and target is Target.ONNXRUNTIME, weight_bits=bits)


def _supporting_targets(options: EngineOptions) -> tuple[tuple[Target, ...], str]:
    """Name the targets that have all options that were given, and the option that leaves the fewest."""
    gpus = (Target.TENSORRT, Target.TENSORRT_RTX)
    given = [
        ("--workspace-mib", options.workspace_mib, gpus),
        # The wheels of TensorRT for RTX lack the lean runtime that such an engine carries along.
        ("--version-compatible", options.version_compatible, (Target.TENSORRT,)),
        ("--hardware-compatible", options.hardware_compatible, (Target.TENSORRT,)),
        ("--dla", options.dla is not None, (Target.TENSORRT,)),
        ("--compute-capability", options.compute_capabilities, (Target.TENSORRT_RTX,)),
        ("--weight-bits", options.weight_bits, (Target.OPENVINO, Target.ONNXRUNTIME)),
        ("--machine", options.machine, (Target.ONNXRUNTIME,)),
    ]
    supporting, option = tuple(Target), ""
    for name, value, targets in given:
        if not value:
            continue
        both = tuple(target for target in supporting if target in targets)
        if not both:
            msg = f"{option} is for {supporting[0].value} and {name} for {targets[0].value}; give one of them"
            raise ConfigError(msg)
        supporting, option = both, name if both != supporting else option
    return supporting, option


def _fastest_available(
    precision: Precision | None, supporting: tuple[Target, ...]
) -> tuple[Target, tuple[EngineRefusal, ...]]:
    """Take the first that can run here: what this machine cannot run is built only if it is named."""
    refusals: list[EngineRefusal] = []
    for target in supporting:
        refusal = _target_refusal(target, precision)
        if refusal is None:
            return target, tuple(refusals)
        refusals.append(refusal)
    elsewhere = "; for a GPU of another machine pass --compute-capability, such as SM86"
    raise ConfigError(
        "; ".join(distinct_reasons(refusals)) + (elsewhere if Target.TENSORRT_RTX in supporting else "")
    )


def _target_refusal(target: Target, precision: Precision | None) -> EngineRefusal | None:
    """Say why no engine is built for a target; None if it can run here."""
    if precision is not None and precision not in PRECISIONS_OF[target]:
        kind, reason = RefusalKind.UNSUPPORTED, f"{target.value} has no {precision.value}"
    else:
        kind, reason = RefusalKind.UNAVAILABLE, unavailable_reason(target)
    return EngineRefusal(target=target, precision=precision, kind=kind, reason=reason) if reason else None


def unavailable_reason(target: Target) -> str:
    """Say why engines of a target cannot be built or run here; empty if they can."""
    if target is Target.OPENVINO and machine_family(platform.machine()) != "x86_64":
        return "OpenVINO is for x86 here"
    try:
        return _gpu_obstacle(target) if target.needs_gpu else _package_obstacle(target)
    except (ArtifactError, DependencyError) as exc:
        # The command that mends it, `edgeseg doctor` tells.
        return str(exc).partition(";")[0].partition(" (")[0]


def _package_obstacle(target: Target) -> str:
    if importlib.util.find_spec(target.value) is None:
        return f"no {target.value}"
    require(target.value, purpose="run an engine")
    return ""


def _gpu_obstacle(target: Target) -> str:
    gpu, tensorrt_kind = find_gpu(), TENSORRT_KINDS[target]
    if not is_installed(tensorrt_kind):
        return f"no {tensorrt_kind.display_name}"
    load_library(tensorrt_kind, purpose="build an engine")
    if target is Target.TENSORRT_RTX and gpu.compute_capability not in RTX_CAPABILITIES:
        return f"{tensorrt_kind.display_name} has nothing for compute capability {gpu.compute_capability}"
    return ""
