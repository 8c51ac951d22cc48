"""How much of the network's own speed a run keeps: the network alone, a plain loop, `edgeseg run`, in turn.

    python scripts/measurements/overlap.py --model edgeseg-model --source clip.mp4

All three see the same frames and, but for the network alone, write the same overlay video, COCO results and
lines. Rates are frames a second without loading and the first frame; ratios are taken turn by turn.

On a processor the other stages take time from the network, whatever is done. `--gpu-ms 30` puts in its place
one that takes so long and no processor, as on a GPU; it finds in every frame what the model finds in one.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

import edgeseg
from edgeseg.runtime.choice import EngineChoice
from edgeseg.streaming import runner
from edgeseg.streaming.config import OutputConfig, RunConfig, SourceConfig
from edgeseg.streaming.outputs.overlays import VideoOverlays
from edgeseg.streaming.outputs.writers import CocoResultsWriter, JsonLines
from edgeseg.streaming.results import FrameResult, RenderedFrame, Status
from edgeseg.streaming.sources.video.reader import VideoSource
from edgeseg.vision.frames import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from edgeseg.runtime.contract import RawDetections


class StandIn:
    """A backend that takes time and no processor.

    Args:
        model: Computes once, on `frame`.
        frame: `uint8[H, W, 3]`, BGR.
        seconds: What each call takes.
    """

    description = "stand-in for a GPU"

    def __init__(self, model: edgeseg.Model, frame: NDArray[np.uint8], seconds: float) -> None:
        (self._found,) = model.infer(model.prepare([frame] * model.spec.batch), 0.5)
        self._seconds = seconds

    def __call__(self, images: NDArray[np.uint8], score_threshold: float) -> RawDetections:
        """Wait, and give what was found once."""
        time.sleep(self._seconds)
        return self._found

    def close(self) -> None:
        """Keep it for the next run."""


def network_alone(model: edgeseg.Model, source: Path, frames: int) -> float:
    """Frames a second of the inference stage by itself."""
    video = VideoSource(source)
    batch = [frame.image for frame in islice(frames_of(video), model.spec.batch)]
    video.close()
    prepared = model.prepare(batch)
    model.infer(prepared, 0.5)
    start = time.perf_counter()
    rounds = max(1, frames // len(batch))
    for _ in range(rounds):
        model.infer(prepared, 0.5)
    return rounds * len(batch) / (time.perf_counter() - start)


def frames_of(video: VideoSource) -> Iterator[Frame]:
    """Frames of a video, without what cannot be read."""
    return (frame for frame in video if isinstance(frame, Frame))


def no_status() -> Status:
    """Stand in for the state of a run, for which no file asks."""
    raise NotImplementedError


def plain_loop(model: edgeseg.Model, source: Path, frames: int, output: Path) -> float:
    """Frames a second when each frame is read, computed, drawn and written before the next."""
    video = VideoSource(source)
    sinks = (
        VideoOverlays([output / "overlay.mp4"], [video.fps], live=False),
        CocoResultsWriter(output / "results.json"),
        JsonLines(output / "detections.jsonl", [source.name]),
    )
    moments = []
    for frame in islice(frames_of(video), frames):
        result = FrameResult(frame=frame, detections=model(frame.image), stages_ms={})
        shown = RenderedFrame(result, no_status, lambda shown: shown.detections.draw(shown.frame.image))
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
@click.option("--gpu-ms", type=float, help="Time of a stand-in for a GPU in place of the network.")
def main(
    bundle: Path, source: Path, backend: str, precision: str, frames: int, turns: int, gpu_ms: float | None
) -> None:
    """Print medians and the ratios to the network alone, as JSON."""
    rates: dict[str, list[float]] = {"network alone": [], "plain loop": [], "edgeseg run": []}
    with (
        edgeseg.load(bundle, backend=backend, precision=precision) as model,
        tempfile.TemporaryDirectory() as at,
    ):
        if gpu_ms is not None:
            video = VideoSource(source)
            stand_in = StandIn(model, next(frames_of(video)).image, gpu_ms / 1000)
            video.close()
            model = edgeseg.Model(model.spec, stand_in)
            vars(runner)["open_model"] = lambda path, choice: edgeseg.Model(model.spec, stand_in)
        config = RunConfig(
            source=SourceConfig(sources=(str(source),), max_frames=frames),
            model=bundle,
            engine=EngineChoice(backend=backend, precision=precision),
            output=OutputConfig(folder=Path(at) / "run", force=True),
        )
        for _ in range(turns):
            rates["network alone"].append(network_alone(model, source, frames))
            rates["plain loop"].append(plain_loop(model, source, frames, Path(at)))
            rates["edgeseg run"].append(runner.run(config).fps)
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
