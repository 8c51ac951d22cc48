"""The engines of a bundle: each built for one backend, precision and kind of machine, with its record."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .bundle import FileRecord, file_record
from .errors import ArtifactError
from .record import json_from_record, record_from_json
from .spec import Lowering

if TYPE_CHECKING:
    from .bundle import Bundle

FOLDER = "engines"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRecord:
    """What an engine was built from, how, and for which machines: the .json beside it.

    Attributes:
        backend: What runs it, such as `onnxruntime`.
        backend_version: Of the package that built it.
        precision: `fp32`, `fp16` or `int8`.
        machine: Processor family, such as `x86_64` or `aarch64`.
        file: Size and hash of the engine.
        graph: Name of the bundle's graph that it was built from.
        graph_sha256: Of that graph.
        calibration_sha256: Of `calibration.json`; None where nothing was calibrated.
        float_layers: Layers left in higher precision because their cost in accuracy was measured.
        build_s: Time to build, in seconds.
    """

    format: int = FORMAT
    backend: str
    backend_version: str
    precision: str
    machine: str
    file: FileRecord
    graph: str = Lowering.PORTABLE.file_name
    graph_sha256: str
    calibration_sha256: str | None = None
    float_layers: tuple[str, ...] = ()
    build_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine that has been found whole and made from the bundle's present graph."""

    path: Path
    record: EngineRecord


def engine_path(bundle: Path, backend: str, precision: str) -> Path:
    """Where a bundle keeps an engine; its record has the same name and ends in `.json`."""
    return bundle / FOLDER / f"{backend}-{precision}.onnx"


def machine_family(name: str) -> str:
    """Processor family by one name: `platform.machine()` has `AMD64` and `arm64` where others differ."""
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name.lower(), name.lower())


def open_engine(bundle: Bundle, backend: str, precision: str, machine: str) -> Engine:
    """Find an engine and check that it fits.

    Args:
        bundle: Opened.
        backend: Such as `onnxruntime`.
        precision: Such as `int8`.
        machine: Family of this machine's processor.

    Raises:
        ArtifactError: There is none, it is altered or truncated, or made from another graph or for another
            machine; the message names the command that builds it again.
    """
    path = engine_path(bundle.path, backend, precision)
    again = f"build it with `edgeseg build-engine --{precision} --model {bundle.path}`"
    record = _read_record(path.with_suffix(".json"), again)
    _check(path, record, again)
    graph = bundle.files.get(record.graph)
    facts = {
        "graph": (record.graph_sha256, graph.sha256 if graph else "none"),
        "machine": (record.machine, machine),
    }
    for name, (built, here) in facts.items():
        if built != here:
            msg = f"{path} was built for another {name} ({built[:16]}, here {here[:16]}); {again}"
            raise ArtifactError(msg)
    return Engine(path=path, record=record)


def write_record(path: Path, record: EngineRecord) -> None:
    """Write the record of the engine at `path`, atomically."""
    target = path.with_suffix(".json")
    partial = target.with_suffix(".json.partial")
    text = json.dumps(json_from_record(record), indent=2, ensure_ascii=False)
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(target)


def _read_record(path: Path, again: str) -> EngineRecord:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as exc:
        msg = f"no engine {path.with_suffix('.onnx')}; {again}"
        raise ArtifactError(msg) from exc
    except OSError as exc:
        msg = f"cannot read {path}: {exc.strerror}"
        raise ArtifactError(msg) from exc
    except ValueError as exc:
        msg = f"{path} is not valid JSON ({exc}); {again}"
        raise ArtifactError(msg) from exc
    if isinstance(data, dict) and data.get("format") != FORMAT:
        msg = f"{path} is of format {data.get('format')!r}, not {FORMAT}; {again}"
        raise ArtifactError(msg)
    return record_from_json(EngineRecord, data, source=str(path))


def _check(path: Path, record: EngineRecord, again: str) -> None:
    try:
        found = file_record(path)
    except OSError as exc:
        msg = f"cannot read {path}: {exc.strerror}; {again}"
        raise ArtifactError(msg) from exc
    if found != record.file:
        msg = f"{path} was truncated or altered after it was built; {again}"
        raise ArtifactError(msg)
