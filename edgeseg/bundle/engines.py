"""The engines of a bundle: each built for one backend, precision and kind of machine, with its record."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from edgeseg.errors import ArtifactError, ConfigError
from edgeseg.files.pairs import CACHE_SUFFIX, publish_pair
from edgeseg.files.records import read_record, write_record
from edgeseg.records import short_repr
from edgeseg.spec import Lowering

from .manifest import SHA256, FileRecord

if TYPE_CHECKING:
    from pathlib import Path

ENGINES_FOLDER = "engines"
FORMAT = 1
# Bits of an INT8 engine's weights; `runtime.machine.weight_bits` says which processors need 7.
FULL_WEIGHT_BITS, NARROW_WEIGHT_BITS = 8, 7


class Target(str, Enum):
    """Backend that an engine is built for, fastest first; the value is also used in the file name."""

    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt-rtx"
    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"

    @property
    def needs_gpu(self) -> bool:
        """Whether engines contain code for a GPU and therefore need one."""
        return self in (Target.TENSORRT, Target.TENSORRT_RTX)


class Precision(str, Enum):
    """Numeric precision of an engine, fastest first."""

    INT8 = "int8"
    FP16 = "fp16"
    BF16 = "bf16"
    FP32 = "fp32"


PRECISIONS_OF = {
    Target.TENSORRT: (Precision.INT8, Precision.FP16, Precision.FP32),
    Target.TENSORRT_RTX: (Precision.INT8, Precision.FP16, Precision.FP32),
    Target.OPENVINO: (Precision.INT8, Precision.BF16, Precision.FP32),
    Target.ONNXRUNTIME: (Precision.INT8, Precision.FP32),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Settings of a build that its engine depends on.

    Attributes:
        machine: Processor family, such as `x86_64` or `aarch64`.
        amx: Whether the graph is laid out for processors with AMX; others give the same results more slowly.
            ONNX Runtime only.
        weight_bits: Bits of INT8 weights on CPUs: 8 needs VNNI on x86-64, 7 runs everywhere. None lets the
            build choose, and means 8 in records of engines from before there was a choice.
        compute_capabilities: GPUs to build for, such as `SM86`; TensorRT for RTX only.
        workspace_mib: Scratch memory limit of one layer, in MiB; None for the library's default.
        dla: Number of the DLA core to use; None for no DLA.
        version_compatible: Whether later versions of TensorRT can load the engine as well.
        hardware_compatible: Whether every GPU from Ampere on can run the engine.
    """

    machine: str = ""
    amx: bool = False
    weight_bits: int | None = None
    compute_capabilities: tuple[str, ...] = ()
    workspace_mib: int | None = None
    dla: int | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False

    def without_machine(self) -> EngineOptions:
        """Return the same settings without those that depend on the machine."""
        return replace(self, machine="", amx=False, weight_bits=None, compute_capabilities=())

    @property
    def processor(self) -> str:
        """Processor family and required features, in words."""
        if self.amx:
            return f"{self.machine} with AMX"
        return f"{self.machine}, {self.weight_bits}-bit weights" if self.weight_bits else self.machine

    def __post_init__(self) -> None:
        if self.weight_bits not in (None, NARROW_WEIGHT_BITS, FULL_WEIGHT_BITS):
            msg = f"weight_bits must be {NARROW_WEIGHT_BITS} or {FULL_WEIGHT_BITS}, got {self.weight_bits}"
            raise ConfigError(msg)
        if self.workspace_mib is not None and self.workspace_mib < 1:
            msg = f"workspace_mib must be at least 1, got {self.workspace_mib}"
            raise ConfigError(msg)
        if self.dla is not None and self.dla < 0:
            msg = f"dla must be the number of a core, 0 or more, got {self.dla}"
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One kernel of an engine.

    Attributes:
        kind: What it does, in the backend's words, such as `correlation` or `QLinearConv`.
        inputs: Types that it reads, such as `int8` or `float16`.
        constants: Types of its weights, scales and biases.
        outputs: Types that it writes.
        nodes: Names of the ONNX nodes that it computes, fully or in part.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    constants: tuple[str, ...] = ()
    outputs: tuple[str, ...]
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU and its driver.

    Attributes:
        compute_capability: CUDA compute capability, such as `8.6`.
        driver: CUDA version of the driver; engines stay valid when it is updated.
    """

    name: str
    compute_capability: str
    driver: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRecord:
    """What an engine was built from, how, and for which machines: the `.json` file next to it.

    Attributes:
        backend: Backend that runs the engine, such as `onnxruntime`.
        backend_version: Version of the package that built the engine.
        precision: Precision of the engine.
        options: Build settings.
        file: Size and hash of the engine; None if the bundle's graph itself is run.
        gpu: GPU on which the engine was built; None if it needs none.
        graph: Name of the bundle's graph that it was built from.
        graph_sha256: SHA-256 of that graph.
        calibration_sha256: SHA-256 of `calibration.json`; None if nothing was calibrated.
        float_layers: Layers kept in higher precision because of the accuracy they were measured to cost.
        layers: Convolutions and dense layers of the network by name, with the type they compute in.
        kernels: Kernels of the engine, if the backend reports them.
        not_on_dla: Layers that run on the GPU because DLA cannot run them.
        build_s: Time to build, in seconds.
    """

    format: int = FORMAT
    backend: Target
    backend_version: str
    precision: Precision
    options: EngineOptions
    file: FileRecord | None
    gpu: Gpu | None = None
    graph: str = Lowering.PORTABLE.file_name
    graph_sha256: str
    calibration_sha256: str | None = None
    float_layers: tuple[str, ...] = ()
    layers: dict[str, str] = field(default_factory=dict, repr=False)
    kernels: tuple[Kernel, ...] = field(default=(), repr=False)
    not_on_dla: tuple[str, ...] = ()
    build_s: float

    def __post_init__(self) -> None:
        graphs = [lowering.file_name for lowering in Lowering]
        if self.graph not in graphs:
            msg = f"graph must be a graph of the bundle ({', '.join(graphs)}), got {short_repr(self.graph)}"
            raise ConfigError(msg)
        if self.file is None and self.backend.needs_gpu:
            msg = f"an engine of {self.backend.value} is a file, and file is missing"
            raise ConfigError(msg)
        for name in ("graph_sha256", "calibration_sha256"):
            value = getattr(self, name)
            if value is not None and not SHA256.fullmatch(value):
                msg = f"{name} must be 64 hexadecimal digits, got {short_repr(value)}"
                raise ConfigError(msg)


def engine_path(bundle: Path, backend: Target, precision: Precision) -> Path:
    """Return the path of an engine in a bundle; its record has the same name and ends in `.json`."""
    suffix = "engine" if backend.needs_gpu else "onnx"
    return bundle / ENGINES_FOLDER / f"{backend.value}-{precision.value}.{suffix}"


def loaded_path(bundle: Path, record: EngineRecord) -> Path:
    """Return the file that the backend loads: the engine, or the bundle's graph if the engine has no file."""
    if record.file is None:
        return bundle / record.graph
    return engine_path(bundle, record.backend, record.precision)


def machine_family(name: str) -> str:
    """Normalise a `platform.machine()` name, which depends on the system: `AMD64` is `x86_64`."""
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name.lower(), name.lower())


def recorded_engines(bundle: Path) -> tuple[tuple[Target, Precision], ...]:
    """List the engines that a bundle has records of, fastest first."""
    return tuple(
        (target, precision)
        for target in Target
        for precision in PRECISIONS_OF[target]
        if engine_path(bundle, target, precision).with_suffix(".json").is_file()
    )


def read_engine_record(bundle: Path, backend: Target, precision: Precision) -> EngineRecord:
    """Read the record of an engine, whether or not the engine fits this machine.

    Raises:
        ArtifactError: There is no engine, or its record is broken; the message names the build command.
    """
    path = engine_path(bundle, backend, precision)
    command = f"edgeseg build-engine --{precision.value} --target {backend.value} --model {bundle}"
    remedy = f"build it again with `{command} --force`"
    record = read_record(
        EngineRecord,
        path.with_suffix(".json"),
        version=FORMAT,
        missing_message=f"no engine {path}; build it with `{command}`",
        remedy=remedy,
    )
    if (record.backend, record.precision) != (backend, precision):
        found = f"{record.backend.value} {record.precision.value}"
        msg = f"{path.with_suffix('.json')} is the record of another engine ({found}); {remedy}"
        raise ArtifactError(msg)
    return record


def write_engine_record(path: Path, record: EngineRecord) -> None:
    """Write the record of the engine at `path`, atomically."""
    write_record(path.with_suffix(".json"), record)


def publish_engine(staged: Path, path: Path, record: EngineRecord) -> None:
    """Move a built engine and its record to their final place.

    Args:
        staged: The engine in a temporary folder next to `path`; does not exist if `record` has no file.
        path: Final path of the engine.
        record: Record of the engine.

    Raises:
        OSError: A file cannot be written.
    """
    if record.file is None:
        write_engine_record(path, record)
        for stale in (path, path.with_suffix(CACHE_SUFFIX)):
            stale.unlink(missing_ok=True)
        return
    write_engine_record(staged, record)
    publish_pair(staged, path)


def rebuild_command(bundle: Path, record: EngineRecord) -> str:
    """Return the command that builds an engine with the same settings for this machine."""
    options = record.options
    words = [f"edgeseg build-engine --{record.precision.value} --target {record.backend.value}"]
    for name, value in (("workspace-mib", options.workspace_mib), ("dla", options.dla)):
        words += [f"--{name} {value}"] if value is not None else []
    words += ["--version-compatible"] if options.version_compatible else []
    words += ["--hardware-compatible"] if options.hardware_compatible else []
    return " ".join([*words, f"--force --model {bundle}"])
