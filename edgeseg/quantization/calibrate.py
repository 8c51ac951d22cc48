"""From a bundle and a folder of images to its calibration table, checked before it is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgeseg.bundle.engines import FULL_WEIGHTS, EngineOptions
from edgeseg.bundle.manifest import DEFAULT_PATH, TABLE_FILE, open_bundle
from edgeseg.calibration.collector import collect
from edgeseg.calibration.images import CalibrationConfig
from edgeseg.calibration.table import Method, write_table
from edgeseg.dataset.annotations import read_annotations
from edgeseg.dataset.labelled import image_folder_of, labelled_images
from edgeseg.errors import ConfigError, ParityError
from edgeseg.files.locks import locked
from edgeseg.files.records import check_folder
from edgeseg.files.temporary import sweep
from edgeseg.graphs.layers import LayerGraph
from edgeseg.runtime.host.machine import Host, weight_bits
from edgeseg.runtime.model import load
from edgeseg.spec import Lowering

from .candidate import Trials
from .evaluator import AgreementYardstick, AnnotatedYardstick, Score
from .plan import taps_of
from .sensitivity import Bench, BlockCost, Budget, block_costs, fit_budget

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeseg.bundle.manifest import Bundle

    from .evaluator import Yardstick

# Points of AP below FP32 at which something must be wrong; docs/int8.md has what was measured.
MAX_PLAUSIBLE_DROP = 30.0
# A program that has just exported the bundle lets go of it.
WAIT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateConfig:
    """What to calibrate with and how far to go.

    Attributes:
        calib: Folder of images like those that the model will see; no annotations needed.
        model: Bundle.
        images: How many of them; None for those that are there, up to 100.
        seed: Of the choice.
        method: How ranges are cut.
        bit_depth: How many bits of a sample are used, in images of more than 8; None to find it for each.
        resume: Go on with an interrupted calibration.
        weight_bits: Of the engine that INT8 is measured for; None for that of this machine.
        check: Compare INT8 with FP32 before the table is kept.
        sensitivity: Rank the blocks by what rounding each alone costs.
        max_map_drop: Points of AP that may be lost on the annotated images; None for no budget.
        annotations: COCO annotations to measure AP on; None to measure agreement with FP32.
        annotated_images: Their images; None for where `edgeseg evaluate` looks.
        max_annotated: Take the first by image id; None for all.
        force: Replace a table that is there.
    """

    calib: Path
    model: Path = DEFAULT_PATH
    images: int | None = None
    seed: int = 0
    method: Method = Method.ENTROPY
    bit_depth: int | None = None
    resume: bool = False
    weight_bits: int | None = None
    check: bool = True
    sensitivity: bool = False
    max_map_drop: float | None = None
    annotations: Path | None = None
    annotated_images: Path | None = None
    max_annotated: int | None = None
    force: bool = False

    @property
    def measures(self) -> bool:
        """Whether INT8 is compared with FP32."""
        return self.check or self.sensitivity or self.max_map_drop is not None

    @property
    def chosen_images(self) -> CalibrationConfig:
        """What of this concerns the images and the ranges."""
        return CalibrationConfig(
            folder=self.calib,
            images=self.images,
            seed=self.seed,
            method=self.method,
            bit_depth=self.bit_depth,
            resume=self.resume,
        )

    def __post_init__(self) -> None:
        # Refuses settings now and not after the images were looked at.
        _ = self.chosen_images, EngineOptions(weight_bits=self.weight_bits)
        if self.max_map_drop is None:
            return
        if self.annotations is None:
            msg = "max_map_drop needs annotations to measure AP on; pass --annotations FILE"
            raise ConfigError(msg)
        if not self.max_map_drop >= 0:
            msg = f"max_map_drop must be 0 or more points of AP, got {self.max_map_drop}"
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationReport:
    """What a calibration gave.

    Attributes:
        table: Path of the file.
        measured_on: The annotation file, or `agreement with FP32`; empty if nothing was measured.
        weight_bits: Of the network that INT8 was measured with.
        fp32: Score of the FP32 graph.
        int8: Score of the network that the table stands for.
        costs: Costliest first; empty unless asked for or needed.
        budget: None unless asked for.
        notes: What a user should know, such as an image that was skipped.
    """

    table: str
    method: Method
    images: int
    ranges: int
    float_layers: tuple[str, ...] = ()
    measured_on: str = ""
    weight_bits: int = FULL_WEIGHTS
    fp32: Score | None = None
    int8: Score | None = None
    costs: tuple[BlockCost, ...] = ()
    budget: Budget | None = None
    notes: tuple[str, ...] = ()


class AccuracyError(ParityError):
    """INT8 loses more than it may.

    Attributes:
        report: What was measured; its table was not written.
    """

    def __init__(self, message: str, report: CalibrationReport) -> None:
        self.report = report
        super().__init__(message)


def calibrate(
    config: CalibrateConfig,
    progress: Callable[[str], None] = lambda line: None,
    note: Callable[[str], None] = lambda line: None,
) -> CalibrationReport:
    """Measure the ranges of a bundle's values and write its `calibration.json`.

    Args:
        config: What to do.
        progress: Called with a line at each step.
        note: Called with what a user should know, such as an image that was skipped.

    Raises:
        CalibrationError: The images do not do, or a value is not finite.
        AccuracyError: INT8 loses more than the budget, or so much that something is wrong.
        ArtifactError: The bundle cannot be opened.
        ConfigError: A table is there and `force` is off, settings cannot work, or another program
            calibrates the same bundle.
        InputError: The annotations do not do.
    """
    bundle = open_bundle(config.model)
    check_folder(bundle.path)
    with locked(bundle.path, "calibrates", WAIT_S):
        sweep(bundle.path)
        return _calibrated(config, bundle, progress, note)


def _calibrated(
    config: CalibrateConfig,
    bundle: Bundle,
    progress: Callable[[str], None],
    note: Callable[[str], None],
) -> CalibrationReport:
    """Calibrate a bundle that no other program calibrates."""
    target = bundle.path / TABLE_FILE
    if target.exists() and not config.force:
        msg = f"{target} exists; build from it without --calib, or pass --force to replace it"
        raise ConfigError(msg)
    notes: list[str] = []

    def told(line: str) -> None:
        notes.append(line)
        note(line)

    ruler = _ruler(config, bundle, progress, told) if config.measures else None
    bits = _bits_to_measure(config, told)
    trials = Trials(bundle, bits)
    graph = LayerGraph(trials.models[0])
    taps = [taps_of(LayerGraph(model)) for model in trials.models]
    table = collect(bundle, taps, config.chosen_images, progress=progress, note=told)
    report = CalibrationReport(
        table=str(target),
        method=table.method,
        images=table.images,
        ranges=len(table.ranges),
        weight_bits=bits,
        notes=tuple(notes),
    )
    if ruler is not None:
        bench = Bench(trials=trials, table=table, graph=graph, yardstick=ruler.yardstick, base=ruler.base)
        report = _judged(config, bench, replace(report, measured_on=ruler.name, fp32=ruler.base), progress)
    # Ranges are named after the network's weights, which are the same at every input size.
    for each in bundle.sizes:
        graph_sha256 = each.files[Lowering.PORTABLE.file_name].sha256
        kept = replace(table, graph_sha256=graph_sha256, float_layers=report.float_layers)
        write_table(kept, each.path / TABLE_FILE)
    return report


def _bits_to_measure(config: CalibrateConfig, note: Callable[[str], None]) -> int:
    """Choose the weights to measure with: those of the engine, if this processor computes them exactly."""
    here = weight_bits(Host())
    asked = config.weight_bits or here
    if asked > here and config.measures:
        note(
            f"INT8 is measured with {here}-bit weights instead of {asked}-bit: this processor has neither "
            "AVX-512 VNNI nor AVX-VNNI and would compute the latter wrongly"
        )
    return min(asked, here)


class _Ruler(NamedTuple):
    """A yardstick, what it is called, and what FP32 reaches on it."""

    name: str
    yardstick: Yardstick
    base: Score


def _ruler(
    config: CalibrateConfig, bundle: Bundle, progress: Callable[[str], None], note: Callable[[str], None]
) -> _Ruler:
    """Make the yardstick before the long part, so that unusable annotations are told at once."""
    with load(bundle.path, backend="onnxruntime", precision="fp32") as fp32:
        if config.annotations is None:
            progress("finding what FP32 finds")
            name, yardstick = (
                "agreement with FP32",
                AgreementYardstick(fp32, config.calib, bit_depth=config.bit_depth),
            )
            return _Ruler(name, yardstick, yardstick.score(fp32))
        labelled = labelled_images(
            read_annotations(config.annotations),
            config.annotated_images or image_folder_of(config.annotations),
            bundle.spec.class_names,
            max_images=config.max_annotated,
            bit_depth=config.bit_depth,
            progress=progress,
        )
        for remark in [
            *(f"skipped {item.name}: {item.reason}" for item in labelled.skipped),
            labelled.remark,
            *labelled.notes,
        ]:
            if remark:
                note(remark)
        progress("measuring FP32")
        annotated = AnnotatedYardstick(labelled)
        return _Ruler(str(config.annotations), annotated, annotated.score(fp32))


def _judged(
    config: CalibrateConfig, bench: Bench, report: CalibrationReport, progress: Callable[[str], None]
) -> CalibrationReport:
    """Measure INT8 and refuse it where it loses too much.

    Raises:
        AccuracyError: As `calibrate`.
    """
    costs = block_costs(bench, progress) if config.sensitivity else ()
    if config.max_map_drop is not None:
        return _within_budget(config.max_map_drop, bench, replace(report, costs=costs), progress)
    progress("measuring INT8")
    score = bench.score(())
    report = replace(report, costs=costs, int8=score)
    if (drop := score.drop_from(bench.base)) > MAX_PLAUSIBLE_DROP:
        msg = (
            f"INT8 must stay within {MAX_PLAUSIBLE_DROP:g} points of FP32 and lost {drop:.1f} "
            f"({report.measured_on}), so the images do not stand for what the model sees, or something is "
            "wrong; no table was written. --sensitivity shows where it is lost"
        )
        raise AccuracyError(msg, report)
    return report


def _within_budget(
    max_drop: float, bench: Bench, report: CalibrationReport, progress: Callable[[str], None]
) -> CalibrationReport:
    costs = report.costs

    def ranked() -> tuple[BlockCost, ...]:
        nonlocal costs
        costs = costs or block_costs(bench, progress)
        return costs

    budget = fit_budget(bench, max_drop, ranked, progress)
    report = replace(report, costs=costs, budget=budget, int8=budget.score, float_layers=budget.float_layers)
    if not budget.met:
        msg = (
            f"INT8 must lose at most {max_drop:g} points of AP and loses "
            f"{budget.score.drop_from(bench.base):.2f} with every block reverted; no table was written"
        )
        raise AccuracyError(msg, report)
    return report
