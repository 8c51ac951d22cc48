"""TensorRT for RTX parses and builds without a GPU, so these run wherever its wheels exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgeseg.builder.kernels import int8_nodes, kernels_from_log
from edgeseg.errors import ArtifactError, BuildError, ConfigError

from .rtx import build_rtx, needs_rtx

onnx = pytest.importorskip("onnx")

if TYPE_CHECKING:
    from pathlib import Path

UINT8, FLOAT, INT64 = onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, inputs.split(), outputs.split(), name=f"a_{kind}", **attributes)


def save_graph(
    path: Path,
    nodes: list[Any],
    ports: tuple[Any, Any],
    constants: dict[str, np.ndarray] | None = None,
) -> Path:
    initializers = [onnx.numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    graph = onnx.helper.make_graph(nodes, "net", [ports[0]], [ports[1]], initializers)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path


def port(name: str, kind: int, shape: tuple[int | None, ...]) -> Any:
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def detector_like(path: Path) -> Path:
    rng = np.random.default_rng(0)
    nodes = [
        node("Cast", "images", "float", to=FLOAT),
        node("Transpose", "float", "planar", perm=[0, 3, 1, 2]),
        node("Conv", "planar weight", "features"),
        node("GridSample", "features grid", "sampled"),
        node("Reshape", "sampled flat", "row"),
        node("TopK", "row k", "scores indices"),
    ]
    constants = {
        "weight": rng.random((4, 3, 3, 3), dtype=np.float32),
        "grid": rng.random((1, 5, 5, 2), dtype=np.float32),
        "flat": np.array([1, -1]),
        "k": np.array([8]),
    }
    ports = (port("images", UINT8, (1, 16, 16, 3)), port("scores", FLOAT, (1, 8)))
    return save_graph(path, nodes, ports, constants)


@needs_rtx
def test_build_of_convolution_topk_and_grid_sample(tmp_path: Path) -> None:
    engine = build_rtx(detector_like(tmp_path / "net.onnx"))

    assert engine.layers >= 6
    assert len(engine.data) > 1000


@needs_rtx
def test_one_engine_for_several_gpu_generations(tmp_path: Path) -> None:
    targets = ("SM75", "SM86", "SM89", "SM120")

    engine = build_rtx(detector_like(tmp_path / "net.onnx"), *targets)

    assert len(engine.data) > 1000
    # The lists of several generations cannot be told apart.
    assert engine.kernels == ()


@needs_rtx
def test_uint8_input_must_be_cast_first(tmp_path: Path) -> None:
    nodes = [
        node("Transpose", "images", "planar", perm=[0, 3, 1, 2]),
        node("Cast", "planar", "out", to=FLOAT),
    ]
    ports = (port("images", UINT8, (1, 16, 16, 3)), port("out", FLOAT, (1, 3, 16, 16)))
    graph = save_graph(tmp_path / "transpose.onnx", nodes, ports)

    with pytest.raises(BuildError, match=r"transpose\.onnx"):
        build_rtx(graph)


@needs_rtx
def test_refusal_of_non_max_suppression_names_the_node(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    nodes = [node("NonMaxSuppression", "boxes scores most", "kept")]
    constants = {"scores": rng.random((1, 1, 50), dtype=np.float32), "most": np.array([5])}
    ports = (port("boxes", FLOAT, (1, 50, 4)), port("kept", INT64, (None, 3)))
    graph = save_graph(tmp_path / "nms.onnx", nodes, ports, constants)

    with pytest.raises(BuildError, match="a_NonMaxSuppression"):
        build_rtx(graph)


@needs_rtx
def test_refusal_of_non_zero_names_node_and_operator(tmp_path: Path) -> None:
    ports = (port("boxes", FLOAT, (1, 50, 4)), port("where", INT64, (3, None)))
    graph = save_graph(tmp_path / "nonzero.onnx", [node("NonZero", "boxes", "where")], ports)

    with pytest.raises(BuildError, match=r"node 'a_NonZero' \(NonZero\): .*plugin"):
        build_rtx(graph)


@needs_rtx
def test_truncated_graph_is_refused(tmp_path: Path) -> None:
    whole = detector_like(tmp_path / "net.onnx").read_bytes()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(BuildError, match=r"cannot parse .*half\.onnx"):
        build_rtx(tmp_path / "half.onnx")


@needs_rtx
def test_absent_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no graph at .*absent\.onnx"):
        build_rtx(tmp_path / "absent.onnx")


@needs_rtx
@pytest.mark.parametrize("unknown", ["SM87", "SM90", "CURRENT", "86"])
def test_gpu_that_it_cannot_build_for(tmp_path: Path, unknown: str) -> None:
    with pytest.raises(ConfigError, match=rf"SM86.*got '{unknown}'"):
        build_rtx(detector_like(tmp_path / "net.onnx"), unknown)


@needs_rtx
def test_kernels_are_listed(tmp_path: Path) -> None:
    kernels = build_rtx(detector_like(tmp_path / "net.onnx")).kernels

    assert "a_Conv" in {node for kernel in kernels for node in kernel.nodes}
    assert not int8_nodes(kernels)


def test_list_of_kernels() -> None:
    value = "[ {{ Name: x, Dimensions: [1,64], Datatype: {}, Format: (Linear) Row major }}]"
    line = "Name: {}, LayerType: {}, Inputs: {}, Constants: {}, Outputs: {}, TacticName: t, Metadata: {}"
    lists = [
        "Layers:",
        line.format(
            "a",
            "correlation",
            *map(value.format, ("Int8", "Int8", "Half")),
            "[ONNX Layer: c1][ONNX Layer: c2]",
        ),
        line.format("b", "kgen", value.format("Int8"), "[]", value.format("Half"), "[ONNX Layer: add]"),
        line.format("c", "correlation", *map(value.format, ("Half", "Int8", "Half")), "[ONNX Layer: c3]"),
    ]
    kernels = kernels_from_log(["Name: not in the list", "\n".join(lists), "Bindings: images"])

    assert [(kernel.name, kernel.kind) for kernel in kernels] == [
        ("a", "correlation"),
        ("b", "kgen"),
        ("c", "correlation"),
    ]
    assert (kernels[0].inputs, kernels[0].constants, kernels[0].outputs) == (
        ("int8",),
        ("int8",),
        ("float16",),
    )
    assert int8_nodes(kernels) == {"c1", "c2"}
