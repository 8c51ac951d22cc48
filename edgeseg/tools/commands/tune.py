"""`edgeseg tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.benchmark.tune.config import TuneConfig, TuneLimits
from edgeseg.optional import require_extra
from edgeseg.records import json_from_record
from edgeseg.runtime.choice import EngineChoice
from edgeseg.tools.console import print_json, print_lines, print_note, print_pairs, print_table, progress_line
from edgeseg.tools.options import (
    backend_option,
    default_of,
    force_option,
    json_option,
    record_from_options,
)

if TYPE_CHECKING:
    from edgeseg.benchmark.tune.candidate import TradeOffPoint
    from edgeseg.benchmark.tune.report import TuneReport

INTERRUPTED = 130
SKIPPED_SHOWN = 10
COLUMNS = ("", "size", "proposals", "threads", "ms", "box AP", "mask AP", "lost", "")


@click.command(
    epilog="\b\nExample:\n  edgeseg tune model.pth --max-latency-ms 100 --max-map-drop 1 "
    "--annotations val.json --calib photos/",
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--max-latency-ms", type=float, metavar="MS", help="Most time of a call, frames in to masks out."
)
@click.option(
    "--max-map-drop",
    type=float,
    metavar="POINTS",
    help="Most points of box or mask AP to lose against FP32 at full size.",
)
@click.option(
    "--annotations",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="COCO annotations (JSON) to measure AP on. [default: agreement with FP32 at full size]",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Their images, or those to agree on. [default: images/ beside the annotations, or their folder]",
)
@click.option(
    "--max-annotated",
    type=click.IntRange(1),
    metavar="N",
    help="Measure AP on the first N annotated images. [default: all]",
)
@click.option(
    "--calib",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Images to calibrate INT8 with. [default: INT8 is left out]",
)
@click.option(
    "--calib-images",
    type=click.IntRange(1),
    metavar="N",
    help="Take N of them; fewer are an error. [default: 50, or as many from 10 on as there are]",
)
@click.option(
    "--size",
    "size_hw",
    type=(int, int),
    metavar="H W",
    help="Full size of the input; shares of it are tried. [default: that of training, as `edgeseg export` "
    "finds it]",
)
@click.option(
    "--detections",
    "max_detections",
    type=click.IntRange(1),
    help="Most detections an image. [default: the model's, 100]",
)
@click.option(
    "--classes", type=click.Path(path_type=Path), help="Class names, as `edgeseg export` takes them."
)
@click.option(
    "--settings",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Settings that the checkpoint does not show, as `edgeseg export` takes them.",
)
@click.option("--factory", metavar="MODULE:FUNCTION", help="Function that builds the model.")
@click.option(
    "--check",
    type=click.Path(path_type=Path),
    help="Images for the parity gate of the chosen bundle. [default: built-in photographs]",
)
@backend_option
@click.option(
    "--threads",
    type=click.IntRange(1),
    metavar="N",
    help="Threads of an inference. [default: one a core, and for the best also a half and a quarter]",
)
@click.option(
    "--minutes",
    type=float,
    default=default_of(TuneConfig, "minutes"),
    show_default=True,
    help="Begin no further measurement after so long; what is known by then is printed.",
)
@click.option(
    "--repeats",
    "turns",
    type=click.IntRange(1),
    default=default_of(TuneConfig, "turns"),
    show_default=True,
    help="Turns of a timing.",
)
@click.option(
    "--frames",
    type=click.IntRange(1),
    default=default_of(TuneConfig, "frames"),
    show_default=True,
    help="Images to time.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the chosen bundle, through the parity gate, with its engine.",
)
@force_option
@json_option
def tune(as_json: bool, **settings: Any) -> None:
    """Find size, proposals, precision and threads that keep to limits.

    CHECKPOINT is exported at several sizes and numbers of proposals, each with every engine that runs here;
    latency is measured in turn, accuracy where it decides. With a limit on AP the fastest that keeps to the
    limits is chosen, else the most accurate. Exit code 3: nothing keeps to them; the nearest is named.
    """
    for extra in ("export", "cpu"):
        require_extra(extra, purpose="search")
    from edgeseg.benchmark.tune.report import check_limits
    from edgeseg.benchmark.tune.tuner import open_tuner

    limits = record_from_options(TuneLimits, settings)
    config = TuneConfig(limits=limits, engine=record_from_options(EngineChoice, settings), **settings)
    report: TuneReport | None = None
    try:
        with progress_line() as progress, open_tuner(config, progress, print_note) as tuner:
            report = tuner.run()
            if config.output is not None and report.chosen is not None and not report.interrupted:
                report = tuner.write(report)
    finally:
        # Whatever happens while a bundle is written, what was found stays known.
        if report is not None:
            _print(report, as_json)
    if report.interrupted:
        print_note("interrupted; what was measured until then is above")
        raise click.exceptions.Exit(INTERRUPTED)
    check_limits(report)


def _print(report: TuneReport, as_json: bool) -> None:
    for item in report.skipped[:SKIPPED_SHOWN]:
        print_note(f"skipped {item.name}: {item.reason}")
    for line in report.notes:
        print_note(line)
    if as_json:
        print_json(json_from_record(report))
        return
    if report.frontier:
        title = f"Latency against accuracy: what nothing else beats ({report.measured_on})"
        print_table(title, COLUMNS, [_cells(point, report) for point in _shown(report)])
    failed = [
        (str(point.candidate), point.remark) for point in report.points if point.state.value == "failed"
    ]
    if failed:
        print_pairs("Failed", failed)
    print_pairs("", _facts(report))
    if report.command:
        print_lines(
            "This makes it:" if report.chosen else "This makes the nearest:", f"  {report.command}", ""
        )


def _shown(report: TuneReport) -> list[TradeOffPoint]:
    """The frontier, and the reference and the chosen point where these are not on it."""
    points = list(report.frontier)
    for point in (report.chosen or report.nearest, report.reference):
        if point is not None and point not in points:
            points.append(point)
    return points


def _cells(point: TradeOffPoint, report: TuneReport) -> tuple[str, ...]:
    from edgeseg.benchmark.tune.frontier import meets_limits

    candidate, shape = point.candidate, point.candidate.shape
    words = ["chosen"] if point == report.chosen else []
    words += ["nearest"] if not report.chosen and point == report.nearest else []
    words += ["reference"] if point == report.reference else []
    words += [] if meets_limits(point, report.limits) else ["beyond the limits"]
    return (
        candidate.engine,
        f"{shape.size_hw[0]} x {shape.size_hw[1]}",
        str(shape.max_proposals),
        str(candidate.threads),
        _number(point.latency_ms, ".1f"),
        _number(point.box_ap, ".2f"),
        _number(point.mask_ap, ".2f"),
        _number(point.lost, "+.2f"),
        ", ".join(words),
    )


def _facts(report: TuneReport) -> list[tuple[str, str]]:
    states = [point.state.value for point in report.points]
    counts = ", ".join(f"{states.count(name)} {name}" for name in dict.fromkeys(states))
    height, width = report.frame_size_hw
    machine = report.machine
    facts = [
        ("candidates", f"{counts}; --json lists them all"),
        ("scored on", f"{report.images} images, {report.measured_on}"),
        ("timed on", f"frames of {height} x {width}"),
        ("spent", f"{report.spent_s:.0f} s" + (f"; ended early: {report.ended}" if report.ended else "")),
        ("machine", f"{machine.processor}, {machine.memory}, {machine.gpu}"),
    ]
    if report.chosen and report.chosen.remark:
        facts.append(("chosen", report.chosen.remark))
    if (written := report.written) is not None:
        scores = f"box AP {written.box_ap:.2f}, mask AP {written.mask_ap:.2f}, lost {written.lost:+.2f}"
        facts.append(("written", f"{written.path}: {scores}"))
    return facts


def _number(value: float | None, kind: str) -> str:
    return "" if value is None else format(value, kind)
