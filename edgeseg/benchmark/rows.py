"""Which rows there are; what cannot run here is among them and says why."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.bundle.engines import PRECISIONS_OF, Precision, Target, engines_of
from edgeseg.bundle.manifest import Bundle
from edgeseg.errors import ArtifactError, ConfigError, DependencyError, InputError
from edgeseg.files.reading import sha256_of
from edgeseg.runtime.backends.tensorrt.library import load_library
from edgeseg.runtime.device import FLAVOURS, this_gpu

from .row import Kind, Row
from .row_run import Lane
from .runners.spec import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .config import BenchmarkConfig

EAGER, BEST, RESIZING = "pytorch-eager", "pytorch-best", "pytorch-resizing"
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
class Common:
    """What all recipes share.

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
    def exported_anew(self) -> bool:
        """Whether `bundle` is not the user's."""
        return self.bundle.path != self.model

    def recipe(self, kind: Kind, engine: str, precision: str, **changes: Any) -> Recipe:
        """Make the recipe of a row."""
        return Recipe(
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


def make_lanes(common: Common, patterns: tuple[str, ...]) -> list[Lane]:
    """List the rows, in the order of the table.

    Args:
        common: Bundle, checkpoint and threads.
        patterns: Names to take, `*` standing for anything; empty for all.

    Raises:
        ConfigError: A pattern fits no row.
    """
    lanes = [*_pytorch(common), *_naive(common), *_bundled(common)]
    names = [lane.row.name for lane in lanes]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            msg = f"rows must be some of {', '.join(names)}, got {pattern!r}"
            raise ConfigError(msg)
    return [
        lane
        for lane in lanes
        if not patterns or any(fnmatchcase(lane.row.name, pattern) for pattern in patterns)
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
        if (found := sha256_of(config.checkpoint)) != wanted:
            msg = (
                f"the bundle was exported from {bundle.spec.checkpoint} (SHA-256 begins {wanted[:12]}), and "
                f"{config.checkpoint} is another ({found[:12]}); name that one, or export this one"
            )
            raise InputError(msg)
        return config.checkpoint
    name = Path(bundle.spec.checkpoint).name
    for path in (Path(name), bundle.path.resolve().parent / name):
        if path.is_file() and sha256_of(path) == wanted:
            return path
    return None


def _pytorch(common: Common) -> Iterator[Lane]:
    yield _of_checkpoint(common, EAGER, "PyTorch eager FP32", common.recipe(Kind.PYTORCH, "pytorch", "fp32"))
    best = common.recipe(Kind.PYTORCH, "pytorch", "fp32")
    yield _of_checkpoint(common, BEST, "PyTorch at its best", best)
    if common.scored:
        resizing = common.recipe(Kind.PYTORCH, "pytorch", "fp32", own_resizing=True)
        yield _of_checkpoint(common, RESIZING, "PyTorch, own resizing", resizing)


def _naive(common: Common) -> Iterator[Lane]:
    """What users have today: a whole torchvision model, by other people's converters."""
    for target, label, suffix in (
        (Target.ONNXRUNTIME, "torchvision's ONNX export", "onnx"),
        (Target.OPENVINO, "OpenVINO's conversion", "xml"),
    ):
        path = common.folder / f"naive-{target.value}.{suffix}"
        recipe = common.recipe(Kind.NAIVE, target.value, Precision.FP32.value, path=str(path))
        yield _of_checkpoint(common, f"naive-{target.value}", label, recipe)


def _of_checkpoint(common: Common, name: str, label: str, recipe: Recipe) -> Lane:
    lane = _lane(name, label, recipe)
    if common.checkpoint is None:
        lane.failure, lane.refused = (
            f"it needs {common.bundle.spec.checkpoint}, which the bundle was exported from and which is "
            "neither here nor beside the bundle; name it with --checkpoint",
            True,
        )
    return lane


def _bundled(common: Common) -> Iterator[Lane]:
    for target in (Target.ONNXRUNTIME, Target.OPENVINO):
        for precision in reversed(PRECISIONS_OF[target]):
            yield _engine(common, target, precision)
    for target in (Target.TENSORRT, Target.TENSORRT_RTX):
        yield from _on_gpu(common, target)


def _on_gpu(common: Common, target: Target) -> Iterator[Lane]:
    """Every engine that was built, or one row that says why there is none."""
    reason = _why_not(target)
    built = [precision for kind, precision in engines_of(common.model) if kind is target]
    if built and not reason:
        yield from (_engine(common, target, precision) for precision in reversed(built))
        return
    command = f"edgeseg build-engine --target {target.value} --model {common.model}"
    recipe = common.recipe(Kind.BUNDLE, target.value, Precision.FP16.value)
    lane = _lane(target.value, TITLES[target], recipe)
    lane.failure, lane.refused = reason or f"no engine was built; `{command}` builds one", True
    yield lane


def _why_not(target: Target) -> str:
    """Why this machine runs no engine of a kind; empty if it does."""
    try:
        gpu = this_gpu()
        load_library(FLAVOURS[target], purpose="run an engine")
    except (ArtifactError, DependencyError) as exc:
        # The rest is advice, which `edgeseg doctor` gives too.
        return str(exc).partition(";")[0]
    return "" if gpu else "no GPU"


def _engine(common: Common, target: Target, precision: Precision) -> Lane:
    name = f"{target.value}-{precision.value}"
    label = f"{TITLES[target]} {precision.value.upper()}"
    return _lane(name, label, common.recipe(Kind.BUNDLE, target.value, precision.value))


def _lane(name: str, label: str, recipe: Recipe) -> Lane:
    row = Row(name=name, label=label, kind=recipe.kind, engine=recipe.engine, precision=recipe.precision)
    return Lane(row=row, recipe=recipe)
