"""Check that an engine is intact, was built from the bundle's current files and fits this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.files.pairs import exclusive_publishing
from edgeseg.files.reading import read_failure, sha256_from_file

from .engines import (
    ENGINES_FOLDER,
    FULL_WEIGHT_BITS,
    EngineRecord,
    Gpu,
    Precision,
    Target,
    loaded_path,
    read_engine_record,
    rebuild_command,
)
from .external_data import GRAPH_SUFFIX, check_self_contained
from .manifest import CALIBRATION_FILE, FileRecord, file_mismatch
from .refusals import Difference, RefusalKind, UnfitEngineError

if TYPE_CHECKING:
    from .manifest import Bundle

# Hardware-compatible engines run on GPUs from Ampere on.
OLDEST_COMPATIBLE_GPU = (8, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine that was checked to be intact and to fit this bundle and machine.

    Attributes:
        path: File that the backend loads.
    """

    path: Path
    record: EngineRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """Properties of this machine that an engine must fit.

    Attributes:
        machine: Processor family.
        weight_bits: Largest number of bits of INT8 weights that this processor computes with exactly.
        backend_version: Version of the package that would run the engine; None if every version can.
        gpu: GPU of this machine; None if there is none or the backend needs none.
    """

    machine: str
    weight_bits: int = FULL_WEIGHT_BITS
    backend_version: str | None = None
    gpu: Gpu | None = None


def open_engine(bundle: Bundle, backend: Target, precision: Precision, device: DeviceInfo) -> Engine:
    """Find an engine and check that it fits.

    Args:
        bundle: The opened bundle.
        backend: Backend that will run the engine.
        precision: Precision of the engine.
        device: Properties of this machine.

    Raises:
        ArtifactError: There is no engine, or its record is broken.
        UnfitEngineError: The engine is altered or truncated, or was made from another graph or calibration or
            for another machine; the message says what differs and names the command that builds it again.
    """
    try:
        return _open_engine(bundle, backend, precision, device)
    except UnfitEngineError:
        # Another program may be publishing engine and record right now, or was killed between the two.
        with exclusive_publishing(bundle.path / ENGINES_FOLDER):
            return _open_engine(bundle, backend, precision, device)


def _open_engine(bundle: Bundle, backend: Target, precision: Precision, device: DeviceInfo) -> Engine:
    record = read_engine_record(bundle.path, backend, precision)
    path = loaded_path(bundle.path, record)
    remedy = f"`--rebuild` or `{rebuild_command(bundle.path, record)}` builds it again"
    if record.file is not None and (fault := _fault(path, record.file)):
        kind, what = fault
        msg = f"{what}; {remedy}"
        raise UnfitEngineError(msg, record, kind)
    if differences := (*_source_differences(bundle, record), *_machine_differences(record, device)):
        msg = f"{path} was built for another {'; another '.join(map(str, differences))}; {remedy}"
        raise UnfitEngineError(msg, record, RefusalKind.DIFFERENT, differences)
    if record.file is not None and path.suffix == GRAPH_SUFFIX:
        check_self_contained(path)
    return Engine(path=path, record=record)


def _fault(path: Path, recorded: FileRecord) -> tuple[RefusalKind, str] | None:
    """Say what is wrong with the file of an engine; None if nothing is."""
    try:
        fault = file_mismatch(path, recorded)
    except FileNotFoundError:
        return RefusalKind.MISSING, f"{path} is missing"
    except OSError as exc:
        return RefusalKind.UNREADABLE, read_failure(path, exc)
    if fault:
        return RefusalKind.ALTERED, f"{path} was truncated or altered after it was built"
    return None


def _source_differences(bundle: Bundle, record: EngineRecord) -> list[Difference]:
    """Compare what an engine was made from with what the bundle holds now."""
    graph, table = bundle.files.get(record.graph), bundle.path / CALIBRATION_FILE
    found = [("graph", record.graph_sha256, graph.sha256 if graph else "none")]
    if record.calibration_sha256 is not None and table.is_file():
        found.append(("calibration", record.calibration_sha256, sha256_from_file(table)))
    return [
        Difference(subject=name, built=built[:12], here=here[:12])
        for name, built, here in found
        if built != here
    ]


def _machine_differences(record: EngineRecord, device: DeviceInfo) -> list[Difference]:
    """Compare the machine that an engine was made for with this one."""
    options, facts = record.options, [("machine", record.options.machine, device.machine)]
    if record.file is None:
        # The exported graph, which every machine takes.
        return []
    if not record.backend.needs_gpu:
        if options.machine == device.machine and _overflows(record, device):
            facts.append(("processor", "with AVX-512 VNNI or AVX-VNNI", "none found"))
        return _differences(facts)
    if device.backend_version is not None and not _version_loads(record, device.backend_version):
        name = f"version of {record.backend.value}"
        facts.append((name, record.backend_version, device.backend_version))
    if options.compute_capabilities:
        sm = f"SM{device.gpu.compute_capability.replace('.', '')}" if device.gpu else "none"
        if sm not in options.compute_capabilities:
            facts.append(("GPU", ", ".join(options.compute_capabilities), sm))
    elif record.gpu is not None and not _runs_on(record, device.gpu):
        facts.append(("GPU", record.gpu.name, device.gpu.name if device.gpu else "none"))
    return _differences(facts)


def _overflows(record: EngineRecord, device: DeviceInfo) -> bool:
    """Whether sums of products with an engine's INT8 weights would overflow on this machine's processor."""
    bits = record.options.weight_bits or FULL_WEIGHT_BITS
    return record.precision is Precision.INT8 and bits > device.weight_bits


def _version_loads(record: EngineRecord, version: str) -> bool:
    """Whether a version loads an engine: the same version, or a later one if the engine allows it."""
    if record.backend_version == version or not record.options.version_compatible:
        return record.backend_version == version
    built, loading = (
        [int(part) for part in name.split(".")[:2] if part.isdigit()]
        for name in (record.backend_version, version)
    )
    return loading >= built


def _runs_on(record: EngineRecord, gpu: Gpu | None) -> bool:
    """Whether a GPU other than that of the build can run the engine."""
    if gpu is None or not record.options.hardware_compatible:
        return False
    return tuple(map(int, gpu.compute_capability.split("."))) >= OLDEST_COMPATIBLE_GPU


def _differences(facts: list[tuple[str, str, str]]) -> list[Difference]:
    return [Difference(subject=name, built=built, here=here) for name, built, here in facts if built != here]
