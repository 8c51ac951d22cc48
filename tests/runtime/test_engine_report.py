"""What is told of an engine, whether or not it runs here."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import pytest

from edgeseg.bundle.compatibility import DeviceInfo
from edgeseg.bundle.engines import (
    PRECISIONS_OF,
    EngineOptions,
    EngineRecord,
    Gpu,
    Kernel,
    Precision,
    Target,
    engine_path,
    machine_family,
    write_engine_record,
)
from edgeseg.bundle.manifest import file_record, open_bundle, write_manifest
from edgeseg.bundle.refusals import Difference, RefusalKind
from edgeseg.errors import ArtifactError
from edgeseg.records import json_from_record
from edgeseg.runtime import selection
from edgeseg.runtime.engine_report import KernelCount, engine_names, read_engine
from edgeseg.runtime.selection import engine_refusal

from .fake_bundle import make_spec

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle

# Engines that are made up here have 8-bit weights.
pytestmark = pytest.mark.usefixtures("vnni")
A5000 = Gpu(name="NVIDIA RTX A5000", compute_capability="8.6", driver="12.6")
GRAPH = "portable.onnx"
KERNELS = (
    Kernel(name="c", kind="Conv", inputs=("float32", "int64"), outputs=("float32",), nodes=("c",)),
    Kernel(name="a", kind="QLinearConv", inputs=("uint8",), outputs=("uint8",), nodes=("a",)),
    Kernel(name="b", kind="QLinearConv", inputs=("uint8", "uint8"), outputs=("uint8",), nodes=("b",)),
    Kernel(name="d", kind="QuantizeLinear", inputs=("float32",), outputs=("uint8",), nodes=("d",)),
    Kernel(name="e", kind="DequantizeLinear", inputs=("uint8",), outputs=("float32",), nodes=("e",)),
)


def add_engine(
    folder: Path,
    target: Target,
    precision: Precision,
    *,
    content: bytes | None = b"an engine",
    machine: str | None = None,
    options: dict[str, Any] | None = None,
    **facts: Any,
) -> Path:
    """Put an engine into a bundle.

    Args:
        content: Of its file; None for the bundle's own graph.
        machine: That it is for; None for this one.
        options: More of its settings.
        facts: More of its record.
    """
    path = engine_path(folder, target, precision)
    path.parent.mkdir(exist_ok=True)
    if content is not None:
        path.write_bytes(content)
    family = machine or machine_family(platform.machine())
    record = {
        "backend_version": "10.3.0",
        "options": EngineOptions(machine=family, **(options or {})),
        "file": file_record(path) if content is not None else None,
        "graph_sha256": open_bundle(folder).files[GRAPH].sha256,
        "build_s": 12.34,
        **facts,
    }
    write_engine_record(path, EngineRecord(backend=target, precision=precision, **record))
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle whose graph nobody loads."""
    (tmp_path / GRAPH).write_bytes(b"a graph")
    write_manifest(tmp_path, make_spec(), [GRAPH])
    return open_bundle(tmp_path)


def test_engines_are_named_the_fastest_first(bundle: Bundle) -> None:
    pairs = [(target, precision) for target in Target for precision in PRECISIONS_OF[target]]
    for target, precision in reversed(pairs):
        add_engine(bundle.path, target, precision)

    assert engine_names(bundle.path) == (
        "tensorrt-int8",
        "tensorrt-fp16",
        "tensorrt-fp32",
        "tensorrt-rtx-int8",
        "tensorrt-rtx-fp16",
        "tensorrt-rtx-fp32",
        "openvino-int8",
        "openvino-bf16",
        "openvino-fp32",
        "onnxruntime-int8",
        "onnxruntime-fp32",
    )
    for name in engine_names(bundle.path):
        assert f"{read_engine(bundle, name).record.backend.value}" in name


def test_an_engine_that_fits(bundle: Bundle) -> None:
    path = add_engine(bundle.path, Target.ONNXRUNTIME, Precision.INT8)

    info = read_engine(bundle, "onnxruntime-int8")

    assert (info.name, info.path, info.unfit) == ("onnxruntime-int8", str(path), "")
    assert info.record.build_s == 12.34
    assert (info.layers_by_type, info.kernels, info.not_int8, info.rounding) == ({}, (), (), 0)


def test_an_engine_that_is_the_bundles_own_graph(bundle: Bundle) -> None:
    add_engine(bundle.path, Target.ONNXRUNTIME, Precision.FP32, content=None)

    info = read_engine(bundle, "onnxruntime-fp32")

    assert (info.path, info.unfit) == (str(bundle.path / GRAPH), "")


def test_kernels_are_counted_by_kind_and_by_what_they_read(bundle: Bundle) -> None:
    add_engine(bundle.path, Target.ONNXRUNTIME, Precision.INT8, kernels=KERNELS)

    info = read_engine(bundle, "onnxruntime-int8")

    assert info.kernels[0] == KernelCount(kind="QLinearConv", reads="uint8", count=2)
    assert KernelCount(kind="Conv", reads="float32, int64", count=1) in info.kernels
    assert sum(item.count for item in info.kernels) == len(KERNELS)
    assert info.rounding == 2


@pytest.mark.parametrize(("precision", "left"), [(Precision.INT8, ("first", "boxes")), (Precision.FP32, ())])
def test_layers_that_an_8_bit_engine_left_in_float(
    bundle: Bundle, precision: Precision, left: tuple[str, ...]
) -> None:
    layers = {"first": "fp32", "second": "int8", "third": "int8", "boxes": "fp32", "fourth": "int8"}
    add_engine(bundle.path, Target.ONNXRUNTIME, precision, layers=layers)

    info = read_engine(bundle, f"onnxruntime-{precision.value}")

    assert list(info.layers_by_type.items()) == [("int8", 3), ("fp32", 2)]
    assert info.not_int8 == left


@pytest.mark.parametrize(
    ("spoil", "subject", "built"),
    [
        ({"machine": "s390x"}, "machine", "s390x"),
        pytest.param({"graph_sha256": "0" * 64}, "graph", "0" * 12, id="another graph"),
    ],
)
def test_an_engine_that_does_not_fit_is_shown_with_the_reason(
    bundle: Bundle, spoil: dict[str, Any], subject: str, built: str
) -> None:
    add_engine(bundle.path, Target.ONNXRUNTIME, Precision.INT8, kernels=KERNELS, **spoil)

    info = read_engine(bundle, "onnxruntime-int8")

    refusal = engine_refusal(bundle, Target.ONNXRUNTIME, Precision.INT8)
    assert refusal is not None
    assert [(item.subject, item.built) for item in refusal.differences] == [(subject, built)]
    assert info.unfit == refusal.reason
    assert len(info.kernels) == 4


def test_a_truncated_engine_is_shown_with_the_reason(bundle: Bundle) -> None:
    add_engine(bundle.path, Target.ONNXRUNTIME, Precision.INT8).write_bytes(b"an eng")

    refusal = engine_refusal(bundle, Target.ONNXRUNTIME, Precision.INT8)
    assert refusal is not None
    assert refusal.kind is RefusalKind.ALTERED
    assert "truncated or altered" in read_engine(bundle, "onnxruntime-int8").unfit


def test_an_engine_for_a_gpu_that_is_not_here(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        selection, "read_device_info", lambda target: DeviceInfo(machine=machine_family(platform.machine()))
    )
    add_engine(bundle.path, Target.TENSORRT, Precision.FP16, gpu=A5000)

    refusal = engine_refusal(bundle, Target.TENSORRT, Precision.FP16)

    assert refusal is not None
    assert refusal.differences == (Difference(subject="GPU", built=A5000.name, here="none"),)
    assert "edgeseg build-engine --fp16 --target tensorrt --force" in refusal.reason
    assert read_engine(bundle, "tensorrt-fp16").unfit == refusal.reason


@pytest.mark.parametrize("name", ["tensorrt-int8", "onnxruntime", "onnxruntime-fp16", "", "../model"])
def test_an_engine_that_is_not_there(bundle: Bundle, name: str) -> None:
    add_engine(bundle.path, Target.ONNXRUNTIME, Precision.INT8)

    with pytest.raises(ArtifactError, match=f"has no engine {name!r}; it has onnxruntime-int8$"):
        read_engine(bundle, name)


def test_a_bundle_without_engines_names_the_command(bundle: Bundle) -> None:
    with pytest.raises(ArtifactError, match="it has none; build one with `edgeseg build-engine`"):
        read_engine(bundle, "onnxruntime-int8")


def test_a_broken_record_names_the_command(bundle: Bundle) -> None:
    add_engine(bundle.path, Target.ONNXRUNTIME, Precision.INT8).with_suffix(".json").write_text("{", "utf-8")

    with pytest.raises(ArtifactError, match=r"not valid JSON.*edgeseg build-engine --int8 .* --force"):
        read_engine(bundle, "onnxruntime-int8")


def test_it_becomes_json(bundle: Bundle) -> None:
    add_engine(bundle.path, Target.ONNXRUNTIME, Precision.INT8, kernels=KERNELS)

    data = json_from_record(read_engine(bundle, "onnxruntime-int8"))

    assert data["kernels"][0] == {"kind": "QLinearConv", "reads": "uint8", "count": 2}
    assert data["record"]["precision"] == "int8"
    assert len(data["record"]["kernels"]) == len(KERNELS)
