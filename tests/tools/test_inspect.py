from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from edgeseg.bundle import write_manifest
from edgeseg.spec import BACKGROUND, Lowering, ModelSpec
from edgeseg.tools.main import cli
from tests.test_spec import FACTS, REPORT

if TYPE_CHECKING:
    from pathlib import Path

onnx = pytest.importorskip("onnx")
NAMES = [lowering.file_name for lowering in Lowering]
SPEC = ModelSpec(
    **{**FACTS, "class_names": (BACKGROUND, *"abcdefghij")}, input_size_hw=(64, 96), parity=REPORT
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A bundle whose graphs are a single Cast."""
    folder = tmp_path / "model"
    folder.mkdir()
    port = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Cast", ["images"], ["boxes"], to=onnx.TensorProto.FLOAT)],
        "net",
        [port("images", onnx.TensorProto.UINT8, [1, 64, 96, 3])],
        [port("boxes", onnx.TensorProto.FLOAT, [1, 64, 96, "channels"])],
    )
    opset = onnx.helper.make_opsetid("", 18)
    for name in NAMES:
        onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), folder / name)
    write_manifest(folder, SPEC, NAMES)
    return folder


def inspect(model: Path, *args: str):
    return CliRunner().invoke(cli, ["inspect", "--model", str(model), *args])


def test_page(model: Path) -> None:
    result = inspect(model)

    assert result.exit_code == 0
    assert "images uint8[1, 64, 96, 3]" in result.stdout
    assert "boxes float32[1, 64, 96, channels]" in result.stdout
    assert "1, of 1 operators: 1 Cast" in result.stdout
    assert "10: a, b, c, d, e, f, g, h and 2 more" in result.stdout
    assert "Parity with PyTorch above a score of 0.05: passed" in result.stdout


def test_json(model: Path) -> None:
    report = json.loads(inspect(model, "--json").stdout)

    assert report["path"] == str(model)
    assert report["spec"]["input_size_hw"] == [64, 96]
    assert report["graphs"]["portable.onnx"]["operators"] == {"Cast": 1}
    assert report["graphs"]["tensorrt.onnx"]["opset"] == 18
    assert report["unread"] is None


def test_without_onnx_the_ports_are_still_shown(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)

    result = inspect(model)

    assert result.exit_code == 0
    assert "images uint8[1, 64, 96, 3]" in result.stdout
    assert "not counted: onnx is not installed" in result.stdout


def test_without_both_the_spec_is_still_shown(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    result = inspect(model)

    assert result.exit_code == 0
    assert "maskrcnn_resnet50_fpn" in result.stdout
    assert "pip install 'edgeseg[export]', or pip install 'edgeseg[cpu]'" in result.stderr


def test_bundle_that_was_never_compared(model: Path) -> None:
    write_manifest(model, dataclasses.replace(SPEC, parity=None), NAMES)

    assert "not compared with PyTorch" in inspect(model).stderr


def test_altered_bundle(model: Path) -> None:
    (model / "portable.onnx").write_bytes(b"")

    result = inspect(model)

    assert result.exit_code == 1
    assert "portable.onnx has 0 bytes" in result.stderr


def test_graph_that_is_no_graph(model: Path) -> None:
    (model / "portable.onnx").write_bytes(b"not a graph" * 20)
    write_manifest(model, SPEC, NAMES)

    result = inspect(model)

    assert result.exit_code == 1
    assert "portable.onnx is not a valid ONNX graph" in result.stderr


def test_no_bundle_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(cli, ["inspect"])

    assert result.exit_code == 1
    assert "no bundle at edgeseg-model" in result.stderr
