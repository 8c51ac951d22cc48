"""`edgeseg benchmark`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.benchmark.config import BenchmarkConfig
from edgeseg.runtime.choice import EngineChoice
from edgeseg.tools.console import print_json, print_note, print_pairs, print_table, progress_line
from edgeseg.tools.options import default_of, json_option, model_option, record_from_options

if TYPE_CHECKING:
    from edgeseg.benchmark.report import BenchmarkReport
    from edgeseg.benchmark.row import Row

INTERRUPTED = 130
SKIPPED_SHOWN = 10
COLUMNS = ("", "p50 ms", "p90", "p99", "ratio", "95 %", "img/s", "load ms", "first", "MiB", "MB")
AP_COLUMNS = ("", "box AP", "mask AP", "same as PyTorch", "mask IoU", "stages ms", "GMAC/s", "of peak")


@click.command(
    epilog="\b\nExample:\n  edgeseg benchmark --images photos/ --checkpoint model.pth --html report.html",
)
@model_option
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Images to measure on. [default: those of the annotations, else four shipped photographs]",
)
@click.option(
    "--annotations",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="COCO annotations (JSON) with masks, to measure average precision of each row.",
)
@click.option(
    "--max-images", type=click.IntRange(1), metavar="N", help="Score the first N by image id. [default: all]"
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="CKPT",
    help="The one that was exported. [default: its file name, here or beside the bundle]",
)
@click.option("--factory", metavar="MODULE:FUNCTION", help="The one that CKPT was exported with, if any.")
@click.option(
    "--rows",
    multiple=True,
    metavar="NAME",
    help="Row to measure, such as openvino-int8 or 'pytorch-*'; may be repeated. [default: all]",
)
@click.option(
    "--threads", type=click.IntRange(1), metavar="N", help="Threads of an inference. [default: one a core]"
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    metavar="N",
    help="Images of a call; the bundle is exported anew for another than its own. [default: its own]",
)
@click.option(
    "--repeats",
    "turns",
    type=click.IntRange(1),
    default=default_of(BenchmarkConfig, "turns"),
    show_default=True,
    help="Turns through all rows.",
)
@click.option(
    "--duration",
    "duration_s",
    type=click.FloatRange(0),
    default=default_of(BenchmarkConfig, "duration_s"),
    show_default=True,
    metavar="SECONDS",
    help="Go on for so long, beyond --repeats if need be.",
)
@click.option(
    "--margin",
    "margin_percent",
    type=click.FloatRange(0),
    default=default_of(BenchmarkConfig, "margin_percent"),
    show_default=True,
    metavar="PERCENT",
    help="Go on until the 95 % interval of every ratio reaches no further; 0 for no matter how far.",
)
@click.option(
    "--at-most",
    "most_s",
    type=click.FloatRange(0),
    default=default_of(BenchmarkConfig, "most_s"),
    show_default=True,
    metavar="SECONDS",
    help="Do not go on longer for the sake of --margin.",
)
@click.option(
    "--warmup",
    type=click.IntRange(0),
    default=default_of(BenchmarkConfig, "warmup"),
    show_default=True,
    help="Calls before measuring, at least, besides one of each timed image.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    default=default_of(BenchmarkConfig, "concurrency"),
    show_default=True,
    help="Measure throughput with so many callers of one model too.",
)
@click.option(
    "--boxes",
    type=click.IntRange(1),
    metavar="N",
    help="Choose thresholds that leave N instances in each timed image. [default: a score of 0.5]",
)
@click.option(
    "--frames",
    type=click.IntRange(1),
    default=default_of(BenchmarkConfig, "frames"),
    show_default=True,
    help="Images to time.",
)
@click.option(
    "--frame",
    "frame_size_hw",
    type=click.IntRange(1),
    nargs=2,
    metavar="H W",
    help="Scale timed images to this size. [default: the input's, so that no row has to scale]",
)
@click.option(
    "--price-per-hour",
    type=click.FloatRange(0),
    metavar="PRICE",
    help="Of this machine, in any currency: gives the cost of a million images.",
)
@click.option(
    "--compile/--no-compile",
    default=default_of(BenchmarkConfig, "compile"),
    show_default=True,
    help="Try torch.compile; takes minutes.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the report as JSON."
)
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the report as a page.",
)
@json_option
def benchmark(as_json: bool, output: Path | None, html: Path | None, **settings: Any) -> None:
    """Measure latency, memory, size and accuracy beside PyTorch.

    Every way to run the model takes its turn, again and again, on the same images and threads: PyTorch eager
    and at its best, torchvision's own ONNX export, OpenVINO's own conversion, and each engine of the bundle.
    What cannot run here is in the table with the reason. A call goes from frames to masks in them; it takes
    as many images as the bundle was exported for, or --batch: the bundle is then exported anew from its
    checkpoint for this run, with the engines that it has.
    """
    from edgeseg.benchmark.benchmark import benchmark as run
    from edgeseg.benchmark.report import write_report
    from edgeseg.files.records import check_file
    from edgeseg.records import json_from_record

    config = BenchmarkConfig(engine=record_from_options(EngineChoice, settings), **settings)
    for path in (output, html):
        if path is not None:
            check_file(path)
    with progress_line() as progress:
        report = run(config, command=("edgeseg", *sys.argv[1:]), progress=progress)
    if output is not None:
        write_report(output, report)
    if html is not None:
        from edgeseg.benchmark.page import write_page

        write_page(report, html)
    _print_notes(report)
    if as_json:
        print_json(json_from_record(report))
    else:
        _print(report)
    if report.interrupted:
        written = " and ".join(str(path) for path in (output, html) if path is not None)
        print_note(f"interrupted; the report is of what was measured{f', in {written}' if written else ''}")
        raise click.exceptions.Exit(INTERRUPTED)


def _print_notes(report: BenchmarkReport) -> None:
    for item in report.skipped[:SKIPPED_SHOWN]:
        print_note(f"skipped {item.name}: {item.reason}")
    if (more := len(report.skipped) - SKIPPED_SHOWN) > 0:
        print_note(f"and {more} more; --json lists them all")
    for line in (report.remark, *report.noise.warnings):
        if line:
            print_note(line)


def _print(report: BenchmarkReport) -> None:
    measured = [row for row in report.rows if row.latency]
    if measured:
        print_table("Frames in to masks out", COLUMNS, [_timing_cells(row) for row in measured])
        print_table(
            "What it finds, and where the time goes", AP_COLUMNS, [_accuracy_cells(row) for row in measured]
        )
    reasons = [(row.label, row.reason) for row in report.rows if row.reason]
    if reasons:
        print_pairs("Not measured, or not to the end", reasons)
    notes = [(row.label, note) for row in report.rows for note in row.notes]
    if notes:
        print_pairs("Tried", notes)
    print_pairs("", _facts(report))


def _timing_cells(row: Row) -> tuple[str, ...]:
    latency, startup, ratio = row.latency, row.startup, row.ratio
    if latency is None:
        return (row.label,)
    return (
        row.label,
        f"{latency.p50_ms:.1f}",
        f"{latency.p90_ms:.1f}",
        f"{latency.p99_ms:.1f}",
        f"{ratio.value:.2f}x" if ratio else "",
        f"{ratio.low:.2f}-{ratio.high:.2f}" if ratio else "",
        _number(row.images_per_s, ".2f"),
        _number(startup.load_ms if startup else None, ".0f"),
        _number(startup.first_ms if startup else None, ".0f"),
        _number(startup.peak_rss_mib if startup else None, ".0f"),
        _number(row.file_mb, ".1f"),
    )


def _accuracy_cells(row: Row) -> tuple[str, ...]:
    scores, same, stages, compute = row.accuracy, row.agreement, row.stages, row.compute
    parts = (stages.prepare_ms, stages.infer_ms, stages.finish_ms) if stages else ()
    return (
        row.label,
        f"{100 * scores.box_ap:.2f}" if scores else "",
        f"{100 * scores.mask_ap:.2f}" if scores else "",
        f"{same.matched} of {same.expected}, +{same.extra}" if same else "",
        _number(same.mask_iou if same else None, ".3f"),
        " + ".join(f"{part:.1f}" for part in parts),
        _number(compute.gmacs_per_s if compute else None, ".0f"),
        _number(compute.share_of_peak if compute else None, ".0%"),
    )


def _facts(report: BenchmarkReport) -> list[tuple[str, str]]:
    machine, settings = report.machine, report.settings
    height, width = settings.frame_size_hw
    threshold = f"{settings.boxes} boxes each" if settings.boxes else f"above {settings.score_threshold:g}"
    peaks = ", ".join(f"{name.upper()} {value:.0f}" for name, value in report.peaks_gmacs_per_s.items())
    return [
        ("model", f"{settings.model}, {report.architecture}"),
        ("images", f"{settings.images}, timed at {height} x {width}, batch {settings.batch}, {threshold}"),
        ("measured", f"{settings.turns} turns in {settings.duration_s:.0f} s, {settings.threads} threads"),
        *([("peak GMAC/s", peaks)] if peaks else []),
        *_prices(report),
        ("machine", f"{machine.processor}, {machine.memory}, {machine.gpu}"),
        ("versions", ", ".join(f"{name} {found}" for name, found in machine.versions.items())),
    ]


def _prices(report: BenchmarkReport) -> list[tuple[str, str]]:
    """Columns that are there only where they were asked for, or where the machine tells."""
    per_row = {
        "cost of 10^6": [(row.label, _number(row.cost_per_million, ".3g")) for row in report.rows],
        "J an image": [(row.label, _number(row.energy_j, ".3g")) for row in report.rows],
        "several callers": [
            (row.label, f"{row.concurrent.images_per_s:.2f} img/s" if row.concurrent else "")
            for row in report.rows
        ],
    }
    listed = {
        name: [f"{label} {value}" for label, value in cells if value] for name, cells in per_row.items()
    }
    return [(name, ", ".join(cells)) for name, cells in listed.items() if cells]


def _number(value: float | None, kind: str) -> str:
    return "" if value is None else format(value, kind)
