"""`edgeseg evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.runtime.choice import EngineChoice
from edgeseg.tools.console import print_json, print_note, print_pairs, print_table, progress_line
from edgeseg.tools.options import (
    backend_option,
    bit_depth_option,
    json_option,
    model_option,
    record_from_options,
)

if TYPE_CHECKING:
    from edgeseg.benchmark.evaluate import EvaluationReport, EvaluationRow

INTERRUPTED = 130
SKIPPED_SHOWN = 10
COLUMNS = ("", "box AP", "box AP50", "mask AP", "mask AP50", "box AP +/-", "mask AP +/-")


@click.command(
    epilog="\b\nExample:\n  edgeseg evaluate --annotations instances_val.json --images photos/",
)
@click.option(
    "--annotations",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="COCO annotations (JSON) with masks.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Their images. [default: images/ beside the annotations, or their folder]",
)
@model_option
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    help="Precision to score, such as fp32; may be repeated. [default: all in the bundle]",
)
@backend_option
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="CKPT",
    help="Score PyTorch too: the checkpoint that was exported.",
)
@click.option("--factory", metavar="MODULE:FUNCTION", help="The one that CKPT was exported with, if any.")
@click.option(
    "--max-images", type=click.IntRange(1), metavar="N", help="Take the first N by image id. [default: all]"
)
@bit_depth_option
@click.option(
    "--threads", type=click.IntRange(1), metavar="N", help="Threads of an inference. [default: one a core]"
)
@json_option
def evaluate(as_json: bool, **settings: Any) -> None:
    """Score a bundle by COCO average precision of boxes and masks.

    One row for each engine, on the same images, and how far it is from the first row: PyTorch if --checkpoint
    is given, else FP32. PyTorch has two rows: on the pixels that the engines are given, and with
    torchvision's own resizing, which shows what fitting frames into fixed input sizes costs. As COCO has it,
    the best 100 detections of an image and a class are scored. Annotated images that are missing or cannot be
    read are named and left out of every row.
    """
    from edgeseg.benchmark.evaluate import EvaluateConfig, evaluate_bundle
    from edgeseg.records import json_from_record

    config = EvaluateConfig(engine=record_from_options(EngineChoice, settings), **settings)
    with progress_line() as progress:
        report = evaluate_bundle(config, progress)
    _print_remarks(report)
    if as_json:
        print_json(json_from_record(report))
    else:
        _print(report)
    if report.interrupted:
        print_note(f"interrupted; finished before it: {', '.join(row.name for row in report.rows)}")
        raise click.exceptions.Exit(INTERRUPTED)


def _print_remarks(report: EvaluationReport) -> None:
    for item in report.skipped[:SKIPPED_SHOWN]:
        print_note(f"skipped {item.name}: {item.reason}")
    if (more := len(report.skipped) - SKIPPED_SHOWN) > 0:
        print_note(f"and {more} more; --json lists them all")
    for remark in (report.remark, *report.notes, *report.unfit):
        if remark:
            print_note(remark)


def _print(report: EvaluationReport) -> None:
    first = report.rows[0]
    print_table(
        "COCO average precision, in points of 100", COLUMNS, [_cells(row, first) for row in report.rows]
    )
    skipped = f"{len(report.skipped)} skipped" if report.skipped else "none skipped"
    print_pairs(
        "",
        [
            ("model", report.model),
            *((row.name, row.computed_by) for row in report.rows),
            ("annotations", report.annotations),
            ("images", f"{first.scores.images} in {report.images}, {skipped}"),
            ("instances", str(first.scores.instances)),
            ("detections", f"best 100 of an image and class, above {report.score_threshold:g}"),
        ],
    )


def _cells(row: EvaluationRow, first: EvaluationRow) -> tuple[str, ...]:
    scores, base = row.scores, first.scores
    values = (scores.box_ap, scores.box_ap50, scores.mask_ap, scores.mask_ap50)
    apart = (scores.box_ap - base.box_ap, scores.mask_ap - base.mask_ap)
    signed = ("",) * len(apart) if row is first else tuple(f"{100 * value:+.2f}" for value in apart)
    return (row.name, *(f"{100 * value:.2f}" for value in values), *signed)
