"""Calibrate a bundle on a folder of images, and check the table before it is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgeseg.bundle.engines import FULL_WEIGHT_BITS, EngineOptions
from edgeseg.bundle.manifest import CALIBRATION_FILE, DEFAULT_PATH, open_bundle
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

from .candidate import QuantisedModels
from .evaluator import AgreementEvaluator, AnnotationEvaluator, Score
from .plan import range_observers
from .sensitivity import AccuracyBudget, BlockCost, SensitivityAnalysis, block_costs, fit_to_budget

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeseg.bundle.manifest import Bundle

    from .evaluator import Evaluator

# Points of AP below FP32 at which something must be wrong; docs/int8.md has what was measured.
MAX_PLAUSIBLE_DROP = 30.0
# Gives a program that has just exported the bundle time to release its lock.
LOCK_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateConfig:
    """What to calibrate with and how far to go.

    Attributes:
        calib: Folder of images like those that the model will see; no annotations needed.
        model: Bundle.
        images: Number of images to use; None for all usable ones, up to 100.
        seed: Random seed for choosing the images.
        method: How ranges are derived from histograms.
        bit_depth: Bits used per sample in images of more than 8 bits; None to detect them for each image.
        resume: Continue an interrupted calibration.
        weight_bits: Weight bits of the engine that INT8 is measured for; None for this machine's default.
        check: Compare INT8 with FP32 before the table is kept.
        sensitivity: Rank the blocks by the accuracy lost when each alone is quantised.
        max_map_drop: Points of AP that may be lost on the annotated images; None for no budget.
        annotations: COCO annotations to measure AP on; None to measure agreement with FP32.
        annotated_images: Folder of the annotated images; None for where `edgeseg evaluate` looks.
        max_annotated: Number of annotated images to use, the first by image id; None for all.
        force: Replace an existing table.
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
    def compares_with_fp32(self) -> bool:
        """Whether INT8 is compared with FP32."""
        return self.check or self.sensitivity or self.max_map_drop is not None

    @property
    def calibration_config(self) -> CalibrationConfig:
        """The settings for choosing images and deriving ranges."""
        return CalibrationConfig(
            folder=self.calib,
            images=self.images,
            seed=self.seed,
            method=self.method,
            bit_depth=self.bit_depth,
            resume=self.resume,
        )

    def __post_init__(self) -> None:
        # Reject invalid settings now rather than after the images have been read.
        _ = self.calibration_config, EngineOptions(weight_bits=self.weight_bits)
        if self.max_annotated is not None and self.max_annotated < 1:
            msg = f"max_annotated must be at least 1, got {self.max_annotated}"
            raise ConfigError(msg)
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
    """The result of a calibration.

    Attributes:
        table: Path of the file.
        measured_on: The annotation file, or `agreement with FP32`; empty if nothing was measured.
        weight_bits: Weight bits of the network that INT8 was measured with.
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
    weight_bits: int = FULL_WEIGHT_BITS
    fp32: Score | None = None
    int8: Score | None = None
    costs: tuple[BlockCost, ...] = ()
    budget: AccuracyBudget | None = None
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
    with locked(bundle.path, "calibrates", LOCK_TIMEOUT_S):
        sweep(bundle.path)
        return _calibrate_locked(config, bundle, progress, note)


def _calibrate_locked(
    config: CalibrateConfig,
    bundle: Bundle,
    progress: Callable[[str], None],
    note: Callable[[str], None],
) -> CalibrationReport:
    """Calibrate a bundle that no other program calibrates."""
    target = bundle.path / CALIBRATION_FILE
    if target.exists() and not config.force:
        msg = f"{target} exists; build from it without --calib, or pass --force to replace it"
        raise ConfigError(msg)
    notes: list[str] = []

    def add_note(line: str) -> None:
        notes.append(line)
        note(line)

    baseline = _measure_baseline(config, bundle, progress, add_note) if config.compares_with_fp32 else None
    bits = _weight_bits_to_measure(config, add_note)
    quantised_models = QuantisedModels(bundle, bits)
    graph = LayerGraph(quantised_models.models[0])
    observers = [range_observers(LayerGraph(model)) for model in quantised_models.models]
    table = collect(bundle, observers, config.calibration_config, progress=progress, note=add_note)
    report = CalibrationReport(
        table=str(target),
        method=table.method,
        images=table.images,
        ranges=len(table.ranges),
        weight_bits=bits,
        notes=tuple(notes),
    )
    if baseline is not None:
        analysis = SensitivityAnalysis(
            quantised_models=quantised_models,
            table=table,
            graph=graph,
            evaluator=baseline.evaluator,
            base=baseline.base,
        )
        report = _check_accuracy(
            config, analysis, replace(report, measured_on=baseline.name, fp32=baseline.base), progress
        )
    # Ranges are named after the network's weights, which are the same at every input size.
    for each in bundle.sizes:
        graph_sha256 = each.files[Lowering.PORTABLE.file_name].sha256
        table_to_write = replace(table, graph_sha256=graph_sha256, float_layers=report.float_layers)
        write_table(table_to_write, each.path / CALIBRATION_FILE)
    return report


def _weight_bits_to_measure(config: CalibrateConfig, note: Callable[[str], None]) -> int:
    """Choose the weights to measure with: those of the engine, if this processor computes them exactly."""
    exact = weight_bits(Host())
    wanted = config.weight_bits or exact
    if wanted > exact and config.compares_with_fp32:
        note(
            f"INT8 is measured with {exact}-bit weights instead of {wanted}-bit: this processor has neither "
            "AVX-512 VNNI nor AVX-VNNI and would compute the latter wrongly"
        )
    return min(wanted, exact)


class _Baseline(NamedTuple):
    """An evaluator, its name, and the score of FP32."""

    name: str
    evaluator: Evaluator
    base: Score


def _measure_baseline(
    config: CalibrateConfig, bundle: Bundle, progress: Callable[[str], None], note: Callable[[str], None]
) -> _Baseline:
    """Score FP32 before the long part, so that unusable annotations are reported at once."""
    with load(bundle.path, backend="onnxruntime", precision="fp32") as fp32:
        if config.annotations is None:
            progress("finding what FP32 finds")
            name, evaluator = (
                "agreement with FP32",
                AgreementEvaluator(fp32, config.calib, bit_depth=config.bit_depth),
            )
            return _Baseline(name, evaluator, evaluator.score(fp32))
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
        annotated = AnnotationEvaluator(labelled)
        return _Baseline(str(config.annotations), annotated, annotated.score(fp32))


def _check_accuracy(
    config: CalibrateConfig,
    analysis: SensitivityAnalysis,
    report: CalibrationReport,
    progress: Callable[[str], None],
) -> CalibrationReport:
    """Measure INT8 and refuse it where it loses too much.

    Raises:
        AccuracyError: As `calibrate`.
    """
    costs = block_costs(analysis, progress) if config.sensitivity else ()
    if config.max_map_drop is not None:
        return _fit_to_budget(config.max_map_drop, analysis, replace(report, costs=costs), progress)
    progress("measuring INT8")
    score = analysis.score(())
    report = replace(report, costs=costs, int8=score)
    if (drop := score.drop_from(analysis.base)) > MAX_PLAUSIBLE_DROP:
        msg = (
            f"INT8 must stay within {MAX_PLAUSIBLE_DROP:g} points of FP32 and lost {drop:.1f} "
            f"({report.measured_on}), so the images do not stand for what the model sees, or something is "
            "wrong; no table was written. --sensitivity shows where it is lost"
        )
        raise AccuracyError(msg, report)
    return report


def _fit_to_budget(
    max_drop: float, analysis: SensitivityAnalysis, report: CalibrationReport, progress: Callable[[str], None]
) -> CalibrationReport:
    costs = report.costs

    def ranked_costs() -> tuple[BlockCost, ...]:
        nonlocal costs
        costs = costs or block_costs(analysis, progress)
        return costs

    budget = fit_to_budget(analysis, max_drop, ranked_costs, progress)
    report = replace(report, costs=costs, budget=budget, int8=budget.score, float_layers=budget.float_layers)
    if not budget.met:
        msg = (
            f"INT8 must lose at most {max_drop:g} points of AP and loses "
            f"{budget.score.drop_from(analysis.base):.2f} with every block reverted; no table was written"
        )
        raise AccuracyError(msg, report)
    return report
