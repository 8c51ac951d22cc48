"""Frame in to masks out: PyTorch eager beside edgeseg, interleaved in one run.

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

MEMORY_OF_RUNTIME = """
import sys, numpy as np
from pathlib import Path
import edgeseg
model = edgeseg.load(sys.argv[1], precision=sys.argv[5], threads=int(sys.argv[2]))
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


def measure(reference: Any, model: Any, frame: NDArray[np.uint8], above: int, repeats: int) -> dict[str, Any]:
    """Time both in turn on one frame, each at a threshold of its own, as rounding moves scores."""
    reference.roi_heads.score_thresh = 0.0
    reference.roi_heads.score_thresh = threshold_over(eager(reference, frame)["scores"], above)
    threshold = threshold_over(model(frame, score_threshold=0.0).scores, above)
    times: dict[str, list[float]] = {"pytorch": [], "edgeseg": []}
    counts = {}
    for repeat in range(repeats + 1):
        for name, call in (
            ("pytorch", lambda: eager(reference, frame)["scores"]),
            ("edgeseg", lambda: model(frame, score_threshold=threshold)),
        ):
            start = time.perf_counter()
            found = call()
            if repeat:  # the first is the warm-up
                times[name].append(time.perf_counter() - start)
            counts[name] = len(found)
    ratios = [a / b for a, b in zip(times["pytorch"], times["edgeseg"], strict=True)]
    return {"above": counts, "threshold": threshold, "times_s": times, "ratios": ratios}


@click.command()
@click.option("--checkpoint", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--model", "bundle", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--images", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--precision", default="fp32", show_default=True, help="fp32 or int8.")
@click.option("--above", type=int, multiple=True, default=(100, 10), show_default=True)
@click.option("--frame", "frame_hw", type=(int, int), metavar="H W", help="[default: the input's size]")
@click.option("--frames", default=2, show_default=True)
@click.option("--repeats", default=5, show_default=True)
@click.option("--threads", default=2, show_default=True)
def main(
    checkpoint: Path,
    bundle: Path,
    images: Path,
    precision: str,
    above: tuple[int, ...],
    frame_hw: tuple[int, int] | None,
    **counts: int,
) -> None:
    """Print medians, the ratio pair by pair, and the runtime's peak memory, as JSON."""
    torch.set_num_threads(counts["threads"])
    cv2.setNumThreads(counts["threads"])
    reference = model_from_weights(read_checkpoint(checkpoint).weights)[1]
    model = edgeseg.load(bundle, precision=precision, threads=counts["threads"])
    height, width = model.spec.input_size_hw
    reference.transform.min_size, reference.transform.max_size = (min(height, width),), max(height, width)
    frames = frames_of(images, frame_hw or (height, width), counts["frames"])
    rows = []
    for wanted in above:
        runs = [measure(reference, model, frame, wanted, counts["repeats"]) for frame in frames]
        ratios = sorted(ratio for run in runs for ratio in run["ratios"])
        row = {
            "asked": wanted,
            "above": [run["above"] for run in runs],
            **{
                f"{name}_median_s": statistics.median(t for run in runs for t in run["times_s"][name])
                for name in ("pytorch", "edgeseg")
            },
            "ratio_median": statistics.median(ratios),
            "ratio_min": ratios[0],
            "ratio_max": ratios[-1],
            "runtime_peak_rss_mib": runtime_memory(
                bundle, frames[0], runs[0]["threshold"], counts["threads"], precision
            ),
        }
        rows.append(row)
        click.echo(f"{wanted}: {row['ratio_median']:.2f}x", err=True)
    facts = {
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "torchvision", "onnxruntime")},
        "precision": precision,
        "processor": platform.processor() or platform.machine(),
        "input_hw": [height, width],
        "frame_hw": list(frames[0].shape[:2]),
        **counts,
    }
    click.echo(json.dumps({"machine": facts, "rows": rows}, indent=2))


def runtime_memory(
    bundle: Path, frame: NDArray[np.uint8], threshold: float, threads: int, precision: str
) -> float:
    """Peak resident memory, in MiB, of a process that only loads the bundle and runs it three times."""
    path = bundle.parent / "frame-for-memory.npy"
    np.save(path, frame)
    try:
        arguments = [str(bundle), str(threads), str(path), str(threshold), precision]
        command = [sys.executable, "-c", MEMORY_OF_RUNTIME, *arguments]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    finally:
        path.unlink()


if __name__ == "__main__":
    main()
