"""From a bundle and its calibration table to an engine."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.bundle import DEFAULT_PATH, file_record, open_bundle, sha256_of
from edgeseg.calibration.table import TABLE_FILE, table_for
from edgeseg.engines import Engine, EngineRecord, engine_path, machine_family, write_record
from edgeseg.errors import ConfigError
from edgeseg.optional import require
from edgeseg.spec import Lowering

from .qdq_onnxruntime import onnxruntime_graph
from .trial import scheme_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeseg.bundle import Bundle
    from edgeseg.calibration.table import CalibrationTable

MACHINES = ("x86_64", "aarch64")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """What to build.

    Attributes:
        model: Bundle with a calibration table.
        machine: Processor family of the machine that the engine is for; None for this one.
        force: Replace an engine that is there.
    """

    model: Path = DEFAULT_PATH
    machine: str | None = None
    force: bool = False

    @property
    def family(self) -> str:
        """Processor family to build for.

        Raises:
            ConfigError: ONNX Runtime has no integer kernels there that this knows how to feed.
        """
        name = machine_family(self.machine or platform.machine())
        if name not in MACHINES:
            msg = f"an INT8 engine can be built for {' or '.join(MACHINES)}, got {name}"
            raise ConfigError(msg)
        return name


def check_engine_target(config: BuildConfig) -> Path:
    """Say before the work whether an engine may be written; gives its path.

    Raises:
        ConfigError: One is there and `force` is off, or the machine is unknown.
    """
    path = engine_path(config.model, "onnxruntime", "int8")
    if config.family and path.exists() and not config.force:
        msg = f"{path} exists; pass --force to replace it"
        raise ConfigError(msg)
    return path


def build_engine(config: BuildConfig, progress: Callable[[str], None] = lambda line: None) -> Engine:
    """Build the 8-bit engine of ONNX Runtime from a bundle's calibration table.

    Args:
        config: What to build.
        progress: Called with a line at each step.

    Raises:
        ArtifactError: The bundle cannot be opened, or its table is missing or stale.
        CalibrationError: The table lacks a range.
        ConfigError: An engine is there and `force` is off.
    """
    path = check_engine_target(config)
    bundle = open_bundle(config.model)
    table = table_for(bundle)
    progress(f"building {path.name}")
    start = time.perf_counter()
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".onnx.partial")
    try:
        _write(bundle, table, config.family, partial)
        record = _record(bundle, table, partial, config.family, time.perf_counter() - start)
        # The old record goes first: an engine without one is refused, a wrong pair would not be.
        path.with_suffix(".json").unlink(missing_ok=True)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    write_record(path, record)
    return Engine(path=path, record=record)


def _write(bundle: Bundle, table: CalibrationTable, family: str, path: Path) -> None:
    onnx = require("onnx", purpose="write an 8-bit graph")
    model = onnx.load(bundle.graph_path(Lowering.PORTABLE))
    onnx.save(onnxruntime_graph(model, table, scheme_for(family)), path)


def _record(bundle: Bundle, table: CalibrationTable, path: Path, family: str, build_s: float) -> EngineRecord:
    ort = require("onnxruntime", purpose="build an engine")
    return EngineRecord(
        backend="onnxruntime",
        backend_version=ort.__version__,
        precision="int8",
        machine=family,
        file=file_record(path),
        graph_sha256=bundle.files[Lowering.PORTABLE.file_name].sha256,
        calibration_sha256=sha256_of(bundle.path / TABLE_FILE),
        float_layers=table.float_layers,
        build_s=round(build_s, 3),
    )
