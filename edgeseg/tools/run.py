"""`edgeseg run`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .console import print_json, print_note, print_pairs, progress_line
from .options import backend_option, force_option, json_option, model_option

if TYPE_CHECKING:
    from ..runtime.job import RunSummary

INTERRUPTED = 130
# Read by OpenCV and FFmpeg when they are loaded; what they would print, the messages here say in words.
QUIET = {"OPENCV_FFMPEG_LOGLEVEL": "-8", "OPENCV_LOG_LEVEL": "SILENT"}


@click.command(
    epilog="\b\nExample:\n  edgeseg run --source photos/ --score-threshold 0.7 -o found/",
)
@click.option("--source", metavar="PATH", help="Image, folder with all below it, 'glob*.jpg' or video.")
@click.option("--camera", type=click.IntRange(0), metavar="N", help="Camera: 0 is /dev/video0.")
@model_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("edgeseg-output"),
    show_default=True,
    help="Folder of the results.",
)
@click.option(
    "--score-threshold",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Keep only instances above it.",
)
@click.option("--max-frames", type=click.IntRange(1), metavar="N", help="Stop after N frames. [default: all]")
@click.option("--overlay/--no-overlay", default=True, show_default=True, help="Draw what is found.")
@backend_option
@click.option(
    "--precision",
    type=click.Choice(("auto", "int8", "fp16", "bf16", "fp32")),
    default="auto",
    show_default=True,
    help="What it computes in; auto takes the fastest engine that is built.",
)
@click.option(
    "--provider",
    type=click.Choice(("auto", "cpu", "cuda", "tensorrt")),
    default="auto",
    show_default=True,
    help="Where ONNX Runtime computes.",
)
@click.option("--rebuild", is_flag=True, help="First build again what was built for another machine.")
@click.option(
    "--threads", type=click.IntRange(1), metavar="N", help="Threads of an inference. [default: one a core]"
)
@force_option
@json_option
def run(as_json: bool, rebuild: bool, **settings: Any) -> None:
    """Find instances in a camera, video, folder or image.

    Writes overlays (pictures, or one video), results.json (COCO results with RLE masks), detections.jsonl (a
    line a frame) and summary.json. An image that cannot be read is named and skipped; the exit code is 1 only
    if all are.
    """
    if (settings["source"] is None) == (settings["camera"] is None):
        msg = "give one of --source PATH and --camera N"
        raise click.UsageError(msg)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from ..runtime.job import Observer, RunConfig, RunStoppedError
    from ..runtime.runner import run as run_source

    config = RunConfig(**settings)
    if rebuild:
        _rebuild(config.model)
    try:
        with progress_line() as progress:
            summary = run_source(config, Observer(progress=progress, note=print_note))
    except RunStoppedError as stopped:
        _print(stopped.summary, as_json)
        raise
    _print(summary, as_json)
    if summary.interrupted:
        print_note(f"interrupted; frames done before it: {summary.frames}, in {config.output}")
        raise click.exceptions.Exit(INTERRUPTED)


def _rebuild(model: Path) -> None:
    from ..exporter.build import rebuild_unfit

    with progress_line() as progress:
        rebuild_unfit(model, print_note, progress)


def _print(summary: RunSummary, as_json: bool) -> None:
    if as_json:
        from ..record import json_from_record

        print_json(json_from_record(summary))
        return
    classes = ", ".join(f"{count} {name}" for name, count in summary.instances_by_class.items())
    times = f"read {summary.read_ms:g}, detect {summary.detect_ms:g}, write {summary.write_ms:g}"
    pairs = {
        "source": summary.source,
        "model": f"{summary.model} ({summary.computed_by})",
        "frames": str(summary.frames),
        "skipped": f"{len(summary.skipped)} (named above and in summary.json)" if summary.skipped else "0",
        "instances": f"{summary.instances} above {summary.score_threshold:g}",
        "classes": classes or "none",
        "ms a frame": times,
        **summary.outputs,
    }
    print_pairs("", pairs.items())
