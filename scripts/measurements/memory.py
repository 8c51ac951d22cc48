r"""Whether the memory of the network alone grows while images and numbers of boxes change with every call.

    python scripts/measurements/memory.py --model edgeseg-model --images photos/ \
        --backend openvino --precision int8
    python scripts/measurements/memory.py ... --as-libraries-do

The first as in `edgeseg run`, the second with what the libraries keep by default. Images are shifted at
random and the threshold is drawn between 0.08 and 0.3. Prints MiB above those after three calls without a
detection.
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import click
import numpy as np
import psutil

import edgeseg
from edgeseg.runtime.backends import openvino as backends
from edgeseg.tools.memory import limit_library_memory
from edgeseg.vision.images.reader import image_paths, read_image

DEFAULT_SHAPES = 5000
SHIFT_PX = (200, 300)
THRESHOLDS = (0.08, 0.3)
IMAGES = 20
EVERY = 50


@click.command()
@click.option("--model", "path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--images", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--backend", default="auto", show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--calls", default=300, show_default=True)
@click.option("--as-libraries-do", "default", is_flag=True)
def main(path: Path, images: Path, backend: str, precision: str, calls: int, default: bool) -> None:
    """Print memory and the median time of a call, each 50 calls, as JSON."""
    if not default:
        limit_library_memory()
    with patch.object(backends, "CACHED_SHAPES", DEFAULT_SHAPES if default else backends.CACHED_SHAPES):
        model = edgeseg.load(path, backend=backend, precision=precision)
    rng, process = np.random.default_rng(0), psutil.Process()
    photos = [model.prepare([read_image(photo)])[0] for photo in image_paths(images)[:IMAGES]]
    for _ in range(3):
        model.infer((photos[0],), 1.0)
    first_mib = process.memory_info().rss / 2**20
    times_ms: list[float] = []
    memory: dict[int, dict[str, float]] = {}
    for call in range(1, calls + 1):
        photo = photos[call % len(photos)]
        shifted = np.roll(photo.images, rng.integers(0, SHIFT_PX), (1, 2))
        start = time.perf_counter()
        model.infer((replace(photo, images=shifted),), float(rng.uniform(*THRESHOLDS)))
        times_ms.append(1000 * (time.perf_counter() - start))
        if call % EVERY == 0:
            grown_mib = process.memory_info().rss / 2**20 - first_mib
            memory[call] = {"mib": round(grown_mib, 1), "ms": round(statistics.median(times_ms[-EVERY:]), 1)}
    click.echo(json.dumps({"model": model.description, "first_mib": round(first_mib, 1), "by_call": memory}))


if __name__ == "__main__":
    main()
