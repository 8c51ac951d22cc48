"""How much of the network's own speed a run keeps: the network alone, a plain loop, `edgeseg run`, in turn.

    python benchmarks/overlap.py --model edgeseg-model --source clip.mp4

All three see the same frames and, but for the network alone, write the same overlay video, COCO results and
lines. Rates are frames a second without loading and the first frame; ratios are taken turn by turn.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

import click

import edgeseg
from edgeseg.runtime.job import RunConfig
from edgeseg.runtime.overlays import VideoOverlays
from edgeseg.runtime.results import FrameResult, Shown, Status
from edgeseg.runtime.runner import run
from edgeseg.runtime.sinks import CocoResults, JsonLines
from edgeseg.runtime.video import VideoSource


def network_alone(model: edgeseg.Model, source: Path, frames: int) -> float:
    """Frames a second of the inference stage by itself."""
    video = VideoSource(source)
    batch = [frame.image for frame in islice(video, model.spec.batch)]
    video.close()
    prepared = model.prepare(batch)
    model.infer(prepared, 0.5)
    start = time.perf_counter()
    rounds = max(1, frames // len(batch))
    for _ in range(rounds):
        model.infer(prepared, 0.5)
    return rounds * len(batch) / (time.perf_counter() - start)


def no_status() -> Status:
    """Stand in for the state of a run, for which no file asks."""
    raise NotImplementedError


def plain_loop(model: edgeseg.Model, source: Path, frames: int, output: Path) -> float:
    """Frames a second when each frame is read, computed, drawn and written before the next."""
    video = VideoSource(source)
    sinks = (
        VideoOverlays([output / "overlay.mp4"], [video.fps], live=False),
        CocoResults(output / "results.json"),
        JsonLines(output / "detections.jsonl", [source.name]),
    )
    moments = []
    for frame in islice(video, frames):
        result = FrameResult(frame=frame, detections=model(frame.image), stages_ms={})
        shown = Shown(result, no_status, lambda shown: shown.detections.draw(shown.frame.image))
        for sink in sinks:
            sink.write(shown)
        moments.append(time.perf_counter())
    for sink in sinks:
        sink.close()
    video.close()
    return (len(moments) - 1) / (moments[-1] - moments[0])


@click.command()
@click.option("--model", "bundle", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--source", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--backend", default="auto", show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--frames", default=40, show_default=True)
@click.option("--turns", default=5, show_default=True)
def main(bundle: Path, source: Path, backend: str, precision: str, frames: int, turns: int) -> None:
    """Print medians and the ratios to the network alone, as JSON."""
    rates: dict[str, list[float]] = {"network alone": [], "plain loop": [], "edgeseg run": []}
    with (
        edgeseg.load(bundle, backend=backend, precision=precision) as model,
        tempfile.TemporaryDirectory() as at,
    ):
        config = RunConfig(
            sources=(str(source),),
            model=bundle,
            output=Path(at) / "run",
            max_frames=frames,
            backend=backend,
            precision=precision,
            force=True,
        )
        for _ in range(turns):
            rates["network alone"].append(network_alone(model, source, frames))
            rates["plain loop"].append(plain_loop(model, source, frames, Path(at)))
            rates["edgeseg run"].append(run(config).fps)
        description = model.description
    alone = rates["network alone"]
    report = {
        "model": description,
        "frames": frames,
        "fps": {name: round(statistics.median(values), 2) for name, values in rates.items()},
        "of_the_network_alone": {
            name: [round(value / base, 3) for value, base in zip(values, alone, strict=True)]
            for name, values in rates.items()
        },
        "median_ratio": {
            name: round(statistics.median(v / b for v, b in zip(values, alone, strict=True)), 3)
            for name, values in rates.items()
        },
    }
    click.echo(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
