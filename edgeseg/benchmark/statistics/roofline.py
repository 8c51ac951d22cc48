"""Measure the processor's peak rate of multiply-adds with matrix products: the roofline of every row."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.errors import DependencyError
from edgeseg.optional import require

if TYPE_CHECKING:
    from collections.abc import Callable

# A product of about 3.6 billion multiply-adds, large enough for a library to be at its best.
SIDE = 1536
REPEATS = 6
WARM_UP = 2


def measure_roofline(threads: int) -> dict[str, float]:
    """Measure the largest product of two square matrices in each precision that a library here computes.

    Args:
        threads: Of one product.

    Returns:
        Precision to billions of multiply-adds a second, the best of the libraries.
    """
    peaks: dict[str, float] = {}
    for prepare in MATRIX_PRODUCTS:
        try:
            precision, product = prepare(threads)
        except DependencyError:
            continue
        # A library may know the type and not this processor; then it is no ceiling.
        except Exception:  # noqa: BLE001
            continue
        peaks[precision] = max(peaks.get(precision, 0.0), _gmacs_per_s(product))
    return peaks


def _gmacs_per_s(product: Callable[[], Any]) -> float:
    times = []
    for _ in range(WARM_UP + REPEATS):
        start = time.perf_counter()
        product()
        times.append(time.perf_counter() - start)
    # The fastest: whatever slows a product down is not the processor.
    return SIDE**3 / min(times[WARM_UP:]) / 1e9


def _torch_float(threads: int) -> tuple[str, Callable[[], Any]]:
    return "fp32", _torch_product(threads, "float32")


def _torch_bfloat(threads: int) -> tuple[str, Callable[[], Any]]:
    return "bf16", _torch_product(threads, "bfloat16")


def _torch_product(threads: int, kind: str) -> Callable[[], Any]:
    torch = require("torch", purpose="measure a matrix product")
    torch.set_num_threads(threads)
    matrix = torch.rand(SIDE, SIDE).to(getattr(torch, kind))
    return lambda: torch.mm(matrix, matrix)


def _openvino_float(threads: int) -> tuple[str, Callable[[], Any]]:
    return "fp32", _openvino_product(threads, "f32", in_8_bits=False)


def _openvino_bfloat(threads: int) -> tuple[str, Callable[[], Any]]:
    openvino = require("openvino", purpose="measure a matrix product")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        msg = "this processor has no bfloat16"
        raise DependencyError(msg)
    return "bf16", _openvino_product(threads, "bf16", in_8_bits=False)


def _openvino_int8(threads: int) -> tuple[str, Callable[[], Any]]:
    return "int8", _openvino_product(threads, "f32", in_8_bits=True)


def _openvino_product(threads: int, kind: str, *, in_8_bits: bool) -> Callable[[], Any]:
    """Multiply with a constant, as a layer does; quantising input and output is small beside it."""
    openvino = require("openvino", purpose="measure a matrix product")
    ops = require("openvino.opset13", purpose="measure a matrix product")
    numbers = np.random.default_rng(0).uniform(0, 1, (SIDE, SIDE)).astype(np.float32)
    graph_input = ops.parameter([SIDE, SIDE], np.float32)
    left, right = graph_input, ops.constant(numbers)
    if in_8_bits:
        left = ops.fake_quantize(left, *_fake_quantise_range(0.0, 1.0), 256)
        right = ops.fake_quantize(right, *_fake_quantise_range(-1.0, 1.0), 255)
    model = openvino.Model([ops.matmul(left, right, False, False)], [graph_input], "product")
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": kind,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer([numbers], share_inputs=True, share_outputs=True)


def _fake_quantise_range(low: float, high: float) -> list[Any]:
    """List the input and output ranges of a FakeQuantize."""
    return [np.array(value, np.float32) for value in (low, high, low, high)]


def _onnx_int8(threads: int) -> tuple[str, Callable[[], Any]]:
    ort = require("onnxruntime", purpose="measure a matrix product")
    onnx = require("onnx", purpose="measure a matrix product")
    rng = np.random.default_rng(0)
    left = rng.integers(0, 255, (SIDE, SIDE), np.uint8)
    right = onnx.numpy_helper.from_array(rng.integers(-127, 127, (SIDE, SIDE), np.int8), "right")
    info, types = onnx.helper.make_tensor_value_info, onnx.TensorProto
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMulInteger", ["left", "right"], ["product"])],
        "product",
        [info("left", types.UINT8, [SIDE, SIDE])],
        [info("product", types.INT32, [SIDE, SIDE])],
        [right],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return "int8", lambda: session.run(None, {"left": left})


MATRIX_PRODUCTS = (_torch_float, _torch_bfloat, _openvino_float, _openvino_bfloat, _openvino_int8, _onnx_int8)
