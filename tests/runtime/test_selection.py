"""Which engine of a bundle is taken, and what is said of those that were not."""

from __future__ import annotations

import gc
import platform
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from edgeseg.bundle.engines import EngineOptions, Gpu, Precision, Target, engine_path, machine_family
from edgeseg.bundle.manifest import open_bundle
from edgeseg.bundle.refusals import Difference, RefusalKind, UnfitEngineError
from edgeseg.errors import ArtifactError, ConfigError, DependencyError
from edgeseg.runtime import device
from edgeseg.runtime import selection as module
from edgeseg.runtime.backends import openvino as openvino_module
from edgeseg.runtime.backends.tensorrt import backend as tensorrt
from edgeseg.runtime.backends.tensorrt.backend import TensorRTBackend
from edgeseg.runtime.backends.tensorrt.library import TensorRTKind
from edgeseg.runtime.choice import BACKENDS, PRECISIONS, EngineChoice, Provider
from edgeseg.runtime.model import load
from edgeseg.runtime.selection import available_engines, engine_candidates
from edgeseg.spec import Lowering

from .fake_bundle import SCORES, make_bundle, write_graph
from .simulated_gpu import SimulatedCuda, SimulatedTensorRT, simulated_library, write_simulated_engine
from .test_engine_report import A5000, add_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeseg.runtime.model import Model

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.usefixtures("vnni")

FP32, INT8 = (Target.ONNXRUNTIME, Precision.FP32), (Target.ONNXRUNTIME, Precision.INT8)
SIMULATED = Gpu(name="Simulated GPU", compute_capability="8.6", driver="12.6")
X86 = machine_family(platform.machine()) == "x86_64"
needs_openvino = pytest.mark.skipif(not X86, reason="OpenVINO is used on x86")


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tests run on has none, unless `simulated` is asked for."""

    def absent(*args: object, **options: object) -> None:
        msg = "no NVIDIA GPU can be used here"
        raise DependencyError(msg)

    for place in (device, tensorrt):
        monkeypatch.setattr(place, "open_cuda", absent)


class Simulated(NamedTuple):
    cuda: SimulatedCuda
    trt: SimulatedTensorRT


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch, no_gpu: None) -> Iterator[Simulated]:
    """A machine with a simulated GPU and both TensorRTs, of version 10.3.0."""
    cuda = SimulatedCuda()
    trt = SimulatedTensorRT(cuda)
    for place in (device, tensorrt):
        monkeypatch.setattr(place, "open_cuda", lambda: cuda)
    for place in (device, tensorrt, module):
        monkeypatch.setattr(
            place, "load_library", lambda tensorrt_kind, purpose: simulated_library(trt, tensorrt_kind)
        )
    yield Simulated(cuda, trt)
    gc.collect()
    assert cuda.left() == []


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A bundle without engines."""
    return make_bundle(tmp_path / "plain")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle with an 8-bit engine of ONNX Runtime."""
    folder = make_bundle(tmp_path / "bundle")
    add_graph(folder, Target.ONNXRUNTIME, Precision.INT8)
    return folder


def add_graph(folder: Path, target: Target, precision: Precision, **facts: Any) -> None:
    """Add an engine that breaks off at thresholds above 0.65, as the exported graph does not."""
    path = engine_path(folder, target, precision)
    path.parent.mkdir(exist_ok=True)
    write_graph(path, open_bundle(folder).spec, fails_above=0.65)
    add_engine(folder, target, precision, content=path.read_bytes(), **facts)


def add_gpu_engine(folder: Path, target: Target, precision: Precision, **facts: Any) -> None:
    """Add an engine for the simulated GPU."""
    path = engine_path(folder, target, precision)
    tensorrt_kind = TensorRTKind.TENSORRT if target is Target.TENSORRT else TensorRTKind.RTX
    allowed = bool(facts.get("options", {}).get("version_compatible"))
    write_simulated_engine(path, open_bundle(folder).spec, tensorrt_kind, version_compatible=allowed)
    bound = {"gpu": SIMULATED} if target is Target.TENSORRT else {}
    add_engine(folder, target, precision, content=path.read_bytes(), **{**bound, **facts})


def frame() -> np.ndarray:
    return np.zeros((64, 96, 3), np.uint8)


def runs_the_engine(model: Model) -> bool:
    try:
        model(frame(), 0.8)
    except ArtifactError:
        return True
    return False


def said(folder: Path, **wanted: Any) -> str:
    """Load, detect, close, and give what was said."""
    with load(folder, **wanted) as model:
        assert len(model(frame(), 0.5)) == 3
        return model.description


def passed_over(model: Model) -> list[tuple[Target, Precision | None, RefusalKind]]:
    return [(refusal.target, refusal.precision, refusal.kind) for refusal in model.refusals]


# What may be asked for.


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"backend": "tensorflow"}, "backend must be one of auto, tensorrt, .*, got 'tensorflow'"),
        ({"backend": Target.ONNXRUNTIME.name}, "got 'ONNXRUNTIME'"),
        ({"precision": "int4"}, "precision must be one of auto, int8, fp16, bf16, fp32, got 'int4'"),
        ({"provider": "rocm"}, "provider must be one of auto, cpu, cuda, tensorrt, got 'rocm'"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"backend": "openvino", "provider": "cpu"}, "a choice of the backend onnxruntime, got .* openvino"),
        ({"backend": "tensorrt", "provider": "tensorrt"}, "a choice of the backend onnxruntime"),
    ],
)
def test_what_cannot_be_asked_for(wanted: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        EngineChoice(**wanted)


def test_every_choice_can_be_asked_for() -> None:
    assert {EngineChoice(backend=backend).backend for backend in BACKENDS} == set(BACKENDS)
    assert {EngineChoice(precision=precision).precision for precision in PRECISIONS} == set(PRECISIONS)
    assert EngineChoice(backend="onnxruntime", provider="cuda", threads=1).provider == "cuda"


def test_a_provider_is_of_onnxruntime_alone(folder: Path) -> None:
    add_gpu_engine(folder, Target.TENSORRT, Precision.INT8)
    add_graph(folder, Target.OPENVINO, Precision.INT8)

    found = engine_candidates(open_bundle(folder), EngineChoice(provider="cpu"))
    assert list(found) == [(*INT8, True), (*FP32, False)]


@pytest.mark.parametrize(
    ("backend", "precision", "reason"),
    [
        ("onnxruntime", "fp16", r"onnxruntime computes in int8, fp32; got fp16"),
        ("tensorrt", "bf16", r"tensorrt computes in int8, fp16, fp32; got bf16"),
        ("openvino", "fp16", r"openvino computes in int8, bf16, fp32; got fp16"),
    ],
)
def test_a_precision_that_the_backend_does_not_have(
    folder: Path, backend: str, precision: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        load(folder, backend=backend, precision=precision)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"precision": "int8"}, "no engine of int8; build it with `edgeseg build-engine --int8 --model "),
        ({"precision": "fp16"}, "no engine of fp16; build it with `edgeseg build-engine --fp16 --model "),
        ({"backend": "tensorrt"}, "no engine of tensorrt; .*`edgeseg build-engine --target tensorrt --mod"),
        (
            {"backend": "tensorrt-rtx", "precision": "int8"},
            "no engine of tensorrt-rtx int8; .*`edgeseg build-engine --int8 --target tensorrt-rtx --model ",
        ),
    ],
)
def test_an_engine_that_was_not_built_names_the_command(
    plain: Path, wanted: dict[str, Any], words: str
) -> None:
    with pytest.raises(ArtifactError, match=words):
        load(plain, **wanted)


# What is taken where there is a choice.


def test_candidates_are_the_fastest_first_and_the_exported_graph_last(folder: Path) -> None:
    add_graph(folder, Target.OPENVINO, Precision.BF16)
    add_gpu_engine(folder, Target.TENSORRT_RTX, Precision.FP16)
    add_gpu_engine(folder, Target.TENSORRT, Precision.FP32)
    add_gpu_engine(folder, Target.TENSORRT, Precision.INT8)

    assert list(engine_candidates(open_bundle(folder), EngineChoice())) == [
        (Target.TENSORRT, Precision.INT8, True),
        (Target.TENSORRT, Precision.FP32, True),
        (Target.TENSORRT_RTX, Precision.FP16, True),
        (Target.OPENVINO, Precision.BF16, True),
        (*INT8, True),
        (*FP32, False),
        (Target.OPENVINO, Precision.FP32, False),
        (Target.OPENVINO, Precision.BF16, False),
    ]


def test_auto_takes_the_engine_that_was_built(folder: Path) -> None:
    with load(folder) as model:
        assert runs_the_engine(model)
        assert model.description.endswith("on CPU, INT8")


def test_fp32_is_taken_where_asked_for(folder: Path) -> None:
    with load(folder, precision="fp32") as model:
        assert not runs_the_engine(model)
        assert model.description.endswith("on CPU, FP32")


def test_without_an_engine_auto_takes_the_graph(plain: Path) -> None:
    assert available_engines(open_bundle(plain), EngineChoice())[0] == FP32
    with load(plain) as model:
        assert model.description.startswith("ONNX Runtime")
        assert model.description.endswith("on CPU, FP32")
        assert len(model(frame(), 0.0)) == len(SCORES)


def test_the_bundle_names_what_it_has_the_most_exact_first(folder: Path) -> None:
    add_gpu_engine(folder, Target.TENSORRT, Precision.INT8)
    add_gpu_engine(folder, Target.TENSORRT, Precision.FP16)

    assert available_engines(open_bundle(folder), EngineChoice()) == (
        FP32,
        INT8,
        (Target.TENSORRT, Precision.FP16),
        (Target.TENSORRT, Precision.INT8),
    )
    assert available_engines(open_bundle(folder), EngineChoice(backend="tensorrt")) == (
        (Target.TENSORRT, Precision.FP16),
        (Target.TENSORRT, Precision.INT8),
    )


def test_on_a_gpu_its_engine_is_taken(folder: Path, simulated: Simulated) -> None:
    add_gpu_engine(folder, Target.TENSORRT, Precision.FP16)

    assert said(folder) == "TensorRT 10.3.0 on Simulated GPU, CUDA graph, FP16"
    add_gpu_engine(folder, Target.TENSORRT, Precision.INT8)
    assert said(folder) == "TensorRT 10.3.0 on Simulated GPU, CUDA graph, INT8"
    assert said(folder, precision="fp16").endswith(", FP16")
    assert said(folder, backend="onnxruntime").endswith("on CPU, INT8")
    assert said(folder, provider="cpu", precision="fp32").endswith("on CPU, FP32")


def test_an_engine_for_rtx_is_taken_where_tensorrts_does_not_fit(folder: Path, simulated: Simulated) -> None:
    add_gpu_engine(folder, Target.TENSORRT, Precision.INT8, backend_version="10.9.0")
    add_gpu_engine(folder, Target.TENSORRT_RTX, Precision.FP16, options={"compute_capabilities": ("SM86",)})

    with load(folder) as model:
        told = model.description
        (refusal,) = model.refusals

    assert passed_over(model) == [(Target.TENSORRT, Precision.INT8, RefusalKind.DIFFERENT)]
    assert refusal.differences == (Difference(subject="version of tensorrt", built="10.9.0", here="10.3.0"),)
    assert told.startswith("TensorRT for RTX 10.3.0 on Simulated GPU")
    assert told.endswith(f", FP16, as {refusal.reason}")


def test_on_a_machine_without_a_gpu_onnxruntime_computes_and_says_why(plain: Path) -> None:
    add_gpu_engine(plain, Target.TENSORRT, Precision.INT8, gpu=A5000)

    with load(plain) as model:
        told = model.description
        (refusal,) = model.refusals

    assert passed_over(model) == [(Target.TENSORRT, Precision.INT8, RefusalKind.DIFFERENT)]
    assert refusal.differences == (Difference(subject="GPU", built=A5000.name, here="none"),)
    assert told.startswith("ONNX Runtime")
    assert told.endswith(f"on CPU, FP32, as {refusal.reason}")
    assert "edgeseg build-engine --int8 --target tensorrt" in refusal.reason


def test_a_gpu_whose_library_is_missing_is_passed_over(
    folder: Path, simulated: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_gpu_engine(folder, Target.TENSORRT, Precision.INT8)

    def absent(tensorrt_kind: TensorRTKind, purpose: str) -> None:
        msg = f"tensorrt is needed to {purpose} and is not installed; mend it with: pip"
        raise DependencyError(msg)

    for place in (device, tensorrt, module):
        monkeypatch.setattr(place, "load_library", absent)

    with load(folder) as model:
        assert passed_over(model) == [(Target.TENSORRT, Precision.INT8, RefusalKind.UNAVAILABLE)]
        assert "on CPU, INT8, as tensorrt is needed to run an engine and is not" in model.description
    with pytest.raises(DependencyError, match="not installed"):
        load(folder, backend="tensorrt")


def test_an_engine_that_tensorrt_refuses_is_passed_over(folder: Path, simulated: Simulated) -> None:
    add_engine(folder, Target.TENSORRT, Precision.INT8, content=b"not an engine", gpu=SIMULATED)

    with load(folder) as model:
        assert passed_over(model) == [(Target.TENSORRT, Precision.INT8, RefusalKind.BROKEN)]
        assert ", INT8, as TensorRT 10.3.0 cannot load " in model.description
    with pytest.raises(ArtifactError, match="cannot load"):
        load(folder, backend="tensorrt")


def test_the_engine_is_opened_as_it_was_built(
    folder: Path, simulated: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[dict[str, Any]] = []

    def open_noted(*args: Any, **rest: Any) -> TensorRTBackend:
        opened.append(rest)
        return TensorRTBackend(*args, **rest)

    monkeypatch.setattr(module, "TensorRTBackend", open_noted)
    add_gpu_engine(folder, Target.TENSORRT, Precision.INT8, options={"version_compatible": True, "dla": 1})

    load(folder).close()

    again = opened[0].pop("rebuild_command")
    options = EngineOptions(machine=machine_family(platform.machine()), version_compatible=True, dla=1)
    assert opened == [{"tensorrt_kind": TensorRTKind.TENSORRT, "options": options}]
    assert again == (
        f"edgeseg build-engine --int8 --target tensorrt --dla 1 --version-compatible --force --model {folder}"
    )


def test_auto_says_why_the_engine_does_not_fit(folder: Path) -> None:
    add_graph(folder, Target.ONNXRUNTIME, Precision.INT8, machine="s390x")

    with load(folder) as model:
        assert not runs_the_engine(model)
        assert passed_over(model) == [(*INT8, RefusalKind.DIFFERENT)]
        assert model.refusals[0].differences == (
            Difference(subject="machine", built="s390x", here=machine_family(platform.machine())),
        )
        assert model.description.endswith(f"on CPU, FP32, as {model.refusals[0].reason}")


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        ("missing", RefusalKind.MISSING),
        ("truncated", RefusalKind.ALTERED),
        ("stale", RefusalKind.DIFFERENT),
        ("broken", RefusalKind.BROKEN),
    ],
)
def test_auto_passes_over_what_is_spoilt(folder: Path, spoil: str, kind: RefusalKind) -> None:
    path = engine_path(folder, Target.ONNXRUNTIME, Precision.INT8)
    if spoil == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    elif spoil == "missing":
        path.unlink()
    elif spoil == "stale":
        add_graph(folder, Target.ONNXRUNTIME, Precision.INT8, graph_sha256="0" * 64)
    else:
        path.with_suffix(".json").write_text("{", "utf-8")

    with load(folder) as model:
        assert not runs_the_engine(model)
        assert passed_over(model) == [(*INT8, kind)]
        assert "onnxruntime-int8" in model.remark
    with pytest.raises(ArtifactError, match="onnxruntime-int8"):
        load(folder, precision="int8")


# What is asked for by name is never replaced.


@pytest.mark.parametrize("wanted", [{"precision": "int8"}, {"backend": "onnxruntime", "precision": "int8"}])
def test_int8_by_name_is_not_replaced(folder: Path, wanted: dict[str, Any]) -> None:
    add_graph(folder, Target.ONNXRUNTIME, Precision.INT8, machine="s390x")

    with pytest.raises(ArtifactError, match="another machine"):
        load(folder, **wanted)


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_a_backend_by_name_is_not_replaced(folder: Path, backend: str) -> None:
    add_gpu_engine(folder, Target(backend), Precision.FP16, gpu=A5000)

    with pytest.raises(ArtifactError, match=r"another GPU \(NVIDIA RTX A5000, here none\)"):
        load(folder, backend=backend)


def test_a_provider_by_name_is_not_replaced(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])

    with pytest.raises(DependencyError, match=r"no CUDAExecutionProvider.*edgeseg\[cuda\]"):
        load(plain, provider="cuda")


@pytest.mark.parametrize(
    ("wanted", "lowering", "provider"),
    [
        ("auto", Lowering.PORTABLE, Provider.AUTO),
        ("cpu", Lowering.PORTABLE, Provider.CPU),
        ("cuda", Lowering.PORTABLE, Provider.CUDA),
        ("tensorrt", Lowering.TENSORRT, Provider.TENSORRT),
    ],
)
def test_each_provider_gets_the_graph_that_it_takes_whole(
    plain: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, lowering: Lowering, provider: Provider
) -> None:
    (plain / Lowering.TENSORRT.file_name).write_bytes((plain / "portable.onnx").read_bytes())
    bundle = open_bundle(plain)
    bundle.files[Lowering.TENSORRT.file_name] = bundle.files["portable.onnx"]
    opened = []
    monkeypatch.setattr(
        module, "OnnxRuntimeBackend", lambda graph, spec, **rest: opened.append((graph, rest))
    )

    module.open_backend(bundle, EngineChoice(provider=wanted, threads=3))

    assert opened == [(plain / lowering.file_name, {"threads": 3, "provider": provider})]


@pytest.mark.parametrize(
    ("has_cuda", "wanted", "taken"),
    [
        (False, "auto", "engine"),
        (True, "auto", "portable.onnx"),
        (True, "cpu", "engine"),
        (True, "cuda", "portable.onnx"),
        (True, "tensorrt", "tensorrt.onnx"),
    ],
)
def test_an_engine_in_single_precision_is_for_the_processor(
    plain: Path, monkeypatch: pytest.MonkeyPatch, has_cuda: bool, wanted: str, taken: str
) -> None:
    import onnxruntime

    providers = ["TensorrtExecutionProvider", "CUDAExecutionProvider"] if has_cuda else []
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*providers, "CPUExecutionProvider"])
    add_graph(plain, *FP32)
    bundle = open_bundle(plain)
    bundle.files[Lowering.TENSORRT.file_name] = bundle.files["portable.onnx"]
    (plain / "tensorrt.onnx").write_bytes((plain / "portable.onnx").read_bytes())
    opened = []
    monkeypatch.setattr(module, "OnnxRuntimeBackend", lambda graph, spec, **rest: opened.append(graph))

    module.open_backend(bundle, EngineChoice(provider=wanted, precision="fp32"))

    assert opened == [engine_path(plain, *FP32) if taken == "engine" else plain / taken]


def test_an_8_bit_engine_computes_on_the_processor_unless_told_otherwise(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    monkeypatch.setattr(
        module, "OnnxRuntimeBackend", lambda graph, spec, **rest: opened.append(rest["provider"])
    )

    for provider in ("auto", "cuda"):
        module.open_backend(open_bundle(folder), EngineChoice(provider=provider, precision="int8"))

    assert opened == [Provider.CPU, Provider.CUDA]


on_x86 = pytest.mark.skipif(not X86, reason="of x86 processors")
WIDE, NARROW = {"weight_bits": 8}, {"weight_bits": 7}


@on_x86
@pytest.mark.parametrize("target", [Target.ONNXRUNTIME, Target.OPENVINO])
@pytest.mark.parametrize("options", [WIDE, {}], ids=["8 bits", "as built before there was a choice"])
def test_without_vnni_8_bit_weights_would_overflow(
    plain: Path, monkeypatch: pytest.MonkeyPatch, without_vnni: None, target: Target, options: dict[str, int]
) -> None:
    monkeypatch.setattr(module, "require", lambda name, purpose: None)
    add_graph(plain, target, Precision.INT8, options=options)

    with pytest.raises(
        UnfitEngineError,
        match=r"another processor \(with AVX-512 VNNI or AVX-VNNI, here none found\); `--rebuild` or "
        rf"`edgeseg build-engine --int8 --target {target.value} --force ",
    ):
        load(plain, backend=target.value, precision="int8")


@on_x86
def test_without_vnni_7_bit_weights_are_taken(folder: Path, without_vnni: None) -> None:
    add_graph(folder, Target.ONNXRUNTIME, Precision.INT8, options=NARROW)

    with load(folder) as model:
        assert runs_the_engine(model)
        assert model.description.endswith("on CPU, INT8")


@on_x86
def test_the_fastest_that_would_overflow_is_passed_over(folder: Path, without_vnni: None) -> None:
    pytest.importorskip("openvino", exc_type=ImportError)
    add_graph(folder, Target.OPENVINO, Precision.INT8, options=WIDE)
    add_graph(folder, Target.ONNXRUNTIME, Precision.INT8, options=NARROW)

    with load(folder) as model:
        assert model.description.startswith("ONNX Runtime")
        assert passed_over(model) == [(Target.OPENVINO, Precision.INT8, RefusalKind.DIFFERENT)]
        assert [item.subject for item in model.refusals[0].differences] == ["processor"]
        assert f"on CPU, INT8, as {model.refusals[0].reason}" in model.description


@on_x86
def test_other_precisions_need_no_vnni(plain: Path, without_vnni: None) -> None:
    add_graph(plain, *FP32)

    with load(plain) as model:
        assert runs_the_engine(model)


@on_x86
def test_with_vnni_narrow_weights_are_told(folder: Path) -> None:
    add_graph(folder, Target.ONNXRUNTIME, Precision.INT8, options=NARROW)

    assert said(folder).endswith("on CPU, INT8 with 7-bit weights")


def test_several_engines_by_name_that_do_not_fit_are_all_told(folder: Path) -> None:
    add_gpu_engine(folder, Target.TENSORRT, Precision.INT8)
    add_gpu_engine(folder, Target.TENSORRT, Precision.FP16, backend_version="10.9.0")

    with pytest.raises(ArtifactError, match=r"tensorrt-int8.*; .*tensorrt-fp16"):
        load(folder, backend="tensorrt")


def test_the_exported_graph_runs_whatever_a_record_of_it_says(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    add_engine(plain, Target.ONNXRUNTIME, Precision.FP32, content=None, machine="s390x")

    assert "on CPU, FP32" in said(plain)


# OpenVINO, and nothing at all.


@pytest.fixture
def openvino() -> None:
    pytest.importorskip("openvino", exc_type=ImportError)


@needs_openvino
@pytest.mark.usefixtures("openvino")
class TestOpenVino:
    def test_as_exported_it_is_taken_where_asked_for(self, plain: Path) -> None:
        told = said(plain, backend="openvino")

        assert told.startswith("OpenVINO 20")
        assert told.endswith(" on CPU, FP32")

    def test_bfloat16_as_exported(self, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        if not openvino_module.has_bfloat16():
            pytest.skip("this processor has no bfloat16")

        assert said(plain, precision="bf16").endswith(" on CPU, BF16")

    def test_bfloat16_that_this_processor_does_not_have(
        self, plain: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(openvino_module, "has_bfloat16", lambda: False)

        with pytest.raises(ConfigError, match="needs a processor with bfloat16"):
            load(plain, precision="bf16")

    def test_bfloat16_of_another_processor_is_passed_over(
        self, plain: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(openvino_module, "has_bfloat16", lambda: False)
        add_engine(plain, Target.OPENVINO, Precision.BF16, content=None)

        with load(plain) as model:
            assert passed_over(model) == [(Target.OPENVINO, Precision.BF16, RefusalKind.UNSUPPORTED)]
            assert "on CPU, FP32, as precision bf16 needs" in model.description

    def test_its_engine_goes_before_that_of_onnxruntime(self, folder: Path) -> None:
        add_graph(folder, Target.OPENVINO, Precision.INT8)

        told = said(folder)

        assert told.startswith("OpenVINO")
        assert told.endswith("INT8")
        assert said(folder, backend="onnxruntime").startswith("ONNX Runtime")

    def test_it_stands_in_where_onnxruntime_is_not_installed(
        self, plain: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)

        with load(plain) as model:
            assert passed_over(model) == [(*FP32, RefusalKind.UNAVAILABLE)]
            assert model.description.startswith("OpenVINO")
            assert ", FP32, as onnxruntime is needed to run a bundle and is not" in model.description


def test_an_engine_of_openvino_where_it_is_not_installed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_graph(folder, Target.OPENVINO, Precision.INT8)
    monkeypatch.setitem(sys.modules, "openvino", None)

    with load(folder) as model:
        assert passed_over(model) == [(Target.OPENVINO, Precision.INT8, RefusalKind.UNAVAILABLE)]
        assert ", INT8, as openvino is needed to run an engine and is not" in model.description
    with pytest.raises(DependencyError, match=r"edgeseg\[openvino\]"):
        load(folder, backend="openvino", precision="int8")


def test_nothing_is_installed(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(DependencyError, match=r"edgeseg\[cpu\].*; openvino is .*edgeseg\[openvino\]") as told:
        load(plain)
    # Two precisions of OpenVINO have one and the same reason.
    assert str(told.value).count("edgeseg[openvino]") == 1
