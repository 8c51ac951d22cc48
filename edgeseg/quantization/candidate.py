"""Rounded networks that are tried before one of them is kept."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeseg.bundle.engines import EngineOptions, Precision, Target
from edgeseg.files.temporary import scratch_folder
from edgeseg.optional import require
from edgeseg.runtime.backends.onnxruntime import OnnxRuntimeBackend
from edgeseg.runtime.model import Model, Network
from edgeseg.runtime.targets import completed
from edgeseg.spec import Lowering

from .qdq.onnxruntime import onnxruntime_graph
from .qdq.writer import Scheme

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.calibration.table import CalibrationTable


def scheme_for(machine: str) -> Scheme:
    """Choose how ONNX Runtime wants activations on a family of processors."""
    return Scheme.INT8 if machine == "aarch64" else Scheme.UINT8


class Trials:
    """Makes models of one bundle that round more or fewer layers.

    Args:
        bundle: Whose models.
        weight_bits: Of the weights, as many as this processor computes exactly with at most.

    Attributes:
        models: The FP32 portable graph of each input size.
    """

    def __init__(self, bundle: Bundle, weight_bits: int) -> None:
        onnx = require("onnx", purpose="write an 8-bit graph")
        self._specs = [each.spec for each in bundle.sizes]
        asked = EngineOptions(weight_bits=weight_bits)
        self._options = completed(Target.ONNXRUNTIME, Precision.INT8, asked)
        self._weight_bits = weight_bits
        self.models: list[Any] = [onnx.load(each.graph_path(Lowering.PORTABLE)) for each in bundle.sizes]

    @contextmanager
    def model_with(self, table: CalibrationTable, float_layers: Collection[str]) -> Iterator[Model]:
        """Give a model, on this machine, that leaves `float_layers` in higher precision."""
        onnx = require("onnx", purpose="write an 8-bit graph")
        tried = replace(table, float_layers=tuple(float_layers))
        with scratch_folder() as folder, ExitStack() as opened:
            networks = []
            for number, (spec, model) in enumerate(zip(self._specs, self.models, strict=True)):
                path = folder / f"trial-{number}.onnx"
                onnx.save(self._rounded(model, tried), path)
                networks.append(Network(spec, OnnxRuntimeBackend(path, spec)))
                opened.callback(networks[-1].backend.close)
            yield Model(*networks[0], remark="INT8", other_sizes=networks[1:])

    def _rounded(self, model: Any, table: CalibrationTable) -> Any:
        options = self._options
        return onnxruntime_graph(
            model,
            table,
            scheme_for(options.machine),
            amx=options.amx,
            weight_bits=self._weight_bits,
        )
