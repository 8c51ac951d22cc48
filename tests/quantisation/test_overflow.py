"""Products on x86 without VNNI are added in pairs in 16 bits: 8-bit weights overflow, 7-bit do not."""

from __future__ import annotations

import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from edgeseg.bundle.engines import machine_family
from edgeseg.graphs.amx import rewrite_for_amx
from edgeseg.quantisation.qdq.onnxruntime import onnxruntime_graph
from edgeseg.quantisation.qdq.openvino import openvino_graph
from edgeseg.quantisation.qdq.writer import Scheme, max_quantised, quantise_weight
from edgeseg.runtime.host.machine import Host, weight_bits
from edgeseg.spec import Lowering
from tests.graphs.sessions import session_of

from .products import KINDS, largest_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.calibration.table import CalibrationTable

ROOT = Path(__file__).resolve().parents[2]
HIDING = ROOT / "tests" / "x86" / "without_vnni.c"
NOT_POSSIBLE = 77
X86 = machine_family(platform.machine()) == "x86_64"
# Half of one of the hundred steps that the sums are rounded to.
HALF_A_STEP = 0.0051
needs_openvino = pytest.mark.skipif(
    find_spec("openvino") is None or not X86, reason="needs OpenVINO (extra openvino) on x86"
)
BACKENDS = ["onnxruntime", pytest.param("openvino", marks=needs_openvino)]


def added_in_pairs(values: NDArray[np.uint8], weights: NDArray[np.int8]) -> NDArray[np.int64]:
    """Add products of neighbours as `vpmaddubsw` does: the sum of two is cut to 16 bits."""
    products = values.astype(np.int64) * weights.astype(np.int64)
    sums: NDArray[np.int64] = products.reshape(-1, 2).sum(1)
    return sums.clip(-(2**15), 2**15 - 1)


@pytest.mark.parametrize(("bits", "overflows"), [(7, False), (8, True)])
def test_pairs_of_the_largest_products(bits: int, overflows: bool) -> None:
    most = max_quantised(bits)
    # 7 bits hold -64 as well, which the layout for AMX stores.
    ends = (-(2 ** (bits - 1)), -most, 0, 1, most)
    pairs = [*itertools.product((0, 1, 254, 255), ends, (0, 1, 254, 255), ends)]
    values = np.array([[a, b] for a, _, b, _ in pairs], np.uint8).ravel()
    weights = np.array([[v, w] for _, v, _, w in pairs], np.int8).ravel()
    exact = (values.astype(np.int64) * weights).reshape(-1, 2).sum(1)

    assert bool((added_in_pairs(values, weights) != exact).any()) is overflows


def test_weights_of_7_bits_use_all_of_them() -> None:
    weight = np.array([[[[1.26, -0.62]]], [[[0.0, -0.00126]]], [[[0.0, 0.0]]]], np.float32)

    steps, scale = quantise_weight(weight, None, np.float32(1), 7)

    assert steps.reshape(3, 2).tolist() == [[63, -31], [0, -63], [0, 0]]
    np.testing.assert_allclose(steps * scale.reshape(-1, 1, 1, 1), weight, atol=0.01)


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> onnx.ModelProto:
    return onnx.load(bundle.graph_path(Lowering.PORTABLE))


def stored_weights(model: onnx.ModelProto) -> dict[str, NDArray[np.int8]]:
    """Everything of a graph that is stored in signed 8 bits and is not a zero point."""
    return {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and onnx.numpy_helper.to_array(tensor).ndim > 1
    }


GRAPHS: dict[str, Callable[[Any, CalibrationTable], Any]] = {
    "onnxruntime": lambda model, table: onnxruntime_graph(model, table, weight_bits=7),
    "onnxruntime, signed": lambda model, table: onnxruntime_graph(model, table, Scheme.INT8, weight_bits=7),
    "onnxruntime, laid out for AMX": lambda model, table: rewrite_for_amx(
        onnxruntime_graph(model, table, weight_bits=7)
    ),
    "openvino": lambda model, table: openvino_graph(model, table, weight_bits=7),
}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("float_layers", [(), ("box_head.fc6", "backbone.body.layer2.0.conv1")])
def test_no_weight_of_a_graph_is_wider(
    model: onnx.ModelProto, table: CalibrationTable, name: str, float_layers: tuple[str, ...]
) -> None:
    graph = GRAPHS[name](model, replace(table, float_layers=float_layers))
    weights = stored_weights(graph)

    # 35 layers whose sources are rounded, the output layers, of which two on every level share theirs.
    assert len(weights) + len(float_layers) == len(stored_weights(onnxruntime_graph(model, table)))
    assert {name for name, steps in weights.items() if steps.min() < -64 or steps.max() > 63} == set()
    # Each channel uses what it has.
    assert all(np.abs(steps.astype(int)).max() >= 62 for steps in weights.values())


def test_onnx_runtime_makes_no_wider_weights_of_them(
    model: onnx.ModelProto, table: CalibrationTable, tmp_path: Path
) -> None:
    path = tmp_path / "optimised.onnx"
    spared = replace(table, float_layers=("box_head.fc6", "backbone.body.layer2.0.conv1"))
    session_of(onnxruntime_graph(model, spared, weight_bits=7), optimized_model_filepath=str(path))
    weights = stored_weights(onnx.load(path))

    assert len(weights) > 30
    assert all(steps.min() >= -64 and steps.max() <= 63 for steps in weights.values())


@pytest.mark.parametrize("backend", BACKENDS)
def test_this_processor_computes_exactly_with_the_weights_that_it_gets(backend: str) -> None:
    errors = largest_errors(backend, weight_bits(Host()))

    assert set(errors) == set(KINDS)
    assert max(errors.values()) < HALF_A_STEP


@pytest.fixture(scope="session")
def hiding_vnni(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment in which a program finds a processor without AVX-512, VNNI and AMX."""
    if weight_bits(Host()) != 8 or not X86:
        return {}
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler to hide VNNI from ONNX Runtime")
    library = tmp_path_factory.mktemp("hiding") / "without_vnni.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, HIDING, "-ldl"], check=True)
    environment = {"LD_PRELOAD": str(library)}
    tried = subprocess.run(["true"], env={**os.environ, **environment}, check=False)
    if tried.returncode == NOT_POSSIBLE:
        pytest.skip("this processor cannot hide VNNI: CPUID does not fault")
    return environment


@pytest.mark.skipif(not X86, reason="of x86 processors")
@pytest.mark.parametrize("backend", BACKENDS)
def test_without_vnni_7_bits_are_exact_and_8_are_not(backend: str, request: pytest.FixtureRequest) -> None:
    if backend == "openvino":
        environment = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    else:
        environment = request.getfixturevalue("hiding_vnni")

    def errors(bits: int) -> dict[str, float]:
        command = [sys.executable, "-m", "tests.quantisation.products", backend, str(bits)]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=True
        )
        return dict(json.loads(done.stdout))

    assert max(errors(7).values()) < HALF_A_STEP
    wrong = errors(8)
    # Kernels for single channels widen before they multiply.
    assert wrong.pop("depthwise") < HALF_A_STEP
    assert min(wrong.values()) > 0.3
