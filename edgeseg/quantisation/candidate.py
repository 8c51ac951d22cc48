"""Quantised networks that are measured before one of them is kept."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeseg.bundle.engines import EngineOptions, Precision, Target
from edgeseg.files.temporary import scratch_folder
from edgeseg.optional import require
from edgeseg.runtime.backends.onnxruntime import OnnxRuntimeBackend
from edgeseg.runtime.model import Model, SizedBackend
from edgeseg.runtime.targets import resolve_options
from edgeseg.spec import Lowering

from .qdq.onnxruntime import onnxruntime_graph
from .qdq.writer import Scheme

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.calibration.table import CalibrationTable


def scheme_for_machine(machine: str) -> Scheme:
    """Choose how ONNX Runtime wants activations on a family of processors."""
    return Scheme.INT8 if machine == "aarch64" else Scheme.UINT8


class QuantisedModels:
    """Makes models of one bundle that quantise more or fewer layers.

    Args:
        bundle: Bundle to quantise.
        weight_bits: Bits per weight; at most as many as this processor computes exactly with.

    Attributes:
        models: The FP32 portable graph of each input size.
    """

    def __init__(self, bundle: Bundle, weight_bits: int) -> None:
        onnx = require("onnx", purpose="write an 8-bit graph")
        self._specs = [each.spec for each in bundle.sizes]
        wanted_options = EngineOptions(weight_bits=weight_bits)
        self._options = resolve_options(Target.ONNXRUNTIME, Precision.INT8, wanted_options)
        self._weight_bits = weight_bits
        self.models: list[Any] = [onnx.load(each.graph_path(Lowering.PORTABLE)) for each in bundle.sizes]

    @contextmanager
    def model_with(self, table: CalibrationTable, excluded_layers: Collection[str]) -> Iterator[Model]:
        """Give a model, on this machine, that leaves `excluded_layers` in higher precision."""
        onnx = require("onnx", purpose="write an 8-bit graph")
        candidate_table = replace(table, float_layers=tuple(excluded_layers))
        with scratch_folder() as folder, ExitStack() as stack:
            networks = []
            for number, (spec, model) in enumerate(zip(self._specs, self.models, strict=True)):
                path = folder / f"trial-{number}.onnx"
                onnx.save(self._quantise(model, candidate_table), path)
                networks.append(SizedBackend(spec, OnnxRuntimeBackend(path, spec)))
                stack.callback(networks[-1].backend.close)
            yield Model(*networks[0], remark="INT8", other_sizes=networks[1:])

    def _quantise(self, model: Any, table: CalibrationTable) -> Any:
        options = self._options
        return onnxruntime_graph(
            model,
            table,
            scheme_for_machine(options.machine),
            amx=options.amx,
            weight_bits=self._weight_bits,
        )
