"""Frame in to masks out: PyTorch eager beside engines of a bundle, interleaved in one run.

    python benchmarks/latency.py --checkpoint model.pth --model edgeseg-model --images photos/

Every frame is scaled first to `--frame`, by default the input's size, so that torchvision neither resizes nor
pads it. Another size of the same shape, such as `--frame 1143 1920` for an input of 800x1344, leaves the
resizing to both; the network then computes as much in both. `--above N` sets the threshold, frame by frame,
so that N boxes lie above it.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cv2
import numpy as np
import torch

import edgeseg
from edgeseg.exporter.architecture import model_from_weights
from edgeseg.exporter.checkpoint import read_checkpoint
from edgeseg.runtime.images import image_paths, read_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

PYTORCH = "pytorch"
MEMORY_OF_RUNTIME = """
import sys, numpy as np
from pathlib import Path
import edgeseg
backend, precision = sys.argv[5].split(":")
model = edgeseg.load(sys.argv[1], backend=backend, precision=precision, threads=int(sys.argv[2]))
frame = np.load(sys.argv[3])
for _ in range(3):
    found = model(frame, score_threshold=float(sys.argv[4]))
assert "torch" not in sys.modules
# Not ru_maxrss, which a child inherits from the process that started it.
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)
"""


def frames_of(folder: Path, size_hw: tuple[int, int], count: int) -> list[NDArray[np.uint8]]:
    """Read `count` images of a folder, scaled to `size_hw`."""
    return [cv2.resize(read_image(path), size_hw[::-1]) for path in image_paths(folder)[:count]]


def eager(model: Any, frame: NDArray[np.uint8]) -> Any:
    """Run torchvision as its documentation does: BGR to RGB, to 0 to 1, one call, masks in the frame."""
    tensor = torch.from_numpy(frame[..., ::-1].copy()).permute(2, 0, 1).to(torch.float32) / 255
    with torch.inference_mode():
        return model([tensor])[0]


def threshold_over(scores: Any, above: int) -> float:
    """Find a threshold with `above` of the descending `scores` over it, or all that there are."""
    if above >= len(scores):
        return float(scores[-1]) * 0.999 if len(scores) else 0.5
    return float(scores[above - 1] + scores[above]) / 2


def open_engine(bundle: Path, engine: str, threads: int) -> Any:
    """Load an engine by its name, such as `openvino:int8`."""
    backend, _, precision = engine.partition(":")
    return edgeseg.load(bundle, backend=backend, precision=precision, threads=threads)


def measure(
    reference: Any, models: dict[str, Any], frame: NDArray[np.uint8], above: int, repeats: int
) -> dict[str, dict[str, Any]]:
    """Time all in turn on one frame, each at a threshold of its own, as rounding moves scores."""
    reference.roi_heads.score_thresh = 0.0
    reference.roi_heads.score_thresh = threshold_over(eager(reference, frame)["scores"], above)
    rows = {PYTORCH: {"threshold": reference.roi_heads.score_thresh, "times_s": []}}
    for name, model in models.items():
        threshold = threshold_over(model(frame, score_threshold=0.0).scores, above)
        rows[name] = {"threshold": threshold, "times_s": []}
    for repeat in range(repeats + 1):
        for name, row in rows.items():
            start = time.perf_counter()
            if name == PYTORCH:
                found = eager(reference, frame)["scores"]
            else:
                found = models[name](frame, score_threshold=row["threshold"])
            if repeat:  # the first is the warm-up
                row["times_s"].append(time.perf_counter() - start)
            row["above"] = len(found)
    return rows


def summed_up(runs: list[dict[str, dict[str, Any]]], name: str) -> dict[str, Any]:
    """Median time of one engine, and its ratio to the PyTorch call of the same turn."""
    times = [seconds for run in runs for seconds in run[name]["times_s"]]
    eager_times = [seconds for run in runs for seconds in run[PYTORCH]["times_s"]]
    ratios = [slow / fast for slow, fast in zip(eager_times, times, strict=True)]
    return {
        "above": [run[name]["above"] for run in runs],
        "median_s": statistics.median(times),
        "ratio_median": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


@click.command()
@click.option("--checkpoint", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--model", "bundle", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--images", type=click.Path(path_type=Path, exists=True), required=True)
@click.option(
    "--engine",
    "engines",
    metavar="BACKEND:PRECISION",
    multiple=True,
    default=("onnxruntime:fp32",),
    show_default=True,
    help="Such as openvino:int8; repeat it to measure several in one run.",
)
@click.option("--above", type=int, multiple=True, default=(100, 10), show_default=True)
@click.option("--frame", "frame_hw", type=(int, int), metavar="H W", help="[default: the input's size]")
@click.option("--frames", default=2, show_default=True)
@click.option("--repeats", default=5, show_default=True)
@click.option("--threads", default=2, show_default=True)
def main(
    checkpoint: Path,
    bundle: Path,
    images: Path,
    engines: tuple[str, ...],
    above: tuple[int, ...],
    frame_hw: tuple[int, int] | None,
    **counts: int,
) -> None:
    """Print medians, the ratio pair by pair, and the runtime's peak memory, as JSON."""
    torch.set_num_threads(counts["threads"])
    cv2.setNumThreads(counts["threads"])
    reference = model_from_weights(read_checkpoint(checkpoint).weights)[1]
    models = {engine: open_engine(bundle, engine, counts["threads"]) for engine in engines}
    height, width = models[engines[0]].spec.input_size_hw
    reference.transform.min_size, reference.transform.max_size = (min(height, width),), max(height, width)
    frames = frames_of(images, frame_hw or (height, width), counts["frames"])
    rows = []
    for wanted in above:
        runs = [measure(reference, models, frame, wanted, counts["repeats"]) for frame in frames]
        row = {"asked": wanted, "engines": {name: summed_up(runs, name) for name in (PYTORCH, *engines)}}
        rows.append(row)
        for name in engines:
            row["engines"][name]["runtime_peak_rss_mib"] = runtime_memory(
                bundle, frames[0], runs[0][name]["threshold"], counts["threads"], name
            )
            click.echo(f"{wanted}: {name} {row['engines'][name]['ratio_median']:.2f}x", err=True)
    facts = {
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "torchvision")},
        "engines": [model.description for model in models.values()],
        "processor": platform.processor() or platform.machine(),
        "input_hw": [height, width],
        "frame_hw": list(frames[0].shape[:2]),
        **counts,
    }
    click.echo(json.dumps({"machine": facts, "rows": rows}, indent=2))


def runtime_memory(
    bundle: Path, frame: NDArray[np.uint8], threshold: float, threads: int, engine: str
) -> float:
    """Peak resident memory, in MiB, of a process that only loads the bundle and runs it three times."""
    path = bundle.parent / "frame-for-memory.npy"
    np.save(path, frame)
    try:
        arguments = [str(bundle), str(threads), str(path), str(threshold), engine]
        command = [sys.executable, "-c", MEMORY_OF_RUNTIME, *arguments]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    finally:
        path.unlink()


if __name__ == "__main__":
    main()
