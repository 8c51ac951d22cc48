from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from edgeseg.bundle.engines import Precision, Target
from edgeseg.bundle.manifest import write_manifest
from edgeseg.spec import BACKGROUND, Lowering, ModelSpec
from edgeseg.tools.main import cli
from tests.runtime.test_engine_report import A5000, KERNELS, add_engine
from tests.test_spec import FACTS, REPORT

if TYPE_CHECKING:
    from pathlib import Path

onnx = pytest.importorskip("onnx")
# Engines that are made up here have 8-bit weights.
pytestmark = pytest.mark.usefixtures("vnni")
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


def inspect(model: Path, *args: str) -> Result:
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


def line(result: Result, name: str) -> str:
    """Give the value of a name in a page; empty if it is not there."""
    found = [row.strip() for row in result.stdout.splitlines() if row.strip().startswith(f"{name}  ")]
    return found[0].removeprefix(name).strip() if found else ""


@pytest.fixture
def int8(model: Path) -> Path:
    """The bundle with an 8-bit engine for this machine."""
    add_engine(
        model,
        Target.ONNXRUNTIME,
        Precision.INT8,
        content=b"x" * 1_500_000,
        backend_version="1.31.1",
        calibration_sha256="ab" * 32,
        float_layers=("boxes",),
        layers={"first": "fp32", "second": "int8", "boxes": "fp32", "third": "int8", "fourth": "int8"},
        kernels=KERNELS,
    )
    return model


def test_page_of_an_engine(int8: Path) -> None:
    result = inspect(int8, "--engine", "onnxruntime-int8")

    assert result.exit_code == 0
    assert result.stdout.startswith(f"{int8}/engines/onnxruntime-int8.onnx\n")
    assert line(result, "runs here") == "yes"
    assert line(result, "backend") == "onnxruntime 1.31.1, INT8"
    assert line(result, "size") == "1.5 MB"
    assert line(result, "built in") == "12.3 s"
    assert line(result, "graph").startswith("portable.onnx (SHA-256 ")
    assert line(result, "calibration") == "SHA-256 abababababab"
    assert line(result, "layers") == "3 in int8, 2 in fp32"
    assert line(result, "not in INT8") == "first, boxes"
    assert line(result, "of these spared") == "boxes"
    assert line(result, "only rounding") == "2 kernels"
    assert ["QLinearConv", "uint8", "2"] in [row.split() for row in result.stdout.splitlines()]
    # What it does not have is not mentioned.
    assert not any(name in result.stdout for name in ("driver", "settings", "not on DLA"))
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weight_bits": 7}, "x86_64, 7-bit weights"),
        ({"weight_bits": 8}, "x86_64, 8-bit weights"),
        ({"weight_bits": 8, "amx": True}, "x86_64 with AMX"),
    ],
)
def test_page_of_an_engine_for_processors_says_for_which(
    model: Path, options: dict[str, Any], words: str
) -> None:
    add_engine(model, Target.ONNXRUNTIME, Precision.INT8, machine="x86_64", options=options)

    assert line(inspect(model, "--engine", "onnxruntime-int8"), "built for") == words


def test_page_of_an_engine_for_a_gpu(model: Path) -> None:
    add_engine(
        model,
        Target.TENSORRT,
        Precision.FP16,
        machine="aarch64",
        gpu=A5000,
        not_on_dla=("softmax", "topk"),
        options={
            "workspace_mib": 512,
            "dla": 0,
            "version_compatible": True,
            "hardware_compatible": True,
        },
    )

    result = inspect(model, "--engine", "tensorrt-fp16")

    assert result.exit_code == 0
    assert "was built for another machine (aarch64, here " in " ".join(result.stdout.split())
    assert line(result, "built for") == "aarch64 NVIDIA RTX A5000"
    assert line(result, "driver") == "12.6"
    settings = "workspace 512 MiB, DLA core 0, version compatible, hardware compatible"
    assert line(result, "settings") == settings
    assert line(result, "not on DLA") == "softmax, topk"
    assert "Kernels" not in result.stdout


def test_page_of_an_engine_for_rtx_names_the_generations(model: Path) -> None:
    add_engine(
        model,
        Target.TENSORRT_RTX,
        Precision.FP32,
        machine="x86_64",
        options={"compute_capabilities": ("SM86", "SM89")},
    )

    assert line(inspect(model, "--engine", "tensorrt-rtx-fp32"), "built for") == "x86_64 SM86 SM89"


def test_page_of_an_engine_that_is_the_graph_itself(model: Path) -> None:
    add_engine(model, Target.ONNXRUNTIME, Precision.FP32, content=None)

    result = inspect(model, "--engine", "onnxruntime-fp32")

    assert result.stdout.startswith(f"{model}/portable.onnx\n")
    assert line(result, "size") == "portable.onnx as it is"
    assert not line(result, "not in INT8")


def test_more_kernels_than_a_page_has_room_for(model: Path) -> None:
    kernels = tuple(dataclasses.replace(KERNELS[1], kind=f"Kind{number}") for number in range(20))
    add_engine(model, Target.ONNXRUNTIME, Precision.INT8, kernels=kernels)

    result = inspect(model, "--engine", "onnxruntime-int8")

    assert result.stdout.count("Kind") == 16
    assert "and 4 more kinds; --json lists every kernel" in result.stderr


def test_json_of_an_engine(int8: Path) -> None:
    report = json.loads(inspect(int8, "--engine", "onnxruntime-int8", "--json").stdout)

    assert report["name"] == "onnxruntime-int8"
    assert report["unfit"] == ""
    assert report["layers_by_type"] == {"int8": 3, "fp32": 2}
    assert report["not_int8"] == ["first", "boxes"]
    assert report["rounding"] == 2
    assert report["record"]["backend"] == "onnxruntime"
    assert [kernel["name"] for kernel in report["record"]["kernels"]] == ["c", "a", "b", "d", "e"]


def test_an_unfit_engine_is_shown_and_is_no_failure(int8: Path) -> None:
    (int8 / "engines" / "onnxruntime-int8.onnx").write_bytes(b"x")

    page, data = (inspect(int8, "--engine", "onnxruntime-int8", *more) for more in ((), ("--json",)))

    assert (page.exit_code, data.exit_code) == (0, 0)
    assert "truncated or altered" in " ".join(page.stdout.split())
    assert "truncated or altered" in json.loads(data.stdout)["unfit"]
    assert line(page, "layers") == "3 in int8, 2 in fp32"


@pytest.mark.parametrize("args", [(), ("--json",)])
def test_an_unknown_engine_names_those_that_are_there(int8: Path, args: tuple[str, ...]) -> None:
    result = inspect(int8, "--engine", "tensorrt-int8", *args)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert "has no engine 'tensorrt-int8'; it has onnxruntime-int8" in result.stderr


def test_a_bundle_lists_its_engines(int8: Path) -> None:
    add_engine(int8, Target.TENSORRT_RTX, Precision.FP16, machine="s390x")

    page, data = inspect(int8), inspect(int8, "--json")

    assert page.exit_code == 0
    assert ["onnxruntime-int8", "1.5", "MB", "yes"] in [row.split() for row in page.stdout.splitlines()]
    assert "built for another machine (s390x, here " in " ".join(page.stdout.split())
    engines = json.loads(data.stdout)["engines"]
    assert [(item["name"], bool(item["unfit"])) for item in engines] == [
        ("tensorrt-rtx-fp16", True),
        ("onnxruntime-int8", False),
    ]


def test_a_bundle_without_engines(model: Path) -> None:
    assert "Engines" not in inspect(model).stdout
    assert json.loads(inspect(model, "--json").stdout)["engines"] == []


def test_a_broken_record_does_not_hide_the_bundle(int8: Path) -> None:
    (int8 / "engines" / "onnxruntime-int8.json").write_text("{", "utf-8")

    result = inspect(int8)

    assert "onnxruntime-int8.json" in result.stderr
    assert "maskrcnn_resnet50_fpn" in result.stdout
