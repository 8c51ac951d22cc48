"""Engines of a bundle: what is built, what its record says, and what is refused."""

from __future__ import annotations

import os
import platform
import shutil
import signal
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from edgeseg.builder import build as build_module
from edgeseg.builder import cpu_engine, tensorrt
from edgeseg.builder.build import BuildConfig, build_engine, rebuild_unfit
from edgeseg.builder.tensorrt import build_tensorrt_plan
from edgeseg.bundle.engines import (
    EngineOptions,
    Precision,
    Target,
    engine_path,
    machine_family,
    read_engine_record,
    recorded_engines,
)
from edgeseg.bundle.manifest import CALIBRATION_FILE, Bundle
from edgeseg.calibration.table import CalibrationTable, write_table
from edgeseg.errors import ArtifactError, BuildError, ConfigError, DependencyError, EdgeSegError
from edgeseg.files.reading import sha256_from_file
from edgeseg.graphs import winograd
from edgeseg.graphs.winograd import WINOGRAD_SUFFIX
from edgeseg.runtime.backends.tensorrt.library import TensorRTKind, load_library
from edgeseg.runtime.host import machine
from edgeseg.runtime.host.machine import Host, weight_bits
from edgeseg.runtime.model import load
from edgeseg.spec import Lowering
from tests.built import built_once

from .rtx import needs_rtx

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeseg.bundle.compatibility import Engine
    from edgeseg.vision.detections import Detections

SM86 = EngineOptions(compute_capabilities=("SM86",))


@pytest.fixture(scope="module")
def table(bundle: Bundle, bundle_table: CalibrationTable) -> CalibrationTable:
    return replace(bundle_table, graph_sha256=bundle.files[Lowering.PORTABLE.file_name].sha256)


@pytest.fixture
def model(bundle: Bundle, table: CalibrationTable, tmp_path: Path) -> Path:
    """The bundle with a calibration and no engine; the test's own."""
    folder = tmp_path / "model"
    shutil.copytree(bundle.path, folder)
    write_table(table, folder / CALIBRATION_FILE)
    return folder


@pytest.fixture
def build(model: Path) -> Callable[..., Engine]:
    def built(
        target: Target, precision: Precision, options: EngineOptions | None = None, **rest: Any
    ) -> Engine:
        config = BuildConfig(
            model=model, target=target, precision=precision, options=options or EngineOptions(), **rest
        )
        return build_engine(config).engine

    return built


@pytest.fixture
def half_engine(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of an engine in half precision of TensorRT for RTX in the model, built once for all tests."""

    def write(folder: Path) -> None:
        shutil.copytree(model, folder / "model")
        kind: dict[str, Any] = {"target": Target.TENSORRT_RTX, "precision": Precision.FP16}
        build_engine(BuildConfig(model=folder / "model", options=SM86, **kind))

    built = built_once(tmp_path_factory, "half-engine", write) / "model" / "engines"
    shutil.copytree(built, model / "engines")
    return engine_path(model, Target.TENSORRT_RTX, Precision.FP16)


def results_of(model: Path, images: np.ndarray) -> list[Detections]:
    with load(model, backend="onnxruntime", precision="fp32", threads=1) as loaded:
        return [loaded(image, 0.05) for image in images]


def files(model: Path) -> list[str]:
    return sorted(path.name for path in (model / "engines").iterdir())


@needs_rtx
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16, Precision.INT8])
def test_an_engine_for_rtx(build: Callable[..., Engine], model: Path, precision: Precision) -> None:
    engine = build(Target.TENSORRT_RTX, precision, SM86)
    record = engine.record
    counts = {kind: list(record.layers.values()).count(kind) for kind in ("int8", "fp16", "fp32")}

    assert files(model) == [f"tensorrt-rtx-{precision.value}.engine", f"tensorrt-rtx-{precision.value}.json"]
    assert record == read_engine_record(model, Target.TENSORRT_RTX, precision)
    assert record.options.compute_capabilities == ("SM86",)
    assert record.backend_version.startswith("1.")
    assert record.graph_sha256 == sha256_from_file(model / record.graph)
    assert record.file is not None
    assert record.file.size > 10_000_000
    # 37 convolutions and two dense layers; the first and the output layers stay, on five levels.
    assert (
        counts
        == {
            Precision.FP32: {"int8": 0, "fp16": 0, "fp32": 52},
            Precision.FP16: {"int8": 0, "fp16": 52, "fp32": 0},
            Precision.INT8: {"int8": 39, "fp16": 13, "fp32": 0},
        }[precision]
    )
    calibrated = sha256_from_file(model / CALIBRATION_FILE) if precision is Precision.INT8 else None
    assert record.calibration_sha256 == calibrated


@needs_rtx
@pytest.mark.usefixtures("half_engine")
def test_an_engine_for_a_gpu_that_is_not_here_is_passed_over(model: Path, photographs: np.ndarray) -> None:
    with load(model, threads=1) as loaded:
        assert loaded.description.endswith("--model " + str(model) + "` builds it again")
        assert "FP32, as " in loaded.description
        assert len(loaded(photographs[0], 0.05)) > 5
    with pytest.raises((ArtifactError, DependencyError), match="another GPU"):
        load(model, backend="tensorrt-rtx")


def test_an_engine_of_onnxruntime_says_what_computes_in_8_bits(
    build: Callable[..., Engine], model: Path
) -> None:
    record = build(Target.ONNXRUNTIME, Precision.INT8).record
    kinds = {kernel.kind for kernel in record.kernels}
    left = sorted({name.partition("#")[0] for name, kind in record.layers.items() if kind != "int8"})

    assert {"QLinearConv", "QGemm", "MatMulIntegerToFloat"} <= kinds
    assert left == ["backbone.body.conv1", "box_predictor.bbox_pred", "box_predictor.cls_score"]


X86 = machine_family(platform.machine()) == "x86_64"
on_x86 = pytest.mark.skipif(not X86, reason="for x86")
VNNI, AMX = ("avx512_vnni",), ("amx_int8", "avx512_vnni")


@on_x86
@pytest.mark.parametrize(
    ("asked", "instructions", "amx", "bits"),
    [
        (EngineOptions(), AMX, True, 8),
        (EngineOptions(), VNNI, False, 8),
        (EngineOptions(), (), False, 7),
        (EngineOptions(amx=True), VNNI, True, 8),
        (EngineOptions(weight_bits=7), AMX, False, 7),
        (EngineOptions(machine="x86_64", weight_bits=8), (), False, 8),
        (EngineOptions(machine="x86_64"), AMX, False, 7),
        (EngineOptions(machine="x86_64", weight_bits=8), AMX, False, 8),
        (EngineOptions(machine="aarch64"), (), False, 8),
        (EngineOptions(machine="x86_64", amx=True, weight_bits=7).without_machine(), VNNI, False, 8),
    ],
)
def test_a_named_machine_is_any_of_its_kind(
    build: Callable[..., Engine],
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: EngineOptions,
    instructions: tuple[str, ...],
    amx: bool,
    bits: int,
) -> None:
    monkeypatch.setattr(machine, "int8_instructions", lambda host: instructions)
    engine = build(Target.ONNXRUNTIME, Precision.INT8, asked)
    steps, zeros = (stored(engine.path, f"rpn_head.conv.0.0.weight.{part}") for part in ("q", "zero_point"))

    assert (engine.record.options.amx, engine.record.options.weight_bits) == (amx, bits)
    assert set(zeros.tolist()) == {-1 if amx else 0}
    assert np.abs(steps.astype(int) - zeros[0]).max() == {8: 127, 7: 63}[bits]
    assert engine.record == read_engine_record(model, Target.ONNXRUNTIME, Precision.INT8)


def stored(graph: Path, name: str) -> np.ndarray:
    """Read a constant of a graph."""
    (tensor,) = (tensor for tensor in onnx.load(graph).graph.initializer if tensor.name == name)
    return onnx.numpy_helper.to_array(tensor)


needs_openvino = pytest.mark.skipif(
    find_spec("openvino") is None or not X86,
    reason="needs OpenVINO (extra openvino) on x86",
)


@needs_openvino
def test_an_engine_of_openvino_says_what_computes_in_8_bits(
    build: Callable[..., Engine], model: Path
) -> None:
    record = build(Target.OPENVINO, Precision.INT8).record
    left = sorted({name.partition("#")[0] for name, kind in record.layers.items() if kind != "int8"})
    types = {kind for kernel in record.kernels for kind in (*kernel.inputs, *kernel.constants)}

    assert files(model) == ["openvino-int8.json", "openvino-int8.onnx"]
    assert left == ["backbone.body.conv1", "box_predictor.bbox_pred", "box_predictor.cls_score"]
    assert {"uint8", "int8", "float32", "int32"} <= types
    assert "." in record.backend_version
    assert "-" not in record.backend_version


@needs_openvino
@pytest.mark.parametrize(("instructions", "bits"), [(AMX, 8), ((), 7)])
def test_an_engine_of_openvino_has_the_weights_that_this_processor_needs(
    build: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch, instructions: tuple[str, ...], bits: int
) -> None:
    monkeypatch.setattr(machine, "int8_instructions", lambda host: instructions)
    engine = build(Target.OPENVINO, Precision.INT8)

    assert engine.record.options.weight_bits == bits
    assert (
        np.abs(stored(engine.path, "rpn_head.conv.0.0.weight.q").astype(int)).max() == {8: 127, 7: 63}[bits]
    )


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
def test_only_a_record_of_int8_has_bits_of_weights(
    build: Callable[..., Engine], precision: Precision
) -> None:
    bits = build(Target.ONNXRUNTIME, precision).record.options.weight_bits

    assert bits == (weight_bits(Host()) if precision is Precision.INT8 else None)


@needs_openvino
def test_openvino_takes_the_exported_graph_in_single_precision(
    build: Callable[..., Engine], model: Path
) -> None:
    engine = build(Target.OPENVINO, Precision.FP32)

    assert engine.path == model / "portable.onnx"
    assert set(engine.record.layers.values()) == {"fp32"}
    with load(model, threads=1) as loaded:
        assert loaded.description.startswith("OpenVINO")
        assert loaded.description.endswith("on CPU, FP32")


@needs_openvino
def test_bfloat16_needs_a_processor_that_has_it(
    build: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_engine, "has_bfloat16", lambda: False)
    monkeypatch.setattr(machine, "int8_instructions", lambda host: ())
    told = machine.int8_summary(Host())

    # What `edgeseg doctor` says of the processor.
    assert told == "no instructions of its own, engines get 7-bit weights"
    with pytest.raises(ConfigError, match=rf"AVX512_BF16 or AMX, .*--fp32 or --int8 \(INT8 here: {told}\)"):
        build(Target.OPENVINO, Precision.BF16)


def test_output_layers_with_a_bias_are_products_of_integers_too(
    build: Callable[..., Engine], model: Path
) -> None:
    """ONNX Runtime would fuse product and bias to a float Gemm; trained models have biases."""
    graph = onnx.load(model / Lowering.PORTABLE.file_name)
    biased = [node for node in graph.graph.node if node.op_type == "Conv" and len(node.input) == 3]
    record = build(Target.ONNXRUNTIME, Precision.INT8).record
    wide = {name: kind for name, kind in record.layers.items() if name.startswith("rpn_head.")}

    assert len(biased) > 10
    assert len(wide) == 15
    assert set(wide.values()) == {"int8"}


@on_x86
def test_in_single_precision_large_convolutions_have_half_the_products(
    build: Callable[..., Engine], model: Path, photographs: np.ndarray
) -> None:
    exported = results_of(model, photographs)
    engine = build(Target.ONNXRUNTIME, Precision.FP32)
    nodes = {name for kernel in engine.record.kernels for name in kernel.nodes}

    assert engine.path == model / "engines" / "onnxruntime-fp32.onnx"
    assert any(WINOGRAD_SUFFIX in node.name for node in onnx.load(engine.path).graph.node)
    # Named as what they stand for.
    assert not any(WINOGRAD_SUFFIX in name for name in nodes)
    assert set(engine.record.layers.values()) == {"fp32"}
    for found, wanted in zip(results_of(model, photographs), exported, strict=True):
        assert len(found) == len(wanted) > 0
        np.testing.assert_allclose(found.boxes_xyxy, wanted.boxes_xyxy, atol=0.05)
        np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)


@pytest.mark.parametrize("reason", ["none is large", "another machine"])
def test_what_needs_no_build_is_a_record_of_the_graph(
    build: Callable[..., Engine], model: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    options = EngineOptions()
    if reason == "none is large":
        monkeypatch.setattr(winograd, "MIN_PIXELS", 10_000)
    else:
        options = EngineOptions(machine="aarch64")
    engine = build(Target.ONNXRUNTIME, Precision.FP32, options)

    assert engine.path == model / "portable.onnx"
    assert engine.record.file is None
    assert files(model) == ["onnxruntime-fp32.json"]
    with load(model, threads=1) as loaded:
        assert loaded.description.endswith("on CPU, FP32")


def test_an_engine_is_kept_without_force(build: Callable[..., Engine], model: Path) -> None:
    build(Target.ONNXRUNTIME, Precision.INT8)

    with pytest.raises(ConfigError, match=r"onnxruntime-int8.json exists; pass --force"):
        build(Target.ONNXRUNTIME, Precision.INT8)
    assert build(Target.ONNXRUNTIME, Precision.INT8, force=True)


@pytest.mark.parametrize(
    ("target", "precision", "options", "reason"),
    [
        (Target.TENSORRT, Precision.FP16, {}, "no NVIDIA GPU can be used here"),
        (Target.TENSORRT_RTX, Precision.FP16, {}, "without a GPU say for which .*--compute-capability SM86"),
        (Target.TENSORRT_RTX, Precision.FP16, {"dla": 0}, "--dla is for --target tensorrt, got tensorrt-rtx"),
        (Target.TENSORRT_RTX, Precision.BF16, {}, "tensorrt-rtx computes in int8, fp16, fp32; got bf16"),
        (
            Target.ONNXRUNTIME,
            Precision.INT8,
            {"workspace_mib": 9},
            "--workspace-mib is for --target tensorrt",
        ),
    ],
)
def test_what_cannot_be_built_here(
    build: Callable[..., Engine],
    model: Path,
    target: Target,
    precision: Precision,
    options: dict[str, Any],
    reason: str,
) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("there is a GPU")
    with pytest.raises(EdgeSegError, match=reason):
        build(target, precision, EngineOptions(**options))
    assert not (model / "engines").exists() or files(model) == []


@needs_rtx
def test_rtx_has_no_dla(model: Path) -> None:
    library = load_library(TensorRTKind.RTX, purpose="test")
    with pytest.raises(ConfigError, match=r"--dla 1 needs a DLA core .* finds no DLA in this machine"):
        build_tensorrt_plan(library, model / "tensorrt-fp16.onnx", replace(SM86, dla=1))


@needs_rtx
def test_int8_without_a_calibration(build: Callable[..., Engine], model: Path) -> None:
    (model / CALIBRATION_FILE).unlink()

    with pytest.raises(ArtifactError, match=r"no calibration at .*edgeseg calibrate"):
        build(Target.TENSORRT_RTX, Precision.INT8, SM86)
    assert files(model) == []


@needs_rtx
@pytest.mark.usefixtures("half_engine")
def test_a_graph_that_was_altered_is_refused(build: Callable[..., Engine], model: Path) -> None:
    graph = model / "tensorrt-fp16.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")

    with pytest.raises(ArtifactError, match="altered after export"):
        build(Target.TENSORRT_RTX, Precision.FP16, SM86, force=True)
    with pytest.raises(ArtifactError, match="altered after export"):
        load(model)


@needs_rtx
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_stops_and_leaves_the_old_engine(
    half_engine: Path, model: Path, number: signal.Signals
) -> None:
    content, handler = half_engine.read_bytes(), signal.getsignal(number)
    lines: list[str] = []

    def interrupt(line: str) -> None:
        lines.append(line)
        if len(lines) == 20:
            os.kill(os.getpid(), number)

    config = BuildConfig(
        model=model, target=Target.TENSORRT_RTX, precision=Precision.FP16, options=SM86, force=True
    )
    with pytest.raises(KeyboardInterrupt):
        build_engine(config, interrupt)

    # Whole, it tells more than a thousand.
    assert len(lines) < 100
    assert half_engine.read_bytes() == content
    assert files(model) == ["tensorrt-rtx-fp16.engine", "tensorrt-rtx-fp16.json"]
    assert signal.getsignal(number) is handler


@needs_rtx
def test_running_out_of_memory_is_a_sentence_with_advice(
    monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    library = load_library(TensorRTKind.RTX, purpose="test")

    def refuse(config: Any, network: Any) -> None:
        library.log.log(library.module.ILogger.Severity.ERROR, "Error Code 2: OutOfMemory (Out of memory.)")

    real = library.module.Builder

    class Builder:
        def __init__(self, log: Any) -> None:
            self._real = real(log)

        def __getattr__(self, name: str) -> Any:
            return refuse if name == "build_serialized_network" else getattr(self._real, name)

    monkeypatch.setattr(library.module, "Builder", Builder)
    monkeypatch.setattr(tensorrt, "_build_dummy_engine", lambda library: None)
    with pytest.raises(BuildError, match=r"ran out of memory .*; try --workspace-mib 512; Error Code 2"):
        build_tensorrt_plan(library, model / "tensorrt-fp16.onnx", replace(SM86, workspace_mib=1024))


@needs_rtx
def test_progress_is_told(model: Path) -> None:
    lines: list[str] = []
    config = BuildConfig(model=model, target=Target.TENSORRT_RTX, precision=Precision.FP16, options=SM86)
    build_engine(config, lines.append)

    assert lines[0] == "building tensorrt-rtx-fp16.engine at 256x320"
    assert any(line.startswith("Building engine: ") for line in lines)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_bundle(build: Callable[..., Engine], model: Path) -> None:
    model.chmod(0o555)
    try:
        with pytest.raises(EdgeSegError, match=r"cannot write .*engines: Permission denied"):
            build(Target.ONNXRUNTIME, Precision.FP32)
    finally:
        model.chmod(0o755)


def test_a_full_disk(build: Callable[..., Engine], model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **rest: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build_module, "build_graph_engine", full)
    with pytest.raises(EdgeSegError, match=r"cannot write .*engines: No space left on device; make room"):
        build(Target.ONNXRUNTIME, Precision.INT8)
    assert files(model) == []


def test_rebuild_mends_what_does_not_fit_and_nothing_else(
    build: Callable[..., Engine], model: Path, table: CalibrationTable
) -> None:
    build(Target.ONNXRUNTIME, Precision.FP32)
    kept = read_engine_record(model, Target.ONNXRUNTIME, Precision.FP32)
    stale = build(Target.ONNXRUNTIME, Precision.INT8)
    write_table(replace(table, float_layers=("box_head.fc7",)), model / CALIBRATION_FILE)
    notes: list[str] = []

    with pytest.raises(ArtifactError, match="another calibration"):
        load(model, precision="int8")
    rebuild_unfit(model, notes.append)

    assert len(notes) == 1
    assert "another calibration" in notes[0]
    record = read_engine_record(model, Target.ONNXRUNTIME, Precision.INT8)
    assert record.float_layers == ("box_head.fc7",)
    assert record.file != stale.record.file
    assert read_engine_record(model, Target.ONNXRUNTIME, Precision.FP32) == kept
    with load(model, precision="int8") as loaded:
        assert loaded.description.endswith("INT8")


@on_x86
def test_rebuild_narrows_the_weights_for_a_processor_without_vnni(
    build: Callable[..., Engine], model: Path, without_vnni: None
) -> None:
    build(Target.ONNXRUNTIME, Precision.INT8, EngineOptions(machine="x86_64", weight_bits=8))
    notes: list[str] = []

    with load(model, threads=1) as loaded:
        assert "FP32, as " in loaded.description
    rebuild_unfit(model, notes.append)

    assert len(notes) == 1
    assert "another processor (with AVX-512 VNNI or AVX-VNNI, here none found)" in notes[0]
    with load(model, threads=1) as loaded:
        assert loaded.description.endswith("on CPU, INT8")


def test_rebuild_mends_a_truncated_engine(build: Callable[..., Engine], model: Path) -> None:
    engine = build(Target.ONNXRUNTIME, Precision.INT8)
    whole = engine.path.read_bytes()
    engine.path.write_bytes(whole[:1000])

    rebuild_unfit(model)

    assert engine.path.read_bytes() == whole


def test_rebuild_passes_over_a_broken_record(build: Callable[..., Engine], model: Path) -> None:
    build(Target.ONNXRUNTIME, Precision.FP32)
    engine = build(Target.ONNXRUNTIME, Precision.INT8)
    engine.path.write_bytes(b"cut")
    (model / "engines" / "onnxruntime-fp32.json").write_text("{")
    notes: list[str] = []

    rebuild_unfit(model, notes.append)

    assert any("onnxruntime-fp32.json is not valid JSON" in note for note in notes)
    assert engine.path.stat().st_size > 1_000_000


@needs_rtx
@pytest.mark.usefixtures("half_engine")
def test_rebuild_leaves_what_cannot_be_built_here(model: Path) -> None:
    notes: list[str] = []
    rebuild_unfit(model, notes.append)

    assert "stays as it is" in notes[-1]
    assert recorded_engines(model) == ((Target.TENSORRT_RTX, Precision.FP16),)


@pytest.mark.skipif(machine_family(platform.machine()) != "x86_64", reason="of x86 processors")
def test_an_engine_for_arm_is_rebuilt_for_this_machine(build: Callable[..., Engine], model: Path) -> None:
    build(Target.ONNXRUNTIME, Precision.INT8, EngineOptions(machine="aarch64"))
    rebuild_unfit(model)

    assert read_engine_record(model, Target.ONNXRUNTIME, Precision.INT8).options.machine == "x86_64"
