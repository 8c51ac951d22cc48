"""What a bundle and its graphs contain, as records; reads graphs without running them."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeseg.bundle.external_data import check_self_contained
from edgeseg.bundle.manifest import FileRecord
from edgeseg.errors import ArtifactError, DependencyError, first_line
from edgeseg.files.native import native_path
from edgeseg.optional import install_command, require
from edgeseg.ports import Port
from edgeseg.spec import Lowering, ModelSpec

from .editor import inner_graphs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphInfo:
    """What one graph takes, gives and is made of.

    Attributes:
        opset: None, like `operators`, where only ONNX Runtime could read the graph.
        operators: Operator to count, the most frequent first; those inside loops and branches included.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    opset: int | None
    operators: dict[str, int] | None

    @property
    def nodes(self) -> int | None:
        """Count of all nodes."""
        return None if self.operators is None else sum(self.operators.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleInfo:
    """All that `edgeseg inspect` shows of a bundle.

    Attributes:
        graphs: File name to content; empty where `unread` says why.
        unread: Why the graphs could not be read, and what to install; None when they were.
    """

    path: str
    spec: ModelSpec
    files: dict[str, FileRecord]
    graphs: dict[str, GraphInfo]
    unread: str | None


def read_bundle(bundle: Bundle) -> BundleInfo:
    """Describe a bundle and the graphs in it.

    Raises:
        ArtifactError: A graph is not valid ONNX.
    """
    names = [lowering.file_name for lowering in Lowering if lowering.file_name in bundle.files]
    graphs: dict[str, GraphInfo] = {}
    unread = None
    try:
        graphs = {name: read_graph(bundle.path / name) for name in names}
    except DependencyError as exc:
        unread = str(exc)
    return BundleInfo(
        path=str(bundle.path), spec=bundle.spec, files=bundle.files, graphs=graphs, unread=unread
    )


def read_graph(path: Path) -> GraphInfo:
    """Read a graph with `onnx`, or its inputs and outputs with ONNX Runtime where that is all there is.

    Raises:
        ArtifactError: The file is not valid ONNX, or takes numbers from other files.
        DependencyError: Neither package is installed.
    """
    check_self_contained(path)
    try:
        onnx = require("onnx", purpose="read a graph")
    except DependencyError:
        return _read_with_onnxruntime(path)
    with _mapped_errors(path):
        model = onnx.load(str(path), load_external_data=False)
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    counts = Counter(node.op_type for node in _nodes(graph))
    return GraphInfo(
        inputs=tuple(_port(onnx, value) for value in graph.input if value.name not in constants),
        outputs=tuple(_port(onnx, value) for value in graph.output),
        opset=next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), None),
        operators=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
    )


def _read_with_onnxruntime(path: Path) -> GraphInfo:
    try:
        ort = require("onnxruntime", purpose="read a graph")
    except DependencyError as exc:
        choice = f"{install_command('onnx')}, or {install_command('onnxruntime')}"
        msg = (
            f"onnx or onnxruntime is needed to read a graph and neither is installed; mend it with: {choice}"
        )
        raise DependencyError(msg) from exc
    options = ort.SessionOptions()
    # Only the signature is wanted, and optimising the graph is most of what opening it costs.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    with _mapped_errors(path), native_path(path) as name:
        session = ort.InferenceSession(name, options, providers=["CPUExecutionProvider"])
    return GraphInfo(
        inputs=tuple(_port_from_argument(value) for value in session.get_inputs()),
        outputs=tuple(_port_from_argument(value) for value in session.get_outputs()),
        opset=None,
        operators=None,
    )


@contextmanager
def _mapped_errors(path: Path) -> Iterator[None]:
    """Turn the errors of whatever reads a graph into a sentence.

    ONNX Runtime's have no base but `Exception`, and protobuf's decoder has an error tree of its own, which
    moves between releases.
    """
    try:
        yield
    except Exception as exc:
        msg = f"{path} is not a valid ONNX graph ({first_line(exc)}); export the bundle again"
        raise ArtifactError(msg) from exc


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for inner in inner_graphs(node):
            yield from _nodes(inner)


def _port(onnx: Any, value: Any) -> Port:
    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    sizes = (
        size.dim_value if size.HasField("dim_value") else size.dim_param or "?" for size in tensor.shape.dim
    )
    return Port(name=value.name, dtype=str(dtype), shape=tuple(sizes))


def _port_from_argument(value: Any) -> Port:
    """Translate ONNX Runtime's description, whose types read `tensor(float)`."""
    dtype = value.type.removeprefix("tensor(").removesuffix(")")
    dtype = {"float": "float32", "double": "float64"}.get(dtype, dtype)
    return Port(
        name=value.name, dtype=dtype, shape=tuple("?" if size is None else size for size in value.shape)
    )
