"""`edgeseg run`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.runtime.choice import PRECISIONS, PROVIDERS, EngineChoice
from edgeseg.tools.arguments import expand_variables, secrets_in_arguments, token_from_file
from edgeseg.tools.console import hide_secrets, print_json, print_note, print_pairs, progress_line
from edgeseg.tools.memory import limit_library_memory
from edgeseg.tools.options import (
    backend_option,
    bit_depth_option,
    default_of,
    force_option,
    json_option,
    model_option,
    record_from_options,
)
from edgeseg.tools.threads import limit_opencv_threads

if TYPE_CHECKING:
    from edgeseg.streaming.config import RunConfig, RunSummary
    from edgeseg.streaming.tracking import TrackConfig

INTERRUPTED = 130
# Read by OpenCV and FFmpeg when they are loaded; what they would print, the messages here say in words.
QUIET_VARIABLES = {"OPENCV_FFMPEG_LOGLEVEL": "-8", "OPENCV_LOG_LEVEL": "SILENT"}


@click.command(
    epilog="\b\nExample:\n  edgeseg run --source photos/ --score-threshold 0.7 -o found/",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="SOURCE",
    help="Image, folder with all below it, 'glob*.jpg', video, rtsp:// or http:// stream, csi://0, or a "
    "GStreamer pipeline; give it several times to read several at once. In addresses and pipelines '${NAME}' "
    "is taken from the environment, which keeps passwords off the command line.",
)
@click.option(
    "--camera",
    "cameras",
    multiple=True,
    type=click.IntRange(0),
    metavar="N",
    help="Camera: 0 is /dev/video0.",
)
@model_option
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder of the results. [default: edgeseg-output, or edgeseg-output-2 and so on where there are "
    "results already]",
)
@click.option(
    "--score-threshold",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Keep only instances above it.",
)
@click.option("--max-frames", type=click.IntRange(1), metavar="N", help="Stop after N frames. [default: all]")
@click.option(
    "--realtime",
    is_flag=True,
    help="Play videos at their own speed, as a camera would; what is late is dropped.",
)
@bit_depth_option
@click.option(
    "--give-up-after",
    "give_up_after_s",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="End when a lost stream cannot be opened again for so long. [default: try for ever]",
)
@click.option(
    "--overlay/--no-overlay", default=True, show_default=True, help="Write what is found as pictures."
)
@click.option("--files/--no-files", default=True, show_default=True, help="Write results at all.")
@click.option("--window", is_flag=True, help="Show the pictures in a window.")
@click.option(
    "--web",
    is_flag=False,
    flag_value="",
    metavar="[HOST:PORT]",
    help="Show the pictures on a page, by default at 127.0.0.1:8080; another address needs --web-token.",
)
@click.option(
    "--web-token",
    envvar="EDGESEG_WEB_TOKEN",
    metavar="TOKEN",
    help="What a viewer of the page must know. Other users of this machine can read a command line: "
    "--web-token-file and the variable EDGESEG_WEB_TOKEN keep it out of there.",
)
@click.option(
    "--web-token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File that holds the token, on one line.",
)
@click.option("--track", is_flag=True, help="Give every object a number that it keeps, and count objects.")
@click.option(
    "--line",
    "lines",
    multiple=True,
    metavar="NAME:X1,Y1,X2,Y2",
    help="Count objects that cross a line, in pixels or, up to 1, in parts of the frame; tracks.",
)
@click.option(
    "--zone",
    "zones",
    multiple=True,
    metavar="NAME:X1,Y1,X2,Y2,X3,Y3...",
    help="Count objects within a region; tracks.",
)
@click.option(
    "--smooth-masks",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Share of the past in each mask; tracks.",
)
@click.option(
    "--color-by",
    type=click.Choice(("class", "id")),
    default="class",
    show_default=True,
    help="What has a colour of its own.",
)
@click.option(
    "--redact", multiple=True, metavar="CLASS", help="Make all of a class unrecognisable in every picture."
)
@click.option(
    "--redact-with",
    "redaction",
    type=click.Choice(("blur", "pixelate", "fill")),
    default="blur",
    show_default=True,
    help="How.",
)
@backend_option
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default=default_of(EngineChoice, "precision"),
    show_default=True,
    help="What it computes in; auto takes the fastest engine that is built.",
)
@click.option(
    "--provider",
    type=click.Choice(PROVIDERS),
    default=default_of(EngineChoice, "provider"),
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
    """Find instances in cameras, streams, videos, folders or images.

    Writes overlays (pictures, or a video), results.json (COCO results with RLE masks), detections.jsonl (a
    line a frame) and summary.json. An image that cannot be read is named and skipped; the exit code is 1 only
    if all are. Of a camera or stream always the newest frame is taken; one that is lost is opened again.
    """
    sources = (*settings.pop("sources"), *settings.pop("cameras"))
    if not sources:
        msg = "give --source or --camera"
        raise click.UsageError(msg)
    for name, value in QUIET_VARIABLES.items():
        os.environ.setdefault(name, value)
    limit_library_memory()
    limit_opencv_threads()
    from edgeseg.streaming.config import RunCallbacks, RunStoppedError
    from edgeseg.streaming.runner import run as run_sources

    sources = tuple(source if isinstance(source, int) else expand_variables(source) for source in sources)
    if token_file := settings.pop("web_token_file"):
        settings["web_token"] = token_from_file(token_file)
    hide_secrets(
        {*secrets_in_arguments([str(source) for source in sources]), settings["web_token"] or ""} - {""}
    )
    config = _config(sources, settings)
    if rebuild:
        _rebuild(config.model)
    try:
        with progress_line() as progress:
            summary = run_sources(config, RunCallbacks(progress=progress, note=print_note))
    except RunStoppedError as stopped:
        _print(stopped.summary, as_json)
        raise
    _print(summary, as_json)
    if summary.interrupted:
        where = f", in {summary.output}" if summary.output else ""
        print_note(f"interrupted; frames done before it: {summary.frames}{where}")
        raise click.exceptions.Exit(INTERRUPTED)


def _config(sources: tuple[str | int, ...], settings: dict[str, Any]) -> RunConfig:
    from edgeseg.streaming.config import DisplayConfig, OutputConfig, RunConfig, SourceConfig
    from edgeseg.streaming.rendering.redaction import Redaction
    from edgeseg.streaming.web.address import parse_address
    from edgeseg.vision.drawing import ColorBy, DrawStyle

    address = settings.pop("web")
    display = record_from_options(
        DisplayConfig,
        settings,
        style=DrawStyle(color_by=ColorBy(settings.pop("color_by"))),
        redaction=Redaction(settings.pop("redaction")),
        web=None if address is None else parse_address(address),
    )
    return RunConfig(
        source=record_from_options(SourceConfig, settings, sources=sources),
        engine=record_from_options(EngineChoice, settings),
        tracking=_tracking(settings),
        output=record_from_options(OutputConfig, settings),
        display=display,
        **settings,
    )


def _tracking(settings: dict[str, Any]) -> TrackConfig | None:
    from edgeseg.streaming.tracking import TrackConfig, parse_line, parse_zone

    wanted = settings.pop("track")
    lines, zones = map(parse_line, settings.pop("lines")), map(parse_zone, settings.pop("zones"))
    config = record_from_options(TrackConfig, settings, lines=tuple(lines), zones=tuple(zones))
    return config if wanted or config != TrackConfig() else None


def _rebuild(model: Path) -> None:
    from edgeseg.builder.build import rebuild_unfit

    with progress_line() as progress:
        rebuild_unfit(model, print_note, progress)


def _print(summary: RunSummary, as_json: bool) -> None:
    if as_json:
        from edgeseg.records import json_from_record

        print_json(json_from_record(summary))
        return
    classes = ", ".join(f"{count} {name}" for name, count in summary.instances_by_class.items())
    times = ", ".join(f"{stage} {taken_ms:g}" for stage, taken_ms in summary.stages_ms.items())
    pairs = {
        "source": ", ".join(summary.sources),
        "model": f"{summary.model} ({summary.computed_by})",
        "frames": f"{summary.frames}, {summary.fps:g} a second",
        "skipped": f"{summary.skipped_count} (named above)" if summary.skipped_count else "0",
        **_live_pairs(summary),
        "instances": f"{summary.instances} above {summary.score_threshold:g}",
        "classes": classes or "none",
        "ms a frame": times,
        **_counted_pairs(summary),
        **summary.outputs,
    }
    print_pairs("", pairs.items())


def _live_pairs(summary: RunSummary) -> dict[str, str]:
    if summary.age_mean_ms is None:
        return {}
    dropped = ", ".join(f"{count} of {name}" for name, count in summary.dropped.items())
    return {
        "dropped": dropped or "0",
        "age": f"{summary.age_mean_ms:g} ms in the mean, {summary.age_max_ms:g} at most",
        "reconnects": str(summary.reconnects),
    }


def _counted_pairs(summary: RunSummary) -> dict[str, str]:
    pairs = {}
    for name, scene in summary.scenes.items():
        of = f" in {name}" if len(summary.scenes) > 1 else ""
        by_class = ", ".join(f"{count} {kind}" for kind, count in scene["entered_by_class"].items())
        pairs[f"objects{of}"] = f"{scene['entered']} ({by_class or 'none'}), {scene['left']} of them gone"
        for line, count in scene["lines"].items():
            pairs[f"{line}{of}"] = f"{count['forward']} forward, {count['backward']} backward"
        for zone, count in scene["zones"].items():
            pairs[f"{zone}{of}"] = f"{count['entered']} entered, {count['inside']} inside at the end"
    return pairs
