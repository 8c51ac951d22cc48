from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from edgeseg.bundle.compatibility import DeviceInfo, Engine, open_engine
from edgeseg.bundle.engines import (
    EngineOptions,
    EngineRecord,
    Gpu,
    Precision,
    Target,
    engine_path,
    machine_family,
    rebuild_command,
    recorded_engines,
    write_engine_record,
)
from edgeseg.bundle.manifest import Bundle, file_record, open_bundle, write_manifest
from edgeseg.bundle.refusals import Difference, RefusalKind, UnfitEngineError
from edgeseg.errors import ArtifactError, ConfigError
from tests.runtime.fake_bundle import make_spec, write_graph

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    spec = make_spec()
    write_graph(tmp_path / "portable.onnx", spec)
    write_manifest(tmp_path, spec, ["portable.onnx"])
    return open_bundle(tmp_path)


@pytest.fixture
def record(bundle: Bundle) -> EngineRecord:
    path = engine_path(bundle.path, Target.ONNXRUNTIME, Precision.INT8)
    path.parent.mkdir()
    path.write_bytes(b"an engine")
    record = EngineRecord(
        backend=Target.ONNXRUNTIME,
        backend_version="1.31.1",
        precision=Precision.INT8,
        options=EngineOptions(machine="x86_64"),
        file=file_record(path),
        graph_sha256=bundle.files["portable.onnx"].sha256,
        build_s=1.5,
    )
    write_engine_record(path, record)
    return record


def refused(open_it: Callable[[], object], *differences: tuple[str, str, str]) -> UnfitEngineError:
    """Open an engine that was built from something else or elsewhere, and compare what is said to differ."""
    with pytest.raises(UnfitEngineError) as refusal:
        open_it()
    assert refusal.value.kind is RefusalKind.DIFFERENT
    assert refusal.value.differences == tuple(
        Difference(subject=subject, built=built, here=here) for subject, built, here in differences
    )
    return refusal.value


def opened(bundle: Bundle, machine: str = "x86_64") -> Engine:
    return open_engine(bundle, Target.ONNXRUNTIME, Precision.INT8, DeviceInfo(machine=machine))


def rewritten(bundle: Bundle, record: EngineRecord) -> None:
    write_engine_record(engine_path(bundle.path, Target.ONNXRUNTIME, Precision.INT8), record)


def test_an_engine_opens_with_its_record(bundle: Bundle, record: EngineRecord) -> None:
    engine = opened(bundle)

    assert engine.record == record
    assert engine.path.read_bytes() == b"an engine"


def test_a_missing_engine_names_the_command(bundle: Bundle) -> None:
    with pytest.raises(ArtifactError, match=r"no engine .*int8.onnx; build it with `edgeseg build-eng"):
        opened(bundle)


def test_another_machine_is_refused(bundle: Bundle, record: EngineRecord) -> None:
    with pytest.raises(ArtifactError, match=r"for another machine \(x86_64, here aarch64\).*build-engine"):
        opened(bundle, "aarch64")


def test_another_graph_is_refused(bundle: Bundle, record: EngineRecord) -> None:
    rewritten(bundle, replace(record, graph_sha256="0" * 64))

    with pytest.raises(ArtifactError, match=r"built for another graph \(0{12}, here .*build-engine"):
        opened(bundle)


def test_a_graph_that_the_bundle_lacks_is_refused(bundle: Bundle, record: EngineRecord) -> None:
    rewritten(bundle, replace(record, graph="tensorrt.onnx"))

    with pytest.raises(ArtifactError, match="here none"):
        opened(bundle)


@pytest.mark.parametrize("content", [b"an engin", b"an enginf", b""])
def test_a_truncated_or_altered_engine_is_refused(
    bundle: Bundle, record: EngineRecord, content: bytes
) -> None:
    engine_path(bundle.path, Target.ONNXRUNTIME, Precision.INT8).write_bytes(content)

    with pytest.raises(ArtifactError, match="truncated or altered"):
        opened(bundle)


def test_an_engine_without_its_file_is_refused(bundle: Bundle, record: EngineRecord) -> None:
    engine_path(bundle.path, Target.ONNXRUNTIME, Precision.INT8).unlink()

    with pytest.raises(ArtifactError, match="is missing"):
        opened(bundle)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not valid JSON"),
        ('{"format": 99}', "of format 99, not 1"),
        ("[]", "must be a JSON object"),
        ('{"format": 1, "fast": true}', "unknown key 'fast'"),
    ],
)
def test_a_spoilt_record_is_refused(bundle: Bundle, record: EngineRecord, text: str, reason: str) -> None:
    engine_path(bundle.path, Target.ONNXRUNTIME, Precision.INT8).with_suffix(".json").write_text(text)

    with pytest.raises(ArtifactError, match=reason):
        opened(bundle)


def test_a_record_is_json_that_people_can_read(bundle: Bundle, record: EngineRecord) -> None:
    data = json.loads(
        engine_path(bundle.path, Target.ONNXRUNTIME, Precision.INT8).with_suffix(".json").read_text()
    )

    assert data["precision"] == "int8"
    assert data["file"]["size"] == 9


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("AMD64", "x86_64"),
        ("x86_64", "x86_64"),
        ("arm64", "aarch64"),
        ("aarch64", "aarch64"),
        ("riscv64", "riscv64"),
    ],
)
def test_processors_go_by_one_name(name: str, family: str) -> None:
    assert machine_family(name) == family


A5000 = Gpu(name="NVIDIA RTX A5000", compute_capability="8.6", driver="12.6")
T4 = Gpu(name="Tesla T4", compute_capability="7.5", driver="12.6")
L4 = Gpu(name="NVIDIA L4", compute_capability="8.9", driver="13.0")


def gpu_engine(
    bundle: Bundle, target: Target, *, gpu: Gpu | None = None, **options: Any
) -> Callable[..., Engine]:
    """Write an engine for a GPU, and give a function that opens it elsewhere."""
    path = engine_path(bundle.path, target, Precision.FP16)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"code")
    record = EngineRecord(
        backend=target,
        backend_version="10.3.0",
        precision=Precision.FP16,
        options=EngineOptions(machine="x86_64", **options),
        file=file_record(path),
        gpu=gpu,
        graph_sha256=bundle.files["portable.onnx"].sha256,
        build_s=20.0,
    )
    write_engine_record(path, record)

    def opened_with(version: str, here: Gpu | None, machine: str = "x86_64") -> Engine:
        return open_engine(
            bundle, target, Precision.FP16, DeviceInfo(machine=machine, backend_version=version, gpu=here)
        )

    return opened_with


def test_an_engine_of_tensorrt_opens_where_it_was_built_and_after_an_update_of_the_driver(
    bundle: Bundle,
) -> None:
    opened = gpu_engine(bundle, Target.TENSORRT, gpu=A5000)

    assert opened("10.3.0", A5000).path.name == "tensorrt-fp16.engine"
    assert opened("10.3.0", replace(A5000, driver="13.0")).record.gpu == A5000


@pytest.mark.parametrize(
    ("version", "gpu", "machine", "differences"),
    [
        ("10.16.1", A5000, "x86_64", [("version of tensorrt", "10.3.0", "10.16.1")]),
        ("10.3.0", T4, "x86_64", [("GPU", "NVIDIA RTX A5000", "Tesla T4")]),
        ("10.3.0", None, "x86_64", [("GPU", "NVIDIA RTX A5000", "none")]),
        (
            "11.4.0",
            L4,
            "aarch64",
            [
                ("machine", "x86_64", "aarch64"),
                ("version of tensorrt", "10.3.0", "11.4.0"),
                ("GPU", "NVIDIA RTX A5000", "NVIDIA L4"),
            ],
        ),
    ],
)
def test_an_engine_of_tensorrt_is_refused_elsewhere(
    bundle: Bundle, version: str, gpu: Gpu | None, machine: str, differences: list[tuple[str, str, str]]
) -> None:
    opened = gpu_engine(bundle, Target.TENSORRT, gpu=A5000)

    assert refused(lambda: opened(version, gpu, machine), *differences).record.gpu == A5000


def test_the_sentence_names_every_difference_and_the_command(bundle: Bundle) -> None:
    opened = gpu_engine(bundle, Target.TENSORRT, gpu=A5000)

    with pytest.raises(UnfitEngineError) as refusal:
        opened("11.4.0", None, "aarch64")

    assert str(refusal.value) == (
        f"{bundle.path}/engines/tensorrt-fp16.engine was built for another machine (x86_64, here aarch64); "
        "another version of tensorrt (10.3.0, here 11.4.0); another GPU (NVIDIA RTX A5000, here none); "
        f"`--rebuild` or `edgeseg build-engine --fp16 --target tensorrt --force --model {bundle.path}` "
        "builds it again"
    )


def test_a_compatible_engine_opens_on_later_versions_and_gpus(bundle: Bundle) -> None:
    opened = gpu_engine(bundle, Target.TENSORRT, gpu=A5000, version_compatible=True, hardware_compatible=True)

    assert opened("11.4.0", L4)
    refused(lambda: opened("11.4.0", T4), ("GPU", A5000.name, T4.name))
    refused(lambda: opened("10.1.0", L4), ("version of tensorrt", "10.3.0", "10.1.0"))


def test_an_engine_for_rtx_opens_on_the_generations_that_it_was_built_for(bundle: Bundle) -> None:
    opened = gpu_engine(bundle, Target.TENSORRT_RTX, compute_capabilities=("SM86", "SM89"))

    assert opened("10.3.0", A5000)
    assert opened("10.3.0", L4)
    refused(lambda: opened("10.3.0", T4), ("GPU", "SM86, SM89", "SM75"))


def test_an_engine_of_an_older_calibration_is_refused(bundle: Bundle, record: EngineRecord) -> None:
    rewritten(bundle, replace(record, calibration_sha256="0" * 64))
    assert opened(bundle)
    (bundle.path / "calibration.json").write_text("{}")

    refused(lambda: opened(bundle), ("calibration", "0" * 12, "44136fa355b3"))


def test_an_engine_that_is_the_bundles_own_graph(bundle: Bundle, record: EngineRecord) -> None:
    path = engine_path(bundle.path, Target.OPENVINO, Precision.BF16)
    write_engine_record(path, replace(record, backend=Target.OPENVINO, precision=Precision.BF16, file=None))

    engine = open_engine(bundle, Target.OPENVINO, Precision.BF16, DeviceInfo(machine="x86_64"))

    assert engine.path == bundle.path / "portable.onnx"
    assert recorded_engines(bundle.path) == (
        (Target.OPENVINO, Precision.BF16),
        (Target.ONNXRUNTIME, Precision.INT8),
    )


@pytest.mark.parametrize(
    ("built", "here", "opens"), [(None, 8, True), (8, 8, True), (7, 8, True), (7, 7, True), (8, 7, False)]
)
def test_weights_of_an_engine_may_not_be_wider_than_the_processor_computes_with(
    bundle: Bundle, record: EngineRecord, built: int | None, here: int, opens: bool
) -> None:
    rewritten(bundle, replace(record, options=replace(record.options, weight_bits=built)))
    there = DeviceInfo(machine="x86_64", weight_bits=here)

    if opens:
        assert open_engine(bundle, Target.ONNXRUNTIME, Precision.INT8, there)
        return
    refused(
        lambda: open_engine(bundle, Target.ONNXRUNTIME, Precision.INT8, there),
        ("processor", "with AVX-512 VNNI or AVX-VNNI", "none found"),
    )


def test_another_machine_says_nothing_of_its_instructions(bundle: Bundle, record: EngineRecord) -> None:
    rewritten(bundle, replace(record, options=EngineOptions(machine="aarch64", weight_bits=8)))

    there = DeviceInfo(machine="x86_64", weight_bits=7)
    refused(
        lambda: open_engine(bundle, Target.ONNXRUNTIME, Precision.INT8, there),
        ("machine", "aarch64", "x86_64"),
    )


@pytest.mark.parametrize("bits", [0, 6, 9, 16])
def test_weights_have_7_or_8_bits(bits: int) -> None:
    with pytest.raises(ConfigError, match=f"weight_bits must be 7 or 8, got {bits}"):
        EngineOptions(weight_bits=bits)


def test_the_command_that_builds_again_has_the_settings(bundle: Bundle, record: EngineRecord) -> None:
    options = EngineOptions(machine="aarch64", dla=1, workspace_mib=512, version_compatible=True)
    again = replace(record, backend=Target.TENSORRT, options=options)

    assert rebuild_command(bundle.path, again) == (
        "edgeseg build-engine --int8 --target tensorrt --workspace-mib 512 --dla 1 --version-compatible "
        f"--force --model {bundle.path}"
    )
