"""Layers whose products are as large as 8 bits allow, beside exact arithmetic; a program, on one backend.

    python -m tests.quantisation.products onnxruntime 7

prints, as JSON, by how much of the largest sum each kind of layer is off.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from edgeseg.quantisation.qdq.writer import quantise_weight

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Kind to output channels, input channels of a group, kernel and groups.
CONVOLUTIONS = {
    "3x3": (64, 64, 3, 1),
    "1x1": (64, 256, 1, 1),
    "odd channels": (33, 31, 3, 1),
    "three channels": (64, 3, 7, 1),
    "in groups": (64, 16, 3, 4),
    "depthwise": (64, 1, 3, 64),
}
# Its sums are not rounded, as those of the output layers of the proposal network.
WIDE_OUTPUT_LAYERS = "wide"
KINDS = (*CONVOLUTIONS, "dense", WIDE_OUTPUT_LAYERS)
PIXELS = 13
ONE = np.float32(1)


def largest_errors(backend: str, bits: int) -> dict[str, float]:
    """Compute one layer of each kind.

    Args:
        backend: `onnxruntime` or `openvino`.
        bits: Of the weights.

    Returns:
        Kind to the largest error, in parts of the largest sum.
    """
    return {kind: _error(kind, backend, bits) for kind in KINDS}


def _error(kind: str, backend: str, bits: int) -> float:
    rng = np.random.default_rng(0)
    channels_out, channels_in, kernel, groups = CONVOLUTIONS.get(kind, (64, 1024, 0, 1))
    pixels = (PIXELS, PIXELS) if kernel else ()
    # Mostly of one sign, so that sums are large; the first two channels to the last of one.
    signs = np.where(rng.random((channels_out, channels_in, *[kernel] * 2 * bool(kernel))) < 0.8, 1, -1)
    signs[0], signs[1] = 1, -1
    values = rng.choice(np.array([254, 255], np.float32), (1, channels_in * groups, *pixels))
    steps, scale = quantise_weight(signs.astype(np.float32), None, ONE, bits)
    exact = _exact(values.astype(np.int64), steps.astype(np.int64), groups)
    model = _graph(steps, scale, values, groups, wide=kind == WIDE_OUTPUT_LAYERS)
    found = _run(backend, model, values) / scale.reshape(-1, *[1] * len(pixels))
    return float(np.abs(found - exact).max() / np.abs(exact).max())


def _exact(values: NDArray[np.int64], steps: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    if steps.ndim == 2:
        return values @ steps.T
    kernel = steps.shape[2]
    padded = np.pad(values[0], ((0, 0), *[(kernel // 2, kernel // 2)] * 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))
    parts = zip(np.split(windows, groups), np.split(steps, groups), strict=True)
    return np.concatenate([np.einsum("chwij,ocij->ohw", part, taken) for part, taken in parts])[None]


def _graph(
    steps: NDArray[np.int8], scale: NDArray[np.float32], values: NDArray[Any], groups: int, *, wide: bool
) -> Any:
    """Values and weights in 8 bits; results too, in a hundred steps either way, but for `wide`."""
    make, sums = onnx.helper.make_node, "output" if wide else "sums"
    if wide:
        layer = make("MatMul", ["values", "weights"], [sums])
    elif steps.ndim == 2:
        layer = make("Gemm", ["values", "weights"], [sums], transB=1)
    else:
        pads = [steps.shape[2] // 2] * 4
        layer = make("Conv", ["values", "weights"], [sums], pads=pads, group=groups)
    constants = {
        "one": ONE,
        "zero": np.uint8(0),
        "steps": steps.T.copy() if wide else steps,
        "scale": scale,
        "zeros": np.zeros(len(scale), np.int8),
        "step": np.float32(255 * np.prod(steps.shape[1:]) / 100),
        "middle": np.uint8(128),
    }
    nodes = [
        make("QuantizeLinear", ["input", "one", "zero"], ["rounded"]),
        make("DequantizeLinear", ["rounded", "one", "zero"], ["values"]),
        make("DequantizeLinear", ["steps", "scale", "zeros"], ["weights"], axis=int(wide)),
        layer,
    ]
    if not wide:
        nodes += [
            make("QuantizeLinear", [sums, "step", "middle"], ["stored"]),
            make("DequantizeLinear", ["stored", "step", "middle"], ["output"]),
        ]
    float32 = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "layer",
        [onnx.helper.make_tensor_value_info("input", float32, values.shape)],
        [onnx.helper.make_tensor_value_info("output", float32, None)],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9)


def _run(backend: str, model: Any, values: NDArray[Any]) -> NDArray[Any]:
    content = model.SerializeToString()
    if backend == "openvino":
        import openvino

        core = openvino.Core()
        compiled = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return np.asarray(compiled(values)[0])
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": values})[0])


if __name__ == "__main__":
    print(json.dumps(largest_errors(sys.argv[1], int(sys.argv[2]))))  # noqa: T201
