from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgeseg.errors import ArtifactError, DependencyError
from edgeseg.graphs.contents import read_graph
from edgeseg.ports import Port

if TYPE_CHECKING:
    from pathlib import Path

onnx = pytest.importorskip("onnx")
FLOAT, UINT8, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8, onnx.TensorProto.INT64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A graph with a branch, a constant, a scalar and a size that is only known at run time."""
    make, port = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    branches = [
        onnx.helper.make_graph([make(kind, ["float"], [kind])], kind, [], [port(kind, FLOAT, None)])
        for kind in ("Relu", "Neg")
    ]
    nodes = [
        make("Cast", ["images"], ["float"], to=FLOAT),
        make("Greater", ["threshold", "zero"], ["positive"]),
        make("If", ["positive"], ["rectified"], then_branch=branches[0], else_branch=branches[1]),
        make("Relu", ["rectified"], ["out"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "net",
        [port("images", UINT8, [1, "N", 3]), port("threshold", FLOAT, [])],
        [port("out", FLOAT, [1, "N", 3])],
        [onnx.numpy_helper.from_array(np.float32(0), "zero")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=10)
    onnx.save(model, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


PORTS = (
    Port(name="images", dtype="uint8", shape=(1, "N", 3)),
    Port(name="threshold", dtype="float32", shape=()),
)


def test_graph_with_a_branch(path: Path) -> None:
    info = read_graph(path)

    assert info.inputs == PORTS
    assert info.outputs == (Port(name="out", dtype="float32", shape=(1, "N", 3)),)
    assert info.opset == 19
    assert info.operators == {"Relu": 2, "Cast": 1, "Greater": 1, "If": 1, "Neg": 1}
    assert info.nodes == 6


def test_onnxruntime_reads_the_same_ports(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_onnx = read_graph(path)
    monkeypatch.setitem(sys.modules, "onnx", None)

    alone = read_graph(path)

    assert (alone.inputs, alone.outputs) == (with_onnx.inputs, with_onnx.outputs)
    assert (alone.opset, alone.operators, alone.nodes) == (None, None, None)


def test_neither_package(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(DependencyError, match="onnx or onnxruntime is needed to read a graph"):
        read_graph(path)


@pytest.mark.parametrize("reader", ["onnx", "onnxruntime"])
def test_file_that_is_no_graph(path: Path, reader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"\x00\xffnot a graph" * 9)
    if reader == "onnxruntime":
        monkeypatch.setitem(sys.modules, "onnx", None)

    with pytest.raises(ArtifactError, match=r"net\.onnx is not a valid ONNX graph"):
        read_graph(path)


def test_port_reads_as_people_write_it() -> None:
    assert str(PORTS[0]) == "images uint8[1, N, 3]"
