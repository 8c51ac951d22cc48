from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edgeseg.bundle import file_record, open_bundle, write_manifest
from edgeseg.engines import EngineRecord, engine_path, machine_family, open_engine, write_record
from edgeseg.errors import ArtifactError
from tests.runtime.fake_bundle import make_spec, write_graph

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bundle(tmp_path: Path):
    spec = make_spec()
    write_graph(tmp_path / "portable.onnx", spec)
    write_manifest(tmp_path, spec, ["portable.onnx"])
    return open_bundle(tmp_path)


@pytest.fixture
def record(bundle) -> EngineRecord:
    path = engine_path(bundle.path, "onnxruntime", "int8")
    path.parent.mkdir()
    path.write_bytes(b"an engine")
    record = EngineRecord(
        backend="onnxruntime",
        backend_version="1.31.1",
        precision="int8",
        machine="x86_64",
        file=file_record(path),
        graph_sha256=bundle.files["portable.onnx"].sha256,
        build_s=1.5,
    )
    write_record(path, record)
    return record


def opened(bundle, machine: str = "x86_64"):
    return open_engine(bundle, "onnxruntime", "int8", machine)


def rewritten(bundle, record: EngineRecord) -> None:
    write_record(engine_path(bundle.path, "onnxruntime", "int8"), record)


def test_an_engine_opens_with_its_record(bundle, record) -> None:
    engine = opened(bundle)

    assert engine.record == record
    assert engine.path.read_bytes() == b"an engine"


def test_a_missing_engine_names_the_command(bundle) -> None:
    with pytest.raises(ArtifactError, match=r"no engine .*int8.onnx; build it with `edgeseg build-eng"):
        opened(bundle)


def test_another_machine_is_refused(bundle, record) -> None:
    with pytest.raises(ArtifactError, match=r"for another machine \(x86_64, here aarch64\).*build-engine"):
        opened(bundle, "aarch64")


def test_another_graph_is_refused(bundle, record) -> None:
    rewritten(bundle, replace(record, graph_sha256="0" * 64))

    with pytest.raises(ArtifactError, match=r"built for another graph \(0{16}, here .*build-engine"):
        opened(bundle)


def test_a_graph_that_the_bundle_lacks_is_refused(bundle, record) -> None:
    rewritten(bundle, replace(record, graph="tensorrt.onnx"))

    with pytest.raises(ArtifactError, match="here none"):
        opened(bundle)


@pytest.mark.parametrize("content", [b"an engin", b"an enginf", b""])
def test_a_truncated_or_altered_engine_is_refused(bundle, record, content: bytes) -> None:
    engine_path(bundle.path, "onnxruntime", "int8").write_bytes(content)

    with pytest.raises(ArtifactError, match="truncated or altered"):
        opened(bundle)


def test_an_engine_without_its_file_is_refused(bundle, record) -> None:
    engine_path(bundle.path, "onnxruntime", "int8").unlink()

    with pytest.raises(ArtifactError, match="cannot read"):
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
def test_a_spoilt_record_is_refused(bundle, record, text: str, reason: str) -> None:
    engine_path(bundle.path, "onnxruntime", "int8").with_suffix(".json").write_text(text)

    with pytest.raises(ArtifactError, match=reason):
        opened(bundle)


def test_a_record_is_json_that_people_can_read(bundle, record) -> None:
    data = json.loads(engine_path(bundle.path, "onnxruntime", "int8").with_suffix(".json").read_text())

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
