from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgeseg.bundle.engines import (
    EngineOptions,
    EngineRecord,
    Precision,
    Target,
    engine_path,
    write_engine_record,
)
from edgeseg.bundle.external_data import check_self_contained
from edgeseg.bundle.manifest import file_record, open_bundle, write_manifest
from edgeseg.errors import ArtifactError
from edgeseg.runtime.backends.onnxruntime import OnnxRuntimeBackend
from edgeseg.runtime.backends.openvino import OpenVinoBackend
from edgeseg.runtime.model import load
from tests.runtime.fake_bundle import make_bundle, make_spec, write_graph

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

onnx = pytest.importorskip("onnx")


def external(name: str = "secret", location: str = "../outside.bin") -> Any:
    tensor = onnx.numpy_helper.from_array(np.zeros(4, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def node(kind: str = "Constant", **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, [], ["out"], name="there", **attributes)


def graph_of(*nodes: Any, tensors: Any = ()) -> Any:
    return onnx.helper.make_graph(list(nodes), "inner", [], [], list(tensors))


def initializer(model: Any) -> None:
    model.graph.initializer.append(external())


def named_without_location(model: Any) -> None:
    tensor = external()
    tensor.ClearField("data_location")
    model.graph.initializer.append(tensor)


def located_without_name(model: Any) -> None:
    tensor = external()
    del tensor.external_data[:]
    model.graph.initializer.append(tensor)


def constant(model: Any) -> None:
    model.graph.node.append(node(value=external()))


def sparse(model: Any) -> None:
    values, places = external(), onnx.numpy_helper.from_array(np.arange(4), "places")
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, places, [9]))


def branch(model: Any) -> None:
    inner = graph_of(node("If", then_branch=graph_of(tensors=[external()])))
    model.graph.node.append(node("Loop", body=inner))


def function(model: Any) -> None:
    made = onnx.helper.make_function("own", "F", [], [], [node(value=external())], [])
    model.functions.append(made)


def training(model: Any) -> None:
    model.training_info.add().algorithm.CopyFrom(graph_of(tensors=[external()]))


def in_memory(model: Any) -> None:
    model.graph.initializer.append(external(location="*/_ORT_MEM_ADDR_/*"))


def engine(model: Any) -> None:
    context = node("EPContext", ep_cache_context="../outside.engine", embed_mode=0)
    context.domain = "com.microsoft"
    model.graph.node.append(context)


WAYS: tuple[Callable[[Any], None], ...] = (
    initializer,
    named_without_location,
    located_without_name,
    constant,
    sparse,
    branch,
    function,
    training,
    in_memory,
    engine,
)


def write(path: Path, way: Callable[[Any], None] | None) -> Path:
    write_graph(path, make_spec())
    if way is not None:
        model = onnx.load(path)
        way(model)
        path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_graph_that_takes_from_other_files(tmp_path: Path, way: Callable[[Any], None]) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    graph = write(folder / "portable.onnx", way)
    write_manifest(folder, make_spec(), ["portable.onnx"])

    with pytest.raises(
        ArtifactError, match=r"portable\.onnx .*(external data|EPContext).*hold everything itself"
    ):
        open_bundle(folder)
    with pytest.raises(ArtifactError, match="hold everything itself"):
        OnnxRuntimeBackend(graph, make_spec(), threads=1)
    with pytest.raises(ArtifactError, match="hold everything itself"):
        OpenVinoBackend(graph, make_spec(), precision="fp32", threads=1)


def test_an_engine_that_takes_from_other_files(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "model")
    path = engine_path(folder, Target.ONNXRUNTIME, Precision.INT8)
    path.parent.mkdir()
    write(path, initializer)
    record = EngineRecord(
        backend=Target.ONNXRUNTIME,
        backend_version="1",
        precision=Precision.INT8,
        options=EngineOptions(machine="x86_64", weight_bits=7),
        file=file_record(path),
        graph_sha256=open_bundle(folder).files["portable.onnx"].sha256,
        build_s=1.0,
    )
    write_engine_record(path, record)

    with pytest.raises(ArtifactError, match=r"onnxruntime-int8\.onnx takes the numbers of 'secret'"):
        load(folder, backend="onnxruntime", precision="int8")


def test_a_whole_graph_passes(tmp_path: Path) -> None:
    check_self_contained(write(tmp_path / "x.onnx", None))


@pytest.mark.parametrize(
    "content",
    [b"", b"graph" * 100, b"\xff" * 99, b"\x3a\x7f", b"\x3b" * 500, b"\x3c"],
    ids=["empty", "text", "endless number", "cut off", "ends of groups", "end of a group"],
)
def test_what_is_no_protocol_buffer_is_left_to_the_library(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.onnx").write_bytes(content)

    check_self_contained(tmp_path / "x.onnx")


def test_unknown_groups_hide_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "x.onnx", initializer)
    # Field 1000 as a group, long out of use, which parsers pass over.
    path.write_bytes(b"\xc3\x3e\x08\x01\xc4\x3e" + path.read_bytes())

    with pytest.raises(ArtifactError, match="external data"):
        check_self_contained(path)


def nested(depth: int) -> bytes:
    body = b""
    for _ in range(depth):
        for key in (b"\x32", b"\x2a", b"\x0a"):
            size, length = len(body), b""
            while size > 127:
                length += bytes([size & 127 | 128])
                size >>= 7
            body = key + length + bytes([size]) + body
    return body


def test_a_graph_of_very_many_or_deep_parts_is_refused_soon(tmp_path: Path) -> None:
    body = nested(5000)
    model = onnx.ModelProto()
    (tmp_path / "x.onnx").write_bytes(model.SerializeToString() + b"\x3a" + varint(len(body)) + body)
    with pytest.raises(ArtifactError, match="more parts, or deeper ones"):
        check_self_contained(tmp_path / "x.onnx")
    many = b"\x0a\x00" * 1_100_000
    (tmp_path / "y.onnx").write_bytes(b"\x3a" + varint(len(many)) + many)
    with pytest.raises(ArtifactError, match="more parts, or deeper ones"):
        check_self_contained(tmp_path / "y.onnx")


def varint(value: int) -> bytes:
    data = b""
    while value > 127:
        data += bytes([value & 127 | 128])
        value >>= 7
    return data + bytes([value])


def test_the_runtime_needs_no_onnx_for_it() -> None:
    source = sys.modules[check_self_contained.__module__].__file__
    assert source is not None
    with open(source, encoding="utf-8") as file:  # noqa: PTH123 - a path of Python's own
        assert "import onnx" not in file.read()
