"""`edgeseg calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.bundle.engines import FULL_WEIGHT_BITS, NARROW_WEIGHT_BITS
from edgeseg.calibration.table import Method
from edgeseg.optional import require_extra
from edgeseg.records import json_from_record
from edgeseg.tools.console import print_json, print_note, print_pairs, print_table, progress_line
from edgeseg.tools.options import bit_depth_option, force_option, json_option, model_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeseg.quantisation.calibrate import CalibrationReport

calibration_options: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--images",
        type=click.IntRange(1),
        metavar="N",
        help="Take N images; fewer are an error. [default: 100, or as many from 10 on as there are]",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Of the choice of images."),
    click.option(
        "--method",
        type=click.Choice([method.value for method in Method]),
        default=Method.ENTROPY.value,
        show_default=True,
        help="How ranges are cut.",
    ),
    bit_depth_option,
    click.option("--resume", is_flag=True, help="Go on with an interrupted calibration."),
    click.option(
        "--weight-bits",
        type=click.IntRange(NARROW_WEIGHT_BITS, FULL_WEIGHT_BITS),
        metavar="BITS",
        help="Bits of the weights: 7 runs on every processor, 8 on x86 needs AVX-512 VNNI or AVX-VNNI. "
        "[default: what this processor needs]",
    ),
    click.option(
        "--check/--no-check",
        default=True,
        show_default=True,
        help="Compare INT8 with FP32 before the table is kept.",
    ),
    click.option(
        "--max-map-drop",
        type=click.FloatRange(0),
        metavar="POINTS",
        help="Most AP to lose on --annotations; the costliest blocks stay in float until it holds.",
    ),
    click.option(
        "--annotations",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="COCO annotations (JSON) to measure AP on. [default: agreement with FP32]",
    ),
    click.option(
        "--annotated-images",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Their images. [default: images/ beside the annotations, or their folder]",
    ),
    click.option(
        "--max-annotated",
        type=click.IntRange(1),
        metavar="N",
        help="Measure on the first N annotated images. [default: all]",
    ),
)


def with_calibration_options(command: Any) -> Any:
    """Add the options that say how to calibrate, which `build-engine` has too."""
    for option in reversed(calibration_options):
        command = option(command)
    return command


@click.command(
    epilog="\b\nExample:\n  edgeseg calibrate --calib photos/ --images 200",
)
@click.option(
    "--calib",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Images like those that the model will see.",
)
@model_option
@with_calibration_options
@click.option("--sensitivity", is_flag=True, help="Rank the blocks by what rounding each alone costs.")
@force_option
@json_option
def calibrate(as_json: bool, **settings: Any) -> None:
    """Measure the ranges that INT8 needs, on images of yours.

    Writes calibration.json into the bundle; `edgeseg build-engine --int8` builds from it. An unreadable image
    is named, skipped and replaced by another. Exit code 3: INT8 loses more accuracy than it may.
    """
    report = run_calibration(settings, as_json)
    print_report(report, as_json)


def run_calibration(settings: dict[str, Any], as_json: bool) -> CalibrationReport:
    """Calibrate as the options say; where INT8 loses too much, what was measured is printed first."""
    for extra in ("export", "cpu"):
        require_extra(extra, purpose="calibrate")
    from edgeseg.quantisation.calibrate import AccuracyError, CalibrateConfig
    from edgeseg.quantisation.calibrate import calibrate as calibrate_bundle

    config = CalibrateConfig(**{**settings, "method": Method(settings["method"])})
    try:
        with progress_line() as progress:
            return calibrate_bundle(config, progress, print_note)
    except AccuracyError as failure:
        print_report(failure.report, as_json)
        raise


def print_report(report: CalibrationReport, as_json: bool) -> None:
    """Print what a calibration gave."""
    if as_json:
        print_json(json_from_record(report))
        return
    if report.costs:
        rows = [(cost.block, f"{cost.box_drop:+.2f}", f"{cost.mask_drop:+.2f}") for cost in report.costs]
        print_table(
            "Points of AP lost by rounding one block alone", ("block", "box AP lost", "mask AP lost"), rows
        )
    if report.budget:
        print_table(
            "Reverting the costliest blocks",
            ("in float besides", "box AP lost", "mask AP lost", "speed, FP32 = 1"),
            [
                (
                    step.reverted or "none",
                    f"{step.box_drop:+.2f}",
                    f"{step.mask_drop:+.2f}",
                    f"{step.speed:.2f}x",
                )
                for step in report.budget.steps
            ],
        )
    if report.fp32 and report.int8:
        narrow = f", {report.weight_bits}-bit weights" if report.weight_bits < FULL_WEIGHT_BITS else ""
        scores = (("FP32", report.fp32), (f"INT8{narrow}", report.int8))
        print_table(
            f"INT8 beside FP32: {report.measured_on}",
            ("", "box AP", "mask AP", "ms an image"),
            [
                (name, f"{score.box_ap:.2f}", f"{score.mask_ap:.2f}", f"{score.latency_ms:.0f}")
                for name, score in scores
            ],
        )
    print_pairs(
        "",
        [
            ("table", report.table),
            ("ranges", f"{report.ranges}, {report.method.value}, {report.images} images"),
            ("in float", ", ".join(report.float_layers) or "nothing besides the first and the output layers"),
        ],
    )
