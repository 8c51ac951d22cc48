"""OpenVINO: x86 processors, in float32, in bfloat16 where they have it, and in 8 bits."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.bundle.external_data import check_self_contained
from edgeseg.errors import ArtifactError, ConfigError
from edgeseg.files.native import native_path
from edgeseg.optional import require
from edgeseg.ports import IMAGES, SCORE_THRESHOLD, ports_from_spec
from edgeseg.runtime.contract import check_images, check_ports, closed_error, raw_from_outputs
from edgeseg.runtime.host.processors import inference_threads
from edgeseg.spec import Lowering

from .signal_stack import kept_signal_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from edgeseg.ports import Port
    from edgeseg.runtime.contract import RawDetections
    from edgeseg.spec import ModelSpec

DEVICE = "CPU"
# What it calls NumPy's types.
TYPE_NAMES = {"uint8": "u8", "int32": "i32", "float32": "f32"}
PRECISIONS = ("fp32", "bf16", "int8")
# The number of boxes is another in every frame. By default OpenVINO keeps what it made for each, up to 5000
# of every kind, a megabyte or so a number of boxes; what keeping none costs is in docs/live.md.
CACHED_SHAPES = 0


def has_bfloat16() -> bool:
    """Whether this processor computes in bfloat16 by instructions of its own.

    Raises:
        DependencyError: OpenVINO is not installed.
    """
    openvino = require("openvino", purpose="compute with OpenVINO")
    return "BF16" in openvino.Core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")


class OpenVinoBackend:
    """The portable graph, or its 8-bit form, on OpenVINO.

    Calls from several threads take turns: each uses all of its threads on one frame.

    Args:
        graph: `portable.onnx` of a bundle, or for `int8` an engine built from it.
        spec: What the graph must look like.
        precision: `fp32`, `bf16` or `int8`. What an 8-bit graph leaves in float is computed in bfloat16 where
            the processor has it, but for boxes and scores, which are float32 always.
        threads: Of one inference; None for one a core that may be used, as `inference_threads`.

    Raises:
        ArtifactError: The graph cannot be loaded or is not what the spec says.
        ConfigError: No such precision, or this processor has no bfloat16.
        DependencyError: OpenVINO is not installed.
    """

    def __init__(self, graph: Path, spec: ModelSpec, *, precision: str, threads: int | None = None) -> None:
        self._openvino = require("openvino", purpose="compute with OpenVINO")
        self._spec = spec
        self._lock = threading.Lock()
        kind = _float_kind(precision)
        model = self._read(graph)
        self._check(model, graph)
        if kind == "bf16":
            _keep_boxes_in_float32(model)
        self._request: Any = self._compile(model, graph, kind, threads)

    @property
    def description(self) -> str:
        """OpenVINO's version and where it computes."""
        self._require_open()
        return f"OpenVINO {self._version} on {DEVICE}"

    def __call__(self, images: NDArray[np.uint8], score_threshold: float) -> RawDetections:
        """See `Backend.__call__`."""
        check_images(images, self._spec)
        feeds = {IMAGES: images, SCORE_THRESHOLD: np.array(score_threshold, np.float32)}
        with self._lock:
            request = self._require_open()
            with self._mapped_errors("the graph failed to compute"):
                found = request.infer(feeds, share_inputs=False, share_outputs=False)
        return raw_from_outputs(found)

    def execution_graph(self) -> Any:
        """Give the graph that OpenVINO compiled, an `openvino.Model` whose nodes tell what computes them."""
        return self._require_open().get_compiled_model().get_runtime_model()

    def close(self) -> None:
        """See `Backend.close`."""
        with self._lock, kept_signal_stack():
            self._request = None

    @property
    def _version(self) -> str:
        # "2026.4.1-22982-e213a147257-releases/2026/4"
        return str(self._openvino.__version__).partition("-")[0]

    def _require_open(self) -> Any:
        if self._request is None:
            raise closed_error()
        return self._request

    def _read(self, graph: Path) -> Any:
        check_self_contained(graph)
        # Not Core.read_model: where that is no ONNX it asks readers of other formats, which print to stderr.
        with self._mapped_errors(f"cannot load {graph}"):
            readers = require("openvino.frontend", purpose="compute with OpenVINO").FrontEndManager()
            reader = readers.load_by_framework("onnx")
            with native_path(graph) as name:
                return reader.convert(reader.load(name))

    def _compile(self, model: Any, graph: Path, kind: str, threads: int | None) -> Any:
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": kind,
            "CPU_RUNTIME_CACHE_CAPACITY": CACHED_SHAPES,
        }
        if (threads := inference_threads(threads)) is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        with self._mapped_errors(f"cannot load {graph}"), kept_signal_stack():
            return self._openvino.Core().compile_model(model, DEVICE, settings).create_infer_request()

    def _check(self, model: Any, graph: Path) -> None:
        ports = ports_from_spec(self._spec, Lowering.PORTABLE)
        expected = {port.name: port for port in (*ports.inputs, *ports.outputs)}
        found = {port.any_name: port for port in (*model.inputs, *model.outputs)}
        check_ports(
            graph,
            {name: self._found_text(port, expected.get(name)) for name, port in found.items()},
            {name: _port_text(port) for name, port in expected.items()},
        )

    def _found_text(self, port: Any, expected: Port | None) -> str:
        """Write a port's type and shape; a shape that OpenVINO leaves open passes for the expected one."""
        kind = port.element_type.get_type_name()
        text = f"{kind}{port.partial_shape.to_string()}"
        if expected is None or kind != TYPE_NAMES[expected.dtype]:
            return text
        shape = self._openvino.PartialShape(list(expected.shape))
        return _port_text(expected) if port.partial_shape.compatible(shape) else text

    @contextmanager
    def _mapped_errors(self, what: str) -> Iterator[None]:
        """Turn OpenVINO's errors into sentences."""
        try:
            yield
        except Exception as exc:
            # First come the places in OpenVINO's source, last what is wrong.
            lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
            msg = f"{what}; OpenVINO {self._version}: {lines[-1] if lines else type(exc).__name__}"
            raise ArtifactError(msg) from exc


def _float_kind(precision: str) -> str:
    """Choose the type of what is computed in float.

    Raises:
        ConfigError: No such precision, or this processor has no bfloat16.
    """
    if precision not in PRECISIONS:
        msg = f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}"
        raise ConfigError(msg)
    if precision == "fp32":
        return "f32"
    if has_bfloat16():
        return "bf16"
    if precision == "bf16":
        msg = (
            "precision bf16 needs a processor with bfloat16 (AVX512_BF16 or AMX), and this one has none; "
            "use fp32 or int8"
        )
        raise ConfigError(msg)
    return "f32"


def _keep_boxes_in_float32(model: Any) -> None:
    """Make outputs of the boxes that RoiAlign takes: what leads to an output stays float32 in OpenVINO.

    In bfloat16 a coordinate of 1000 px is exact to 4 px.
    """
    crops = [node for node in model.get_ordered_ops() if node.get_type_name() == "ROIAlign"]
    if crops:
        model.add_outputs([node.input_value(1) for node in crops])


def _port_text(port: Port) -> str:
    return f"{TYPE_NAMES[port.dtype]}{list(port.shape)}".replace(" ", "")
