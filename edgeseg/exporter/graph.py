"""Export of the network to an ONNX file: export, simplify, check and add metadata."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import TYPE_CHECKING, Any

import torch

from edgeseg.errors import ExportError
from edgeseg.optional import require
from edgeseg.ports import ports_from_spec
from edgeseg.spec import Lowering

from .network import boxes, portable
from .network.mask_rcnn import ExportedNetwork
from .network.portable import PortableOperators
from .network.tensorrt import TensorRTOperators

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeseg.spec import ModelSpec

# From opset 19 on, QuantizeLinear and DequantizeLinear accept scales in half precision.
OPSET = 19
TRANSLATIONS: dict[Any, Any] = {**boxes.TRANSLATIONS, **portable.TRANSLATIONS}
PRODUCER = "edgeseg"
# Operators without a TensorRT kernel, with only a plugin, or with data-dependent shapes.
FORBIDDEN_IN_TENSORRT = ("NonMaxSuppression", "NonZero", "RoiAlign", "Loop", "If", "Scan")


def write_graph(model: Any, spec: ModelSpec, lowering: Lowering, path: Path) -> None:
    """Export one of the graphs.

    Args:
        model: torchvision `MaskRCNN` in evaluation mode; not changed.
        spec: Sizes, counts and thresholds to build for.
        lowering: The graph to export.
        path: Path of the ONNX file.

    Raises:
        DependencyError: A package of the extra `export` is missing.
        ExportError: The exporter or the simplifier failed, or the graph has forbidden operators or shapes.
    """
    onnx = require("onnx", purpose="write a graph")
    require("onnxscript", purpose="export a graph")
    onnxsim = require("onnxsim", purpose="simplify a graph")
    exported = _export(model, spec, lowering)
    graph, same = onnxsim.simplify(exported)
    if not same:
        msg = (
            f"onnxsim changed what the {lowering.value} graph computes; please report it with the checkpoint"
        )
        raise ExportError(msg)
    _check_lowering(graph, lowering)
    _add_metadata(graph, spec, lowering)
    try:
        onnx.checker.check_model(graph, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as exc:
        msg = f"the {lowering.value} graph is not valid ONNX: {exc}"
        raise ExportError(msg) from exc
    onnx.save(graph, path)


def _export(model: Any, spec: ModelSpec, lowering: Lowering) -> Any:
    images = torch.zeros(spec.batch, *spec.input_size_hw, 3, dtype=torch.uint8)
    arguments: tuple[Any, ...] = (images,)
    ports = ports_from_spec(spec, lowering)
    precision = torch.float16 if lowering.half else torch.float32
    operators: PortableOperators | TensorRTOperators
    if lowering is Lowering.PORTABLE:
        operators = PortableOperators(len(spec.class_names) - 1)
        arguments = (images, torch.tensor(spec.score_threshold))
    else:
        operators = TensorRTOperators(precision)
    network = ExportedNetwork(model, spec, operators, precision).eval()
    try:
        with torch.no_grad(), _silence_exporter():
            program = torch.onnx.export(
                network,
                arguments,
                dynamo=True,
                opset_version=OPSET,
                input_names=[port.name for port in ports.inputs],
                output_names=[port.name for port in ports.outputs],
                custom_translation_table=TRANSLATIONS,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as exc:
        cause = str(exc.__cause__ or exc).strip().splitlines()
        msg = (
            f"the exporter of torch {torch.__version__} failed on this model: {cause[0] if cause else exc!r}"
        )
        raise ExportError(msg) from exc
    return program.model_proto  # type: ignore[union-attr]


@contextlib.contextmanager
def _silence_exporter() -> Iterator[None]:
    """Suppress the exporter's progress output and deprecation warnings from inside PyTorch."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _check_lowering(graph: Any, lowering: Lowering) -> None:
    if lowering is Lowering.PORTABLE:
        return
    found = sorted({node.op_type for node in graph.graph.node} & set(FORBIDDEN_IN_TENSORRT))
    if found:
        msg = f"the {lowering.value} graph must not hold {', '.join(found)}"
        raise ExportError(msg)
    values = [*graph.graph.input, *graph.graph.output, *graph.graph.value_info]
    dynamic = [v.name for v in values if any(d.dim_param for d in v.type.tensor_type.shape.dim)]
    if dynamic:
        msg = f"the {lowering.value} graph must be static, {dynamic[0]} has a symbolic dimension"
        raise ExportError(msg)


def _add_metadata(graph: Any, spec: ModelSpec, lowering: Lowering) -> None:
    graph.producer_name = PRODUCER
    graph.producer_version = spec.versions.get("edgeseg", "")
    graph.graph.name = f"{spec.architecture} ({lowering.value})"
    graph.doc_string = "uint8 BGR images [B, H, W, 3] to boxes, scores, labels and masks; see model.json"
    metadata = {
        "architecture": spec.architecture,
        "checkpoint_sha256": spec.checkpoint_sha256,
        "lowering": lowering.value,
        "class_names": "\n".join(spec.class_names),
        "input_size_hw": f"{spec.input_size_hw[0]} {spec.input_size_hw[1]}",
    }
    del graph.metadata_props[:]
    for key, value in metadata.items():
        graph.metadata_props.add(key=key, value=value)
