"""Choose the rows of a benchmark; those that cannot run here are included with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.bundle.engines import PRECISIONS_OF, Precision, Target, recorded_engines
from edgeseg.bundle.manifest import Bundle
from edgeseg.errors import ArtifactError, ConfigError, DependencyError, InputError
from edgeseg.files.reading import sha256_from_file
from edgeseg.runtime.backends.tensorrt.library import load_library
from edgeseg.runtime.device import TENSORRT_KINDS, find_gpu

from .row import Row, RowKind
from .row_run import RowRun
from .runners.spec import RunnerSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .config import BenchmarkConfig

EAGER, BEST, OWN_RESIZING = "pytorch-eager", "pytorch-best", "pytorch-resizing"
FP32 = "onnxruntime-fp32"
# What ratios refer to: the first of these that ran.
BASELINES = (EAGER, FP32)
TITLES = {
    Target.ONNXRUNTIME: "ONNX Runtime",
    Target.OPENVINO: "OpenVINO",
    Target.TENSORRT: "TensorRT",
    Target.TENSORRT_RTX: "TensorRT for RTX",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What all rows of a run share.

    Attributes:
        bundle: What is measured.
        model: The user's bundle; `bundle` is another where it was exported anew for another batch.
        folder: For files that rows need.
        scored: There are annotations, so that what letterboxing costs can be shown.
    """

    bundle: Bundle
    model: Path
    folder: Path
    checkpoint: Path | None
    factory: str | None
    threads: int
    cores: tuple[int, ...]
    scored: bool = False

    @property
    def is_rebatched(self) -> bool:
        """Whether `bundle` is not the user's."""
        return self.bundle.path != self.model

    def runner_spec(self, kind: RowKind, engine: str, precision: str, **changes: Any) -> RunnerSpec:
        """Make the runner spec of a row."""
        return RunnerSpec(
            kind=kind,
            engine=engine,
            precision=precision,
            model=str(self.bundle.path),
            checkpoint=None if self.checkpoint is None else str(self.checkpoint),
            factory=self.factory,
            threads=self.threads,
            cores=self.cores,
            **changes,
        )


def make_row_runs(context: RunContext, patterns: tuple[str, ...]) -> list[RowRun]:
    """List the rows, in the order of the table.

    Args:
        context: Bundle, checkpoint and threads.
        patterns: Names to take, `*` standing for anything; empty for all.

    Raises:
        ConfigError: A pattern fits no row.
    """
    row_runs = [*_pytorch_rows(context), *_whole_model_rows(context), *_bundle_rows(context)]
    names = [row_run.row.name for row_run in row_runs]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            msg = f"rows must be some of {', '.join(names)}, got {pattern!r}"
            raise ConfigError(msg)
    return [
        row_run
        for row_run in row_runs
        if not patterns or any(fnmatchcase(row_run.row.name, pattern) for pattern in patterns)
    ]


def find_checkpoint(config: BenchmarkConfig, bundle: Bundle) -> Path | None:
    """Find what the bundle was exported from: what the user names, else its file name here or beside it.

    Raises:
        InputError: What the user names is not there or is another.
    """
    wanted = bundle.spec.checkpoint_sha256
    if config.checkpoint is not None:
        if not config.checkpoint.is_file():
            msg = f"no checkpoint at {config.checkpoint}"
            raise InputError(msg)
        if (found := sha256_from_file(config.checkpoint)) != wanted:
            msg = (
                f"the bundle was exported from {bundle.spec.checkpoint} (SHA-256 begins {wanted[:12]}), and "
                f"{config.checkpoint} is another ({found[:12]}); name that one, or export this one"
            )
            raise InputError(msg)
        return config.checkpoint
    name = Path(bundle.spec.checkpoint).name
    for path in (Path(name), bundle.path.resolve().parent / name):
        if path.is_file() and sha256_from_file(path) == wanted:
            return path
    return None


def _pytorch_rows(context: RunContext) -> Iterator[RowRun]:
    yield _checkpoint_row(
        context, EAGER, "PyTorch eager FP32", context.runner_spec(RowKind.PYTORCH, "pytorch", "fp32")
    )
    best = context.runner_spec(RowKind.PYTORCH, "pytorch", "fp32")
    yield _checkpoint_row(context, BEST, "PyTorch at its best", best)
    if context.scored:
        resizing = context.runner_spec(RowKind.PYTORCH, "pytorch", "fp32", own_resizing=True)
        yield _checkpoint_row(context, OWN_RESIZING, "PyTorch, own resizing", resizing)


def _whole_model_rows(context: RunContext) -> Iterator[RowRun]:
    """What users have today: a whole torchvision model, by other people's converters."""
    for target, label, suffix in (
        (Target.ONNXRUNTIME, "torchvision's ONNX export", "onnx"),
        (Target.OPENVINO, "OpenVINO's conversion", "xml"),
    ):
        path = context.folder / f"naive-{target.value}.{suffix}"
        runner_spec = context.runner_spec(
            RowKind.WHOLE_MODEL, target.value, Precision.FP32.value, path=str(path)
        )
        yield _checkpoint_row(context, f"naive-{target.value}", label, runner_spec)


def _checkpoint_row(context: RunContext, name: str, label: str, runner_spec: RunnerSpec) -> RowRun:
    row_run = _row_run(name, label, runner_spec)
    if context.checkpoint is None:
        row_run.failure, row_run.refused = (
            f"it needs {context.bundle.spec.checkpoint}, which the bundle was exported from and which is "
            "neither here nor beside the bundle; name it with --checkpoint",
            True,
        )
    return row_run


def _bundle_rows(context: RunContext) -> Iterator[RowRun]:
    for target in (Target.ONNXRUNTIME, Target.OPENVINO):
        for precision in reversed(PRECISIONS_OF[target]):
            yield _engine(context, target, precision)
    for target in (Target.TENSORRT, Target.TENSORRT_RTX):
        yield from _gpu_rows(context, target)


def _gpu_rows(context: RunContext, target: Target) -> Iterator[RowRun]:
    """Every engine that was built, or one row that says why there is none."""
    reason = _unavailable_reason(target)
    built = [precision for kind, precision in recorded_engines(context.model) if kind is target]
    if built and not reason:
        yield from (_engine(context, target, precision) for precision in reversed(built))
        return
    command = f"edgeseg build-engine --target {target.value} --model {context.model}"
    runner_spec = context.runner_spec(RowKind.BUNDLE, target.value, Precision.FP16.value)
    row_run = _row_run(target.value, TITLES[target], runner_spec)
    row_run.failure, row_run.refused = reason or f"no engine was built; `{command}` builds one", True
    yield row_run


def _unavailable_reason(target: Target) -> str:
    """Why this machine runs no engine of a kind; empty if it does."""
    try:
        gpu = find_gpu()
        load_library(TENSORRT_KINDS[target], purpose="run an engine")
    except (ArtifactError, DependencyError) as exc:
        # The rest is advice, which `edgeseg doctor` gives too.
        return str(exc).partition(";")[0]
    return "" if gpu else "no GPU"


def _engine(context: RunContext, target: Target, precision: Precision) -> RowRun:
    name = f"{target.value}-{precision.value}"
    label = f"{TITLES[target]} {precision.value.upper()}"
    return _row_run(name, label, context.runner_spec(RowKind.BUNDLE, target.value, precision.value))


def _row_run(name: str, label: str, runner_spec: RunnerSpec) -> RowRun:
    row = Row(
        name=name,
        label=label,
        kind=runner_spec.kind,
        engine=runner_spec.engine,
        precision=runner_spec.precision,
    )
    return RowRun(row=row, runner_spec=runner_spec)
