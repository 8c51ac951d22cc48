"""Multiply-adds, against counts by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from edgeseg.graphs.macs import Macs, count_macs

if TYPE_CHECKING:
    from pathlib import Path

onnx = pytest.importorskip("onnx")
STRIDES = {"strides": [2, 2]}
# Each half of the output is made from half of the input.
GROUPED = {**STRIDES, "group": 2}


def write(
    path: Path,
    kind: str,
    shapes: list[tuple[int | str, ...]],
    output: tuple[int | str, ...],
    **attributes: Any,
) -> Path:
    """A graph of one node; the first of `shapes` is its input, the others are constants."""
    info, types = onnx.helper.make_tensor_value_info, onnx.TensorProto
    names = [f"x{number}" for number in range(len(shapes))]
    constants = [
        onnx.numpy_helper.from_array(np.zeros(cast("tuple[int, ...]", shape), np.float32), name)
        for name, shape in list(zip(names, shapes, strict=True))[1:]
    ]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(kind, names, ["y"], **attributes)],
        "one",
        [info("x0", types.FLOAT, shapes[0])],
        [info("y", types.FLOAT, output)],
        constants,
    )
    onnx.save(onnx.helper.make_model(graph), path)
    return path


@pytest.mark.parametrize(
    ("kind", "shapes", "output", "attributes", "fixed", "each"),
    [
        ("Conv", [(1, 8, 10, 10), (16, 8, 3, 3)], (1, 16, 10, 10), {}, 16 * 100 * 8 * 9, 0),
        ("Conv", [(1, 8, 10, 10), (8, 1, 3, 3)], (1, 8, 10, 10), {"group": 8}, 8 * 100 * 9, 0),
        ("Conv", [("n", 8, 4, 4), (16, 8, 1, 1)], ("n", 16, 4, 4), {}, 0, 16 * 16 * 8),
        (
            "ConvTranspose",
            [(2, 8, 4, 4), (8, 6, 2, 2)],
            (2, 6, 8, 8),
            {"strides": [2, 2]},
            2 * 8 * 16 * 6 * 4,
            0,
        ),
        ("ConvTranspose", [(1, 8, 4, 4), (8, 3, 2, 2)], (1, 6, 8, 8), GROUPED, 4 * 3 * 64 * 2, 0),
        ("Gemm", [(10, 32), (32, 5), (5,)], (10, 5), {}, 10 * 32 * 5, 0),
        ("Gemm", [(32, 10), (32, 5), (5,)], (10, 5), {"transA": 1}, 10 * 32 * 5, 0),
        ("MatMul", [(2, 10, 32), (2, 32, 5)], (2, 10, 5), {}, 2 * 10 * 32 * 5, 0),
        ("MatMul", [("n", 10, 32), (32, 5)], ("n", 10, 5), {}, 0, 10 * 32 * 5),
        ("Relu", [(10, 32)], (10, 32), {}, 0, 0),
    ],
)
def test_one_operator(
    tmp_path: Path,
    kind: str,
    shapes: list[tuple[int | str, ...]],
    output: tuple[int | str, ...],
    attributes: dict[str, Any],
    fixed: int,
    each: int,
) -> None:
    path = write(tmp_path / "graph.onnx", kind, shapes, output, **attributes)

    assert count_macs(path) == Macs(fixed, each)


def test_of_one_image_at_so_many_detections() -> None:
    assert Macs(8_000_000_000, 500_000_000).gmacs(detections=10, batch=4) == 7
