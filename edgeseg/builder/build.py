"""Build the engines of a bundle."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgeseg.bundle.compatibility import Engine, open_engine
from edgeseg.bundle.engines import (
    EngineOptions,
    EngineRecord,
    Precision,
    Target,
    engine_path,
    loaded_path,
    publish_engine,
    recorded_engines,
)
from edgeseg.bundle.manifest import CALIBRATION_FILE, DEFAULT_PATH, file_record, open_bundle
from edgeseg.bundle.refusals import UnfitEngineError
from edgeseg.calibration.table import table_for
from edgeseg.errors import ArtifactError, ConfigError, EdgeSegError
from edgeseg.files.pairs import exclusive_publishing
from edgeseg.files.reading import sha256_from_file
from edgeseg.files.records import mapped_write_errors
from edgeseg.files.temporary import sweep, temporary_folder
from edgeseg.runtime.device import read_device_info
from edgeseg.runtime.targets import choose_engine, resolve_options

from .cpu_engine import build_graph_engine
from .gpu_engine import build_tensorrt_engine, gpu_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.runtime.targets import BuildChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """What to build.

    Attributes:
        model: Bundle, for `int8` with a calibration table.
        target: None for the fastest of this machine.
        precision: None for the fastest that needs no calibration.
        options: Settings of the build; what is left open is this machine's.
        force: Replace an engine that is there.
    """

    model: Path = DEFAULT_PATH
    target: Target | None = None
    precision: Precision | None = None
    options: EngineOptions = field(default_factory=EngineOptions)
    force: bool = False


class BuildResult(NamedTuple):
    """An engine, why it is of that kind, and those for the bundle's other input sizes."""

    engine: Engine
    reason: str
    other_sizes: tuple[Engine, ...] = ()


def check_build(config: BuildConfig) -> BuildChoice:
    """Say before the work whether an engine may be built, and of which kind.

    Raises:
        ConfigError: One is there and `force` is off, or the settings do not go together.
    """
    choice = choose_engine(config.target, config.precision, config.options)
    path = engine_path(config.model, choice.target, choice.precision)
    if path.with_suffix(".json").exists() and not config.force:
        msg = f"{path.with_suffix('.json')} exists; pass --force to replace that engine"
        raise ConfigError(msg)
    return choice


def build_engine(config: BuildConfig, progress: Callable[[str], None] = lambda line: None) -> BuildResult:
    """Build an engine for each input size of a bundle; one is there whole, with its record, or not at all.

    Args:
        config: What to build.
        progress: Called with a line at each step.

    Raises:
        ArtifactError: The bundle cannot be opened, or its calibration is missing or stale.
        BuildError: The builder refuses the graph, or memory ran out.
        CalibrationError: The table lacks a range.
        ConfigError: An engine is there and `force` is off, or the settings do not go together.
        DependencyError: The target is not installed, or its GPU is missing.
        EdgeSegError: The bundle cannot be written to.
    """
    choice = check_build(config)
    bundle = open_bundle(config.model)
    first, *others = (_build_for_size(each, choice, config.options, progress) for each in bundle.sizes)
    return BuildResult(first, choice.reason, tuple(others))


def _build_for_size(
    bundle: Bundle, choice: BuildChoice, options: EngineOptions, progress: Callable[[str], None]
) -> Engine:
    """Build the engine of one input size."""
    path = engine_path(bundle.path, choice.target, choice.precision)
    progress(f"building {path.name} at {bundle.spec.input_size_hw[0]}x{bundle.spec.input_size_hw[1]}")
    start = time.perf_counter()
    with mapped_write_errors(path.parent):
        path.parent.mkdir(exist_ok=True)
        with exclusive_publishing(path.parent):
            sweep(path.parent)
        with temporary_folder(path.parent) as folder:
            temporary_path = folder / path.name
            record = _build_record(bundle, choice, options, temporary_path, progress)
            record = replace(record, build_s=round(time.perf_counter() - start, 3))
            publish_engine(temporary_path, path, record)
    return Engine(path=loaded_path(bundle.path, record), record=record)


def rebuild_unfit(
    model: Path,
    note: Callable[[str], None] = lambda line: None,
    progress: Callable[[str], None] = lambda line: None,
) -> None:
    """Build again, as it was built, every engine of a bundle that does not fit this machine or the bundle.

    An engine that cannot be built here is reported and stays as it is.

    Args:
        model: Bundle.
        note: Called with what was found unfit, and with what could not be mended.
        progress: Called with a line at each step of a build.

    Raises:
        ArtifactError: The bundle cannot be opened.
    """
    for bundle in open_bundle(model).sizes:
        _rebuild_unfit(bundle, note, progress)


def _rebuild_unfit(bundle: Bundle, note: Callable[[str], None], progress: Callable[[str], None]) -> None:
    for target, precision in recorded_engines(bundle.path):
        try:
            open_engine(bundle, target, precision, read_device_info(target))
        except UnfitEngineError as exc:
            note(str(exc))
            record = exc.record
        except ArtifactError as exc:
            # Its record is broken, and nothing else says how it was built.
            note(str(exc))
            continue
        else:
            continue
        # Rebuild for this machine, even if the engine was built for another one.
        options = record.options.without_machine()
        try:
            _build_for_size(bundle, choose_engine(target, precision, options), options, progress)
        except EdgeSegError as exc:
            note(f"{target.value} {precision.value} stays as it is: {exc}")


def _build_record(
    bundle: Bundle,
    choice: BuildChoice,
    options: EngineOptions,
    path: Path,
    progress: Callable[[str], None],
) -> EngineRecord:
    """Build at `path`, and tell what was built."""
    int8 = choice.precision is Precision.INT8
    table = table_for(bundle) if int8 else None
    options = resolve_options(choice.target, choice.precision, options)
    if choice.target.needs_gpu:
        options = gpu_options(choice.target, options)
        built = build_tensorrt_engine(bundle, choice, options, table, path, progress)
    else:
        built = build_graph_engine(bundle, choice, options, table, path)
    return EngineRecord(
        backend=choice.target,
        precision=choice.precision,
        options=options,
        file=file_record(path) if path.exists() else None,
        calibration_sha256=sha256_from_file(bundle.path / CALIBRATION_FILE) if int8 else None,
        float_layers=table.float_layers if table else (),
        build_s=0.0,
        backend_version=built.backend_version,
        graph=built.lowering.file_name,
        graph_sha256=built.graph_sha256,
        gpu=built.gpu,
        layers=built.layers,
        kernels=built.kernels,
        not_on_dla=built.not_on_dla,
    )
