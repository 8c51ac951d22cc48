"""Rounded networks that are tried before one of them is kept."""

from __future__ import annotations

import platform
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.engines import machine_family
from edgeseg.optional import require
from edgeseg.runtime.machine import has_amx
from edgeseg.runtime.model import Model, Network
from edgeseg.runtime.ort import OnnxRuntimeBackend
from edgeseg.spec import Lowering

from .qdq import Scheme
from .qdq_onnxruntime import onnxruntime_graph

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from edgeseg.bundle import Bundle
    from edgeseg.calibration.table import CalibrationTable


def scheme_for(machine: str) -> Scheme:
    """Choose how ONNX Runtime wants activations on a family of processors."""
    return Scheme.INT8 if machine == "aarch64" else Scheme.UINT8


class Trials:
    """Makes models of one bundle that round more or fewer layers.

    Attributes:
        models: The FP32 portable graph of each input size.
    """

    def __init__(self, bundle: Bundle) -> None:
        onnx = require("onnx", purpose="write an 8-bit graph")
        self._specs = [each.spec for each in bundle.sizes]
        self.models: list[Any] = [onnx.load(each.graph_path(Lowering.PORTABLE)) for each in bundle.sizes]

    @contextmanager
    def model_with(self, table: CalibrationTable, float_layers: Collection[str]) -> Iterator[Model]:
        """Give a model, on this machine, that leaves `float_layers` in higher precision."""
        onnx = require("onnx", purpose="write an 8-bit graph")
        scheme = scheme_for(machine_family(platform.machine()))
        tried = replace(table, float_layers=tuple(float_layers))
        with tempfile.TemporaryDirectory(prefix="edgeseg-") as folder, ExitStack() as opened:
            networks = []
            for number, (spec, graph) in enumerate(zip(self._specs, self.models, strict=True)):
                path = Path(folder) / f"trial-{number}.onnx"
                onnx.save(onnxruntime_graph(graph, tried, scheme, amx=has_amx()), path)
                networks.append(Network(spec, OnnxRuntimeBackend(path, spec)))
                opened.callback(networks[-1].backend.close)
            yield Model(*networks[0], remark="INT8", other_sizes=networks[1:])
