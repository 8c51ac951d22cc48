"""Engines of TensorRT for RTX, built without a GPU: time, size, and how many layers compute in 8 bits.

    python scripts/measurements/rtx_engines.py --model edgeseg-model --gpu SM86 --gpu SM89 --gpu SM120

Without a calibration in the bundle every range is -4 to 4: neither time nor size nor count depends on it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import onnx

from edgeseg.builder.kernels import int8_nodes
from edgeseg.builder.tensorrt import build_tensorrt_plan
from edgeseg.bundle.engines import EngineOptions
from edgeseg.bundle.manifest import CALIBRATION_FILE, Bundle, open_bundle
from edgeseg.calibration.table import CalibrationTable, Method, Range, table_for
from edgeseg.errors import BuildError
from edgeseg.graphs.layers import LayerGraph
from edgeseg.quantisation.plan import range_observers
from edgeseg.quantisation.qdq.tensorrt import tensorrt_graph
from edgeseg.runtime.backends.tensorrt.library import TensorRTKind, load_library
from edgeseg.spec import Lowering


def table_for_bundle(bundle: Bundle) -> CalibrationTable:
    """Read the bundle's table, or make up one."""
    if (bundle.path / CALIBRATION_FILE).exists():
        return table_for(bundle)
    observers = range_observers(LayerGraph(onnx.load(bundle.graph_path(Lowering.PORTABLE)))).observers
    return CalibrationTable(
        method=Method.MINMAX,
        images=1,
        images_sha256="",
        graph_sha256="",
        seed=0,
        ranges={observer.key: Range(low=-4, high=4) for observer in observers},
    )


def build_row(graph: Path, gpu: str) -> list[Any]:
    """Build one engine: seconds, megabytes, kernels, convolutions and dense layers in 8 bits and in all."""
    try:
        library = load_library(TensorRTKind.RTX, purpose="build an engine")
        engine = build_tensorrt_plan(library, graph, EngineOptions(compute_capabilities=(gpu,)))
    except BuildError as exc:
        return [str(exc)]
    int8_names = int8_nodes(engine.kernels)
    counts = []
    for kind in ("Conv", "Gemm"):
        names = [node.name for node in onnx.load(graph).graph.node if node.op_type == kind]
        counts.append(f"{len(int8_names.intersection(names))} of {len(names)}")
    return [f"{engine.build_s:.1f} s", f"{len(engine.data) / 1e6:.1f} MB", len(engine.kernels), *counts]


@click.command()
@click.option("--model", type=click.Path(path_type=Path), default=Path("edgeseg-model"), show_default=True)
@click.option("--gpu", "gpus", multiple=True, default=("SM86",), show_default=True)
def main(model: Path, gpus: tuple[str, ...]) -> None:
    """Print a row for each graph and GPU generation."""
    bundle = open_bundle(model)
    table = table_for_bundle(bundle)
    with tempfile.TemporaryDirectory() as folder:
        for lowering in (Lowering.TENSORRT, Lowering.TENSORRT_FP16):
            path = bundle.graph_path(lowering)
            quantised = Path(folder) / f"int8-{lowering.file_name}"
            onnx.save(tensorrt_graph(onnx.load(path), table), quantised)
            for graph in (path, quantised):
                for gpu in gpus:
                    print(graph.name, gpu, *build_row(graph, gpu), sep=" | ")  # noqa: T201


if __name__ == "__main__":
    main()
