r"""Where the time of the network goes: milliseconds of one inference by kind of operator.

    python scripts/measurements/operators.py --model edgeseg-model --image photo.jpg \
        --backend openvino --precision int8

Measuring costs time itself, so the sum is above what `edgeseg benchmark` says.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import click
import numpy as np

from edgeseg.bundle.manifest import open_bundle
from edgeseg.runtime.choice import EngineChoice
from edgeseg.runtime.selection import open_backend
from edgeseg.vision.images.reader import read_image
from edgeseg.vision.letterbox import letterbox_batch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

WARM_CALLS = 2
US_PER_MS = 1000.0


@contextmanager
def onnxruntime_profile(folder: Path) -> Iterator[None]:
    """Let sessions that are opened within write a profile when they are closed."""
    import onnxruntime as ort

    made = ort.SessionOptions

    def options() -> Any:
        session_options = made()
        session_options.enable_profiling, session_options.profile_file_prefix = True, str(folder / "profile")
        return session_options

    with patch.object(ort, "SessionOptions", options):
        yield


@contextmanager
def openvino_profile() -> Iterator[None]:
    """Let graphs that are compiled within keep the time of each node."""
    import openvino as ov

    compiled = ov.Core.compile_model

    def compile_model(core: Any, model: Any, device: str, settings: dict[str, Any]) -> Any:
        return compiled(core, model, device, {**settings, "PERF_COUNT": True})

    with patch.object(ov.Core, "compile_model", compile_model):
        yield


def times_from_onnxruntime(folder: Path, calls: int) -> dict[str, float]:
    """Read a profile: milliseconds of the last calls, by kind of operator."""
    (path,) = folder.glob("profile*.json")
    events = json.loads(path.read_text())
    runs = sorted((event for event in events if event["name"] == "model_run"), key=lambda event: event["ts"])
    begin = runs[-calls]["ts"]
    spent_ms_by_kind: defaultdict[str, float] = defaultdict(float)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time") and event["ts"] >= begin:
            spent_ms_by_kind[event["args"]["op_name"]] += event["dur"] / US_PER_MS / calls
    return spent_ms_by_kind


def times_from_openvino(backend: Any) -> dict[str, float]:
    """Read the compiled graph: milliseconds of a call in the mean, by kind of operator and type."""
    spent_ms_by_kind: defaultdict[str, float] = defaultdict(float)
    for node in backend.execution_graph().get_ops():
        rt_info = node.get_rt_info()
        time_us = str(rt_info["execTimeMcs"].value)
        if time_us.isdigit():
            spent_ms_by_kind[f"{rt_info['layerType'].value} {rt_info['runtimePrecision'].value}"] += (
                int(time_us) / US_PER_MS
            )
    return spent_ms_by_kind


def threshold_for(backend: Any, batch: NDArray[np.uint8], boxes: int) -> float:
    """Choose the score that leaves so many boxes in the first image."""
    found = backend(batch, 0.0)
    scores = np.sort(found.scores[0][: found.counts[0]])[::-1]
    return float((scores[boxes - 1] + scores[min(boxes, len(scores) - 1)]) / 2)


@click.command()
@click.option("--model", "path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--image", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--backend", "name", type=click.Choice(["onnxruntime", "openvino"]), required=True)
@click.option("--precision", default="fp32", show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--boxes", default=10, show_default=True)
@click.option("--calls", default=5, show_default=True)
def main(path: Path, image: Path, name: str, precision: str, threads: int, boxes: int, calls: int) -> None:
    """Print the times as JSON, the longest first."""
    bundle = open_bundle(path)
    with tempfile.TemporaryDirectory() as folder:
        with onnxruntime_profile(Path(folder)) if name == "onnxruntime" else openvino_profile():
            backend = open_backend(
                bundle, EngineChoice(backend=name, precision=precision, threads=threads)
            ).backends[0]
        batch, _ = letterbox_batch([read_image(image)] * bundle.spec.batch, bundle.spec)
        threshold = threshold_for(backend, batch, boxes)
        for _ in range(WARM_CALLS + calls):
            backend(batch, threshold)
        if name == "openvino":
            spent_ms_by_kind = times_from_openvino(backend)
        backend.close()
        if name == "onnxruntime":
            spent_ms_by_kind = times_from_onnxruntime(Path(folder), calls)
    longest_first = sorted(spent_ms_by_kind.items(), key=lambda item: -item[1])
    times = {kind: round(spent_ms, 2) for kind, spent_ms in longest_first if spent_ms >= 0.1}
    click.echo(
        json.dumps(
            {"boxes": boxes, "sum_ms": round(sum(spent_ms_by_kind.values()), 1), "ms": times}, indent=2
        )
    )


if __name__ == "__main__":
    main()
