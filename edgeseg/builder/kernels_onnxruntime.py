"""What ONNX Runtime computes a graph with, as its own profiler tells after one blank batch."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.bundle.engines import Kernel
from edgeseg.files.native import native_path
from edgeseg.files.temporary import scratch_folder
from edgeseg.graphs.amx import STRIP_SUFFIX
from edgeseg.graphs.winograd import WINOGRAD_SUFFIX
from edgeseg.optional import require
from edgeseg.runtime.backends.onnxruntime import CPU, DISABLED_OPTIMIZERS
from edgeseg.runtime.host.processors import inference_threads

if TYPE_CHECKING:
    from edgeseg.spec import ModelSpec

KERNEL_SUFFIX = "_kernel_time"
# What ONNX Runtime's optimizers, `rewrite_for_amx` and `rewrite_for_winograd` append to the names of the
# nodes that they replace or split.
OPTIMIZER_SUFFIXES = re.compile(
    rf"({re.escape(STRIP_SUFFIX)}\d+|{re.escape(WINOGRAD_SUFFIX)}\w+|_token_\d+|_nchwc|/MatMulAddFusion)+$"
)
# Kernels that multiply integers.
INT8_KINDS = ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat", "ConvInteger")
TYPES = {"float": "float32", "double": "float64"}


def onnxruntime_kernels(graph: Path, spec: ModelSpec) -> tuple[Kernel, ...]:
    """Load a graph as the runtime does, run it once, and list the kernels.

    Args:
        graph: Portable graph or engine.
        spec: Its sizes.

    Raises:
        DependencyError: ONNX Runtime is not installed.
    """
    ort = require("onnxruntime", purpose="list the kernels of an engine")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.enable_profiling = True
    options.intra_op_num_threads = inference_threads(None) or 0
    with scratch_folder() as folder:
        options.profile_file_prefix = str(folder / "profile")
        with native_path(graph) as name:
            session = ort.InferenceSession(
                name, options, providers=[CPU], disabled_optimizers=list(DISABLED_OPTIMIZERS)
            )
        images = np.zeros((spec.batch, *spec.input_size_hw, 3), np.uint8)
        session.run(None, {"images": images, "score_threshold": np.array(0.5, np.float32)})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return tuple(_kernel(event) for event in events if event["name"].endswith(KERNEL_SUFFIX))


def _kernel(event: dict[str, Any]) -> Kernel:
    arguments = event["args"]
    kind = arguments["op_name"]
    inputs, outputs = (_types(arguments.get(key, [])) for key in ("input_type_shape", "output_type_shape"))
    # The profiler tells no weights from values; of the kernels that multiply integers one is of either.
    constants = ("int8",) if kind in INT8_KINDS else ()
    node = OPTIMIZER_SUFFIXES.sub("", event["name"].removesuffix(KERNEL_SUFFIX))
    return Kernel(name=node, kind=kind, inputs=inputs, constants=constants, outputs=outputs, nodes=(node,))


def _types(ports: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(TYPES.get(kind, kind) for port in ports for kind in port)
