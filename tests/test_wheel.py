"""The wheel as a device gets it: with the extra `cpu` alone, where neither torch nor onnx is present."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
CHECKPOINT = ROOT / "edgeseg" / "demo" / "conveyor.safetensors"
SIZE_HW = ("192", "256")

pytestmark = pytest.mark.slow


def output_of(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("device")


@pytest.fixture(scope="module")
def wheel(folder: Path) -> Path:
    output_of(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, ROOT, cwd=folder)
    (found,) = folder.glob("edgeseg-*.whl")
    return found


@pytest.fixture(scope="module")
def device(folder: Path, wheel: Path) -> Path:
    """The `bin` of a fresh environment with the wheel and the extra `cpu`."""
    venv.create(folder / "env", with_pip=True)
    programs = folder / "env" / "bin"
    output_of(programs / "python", "-m", "pip", "install", "--quiet", f"{wheel}[cpu]", cwd=folder)
    return programs


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    """A bundle, exported where torch is."""
    pytest.importorskip("torch")
    output = folder / "edgeseg-model"
    command = ("-c", "from edgeseg.tools.main import main; main()", "export", CHECKPOINT, "--no-parity")
    output_of(sys.executable, *command, "--size", *SIZE_HW, "-o", output, cwd=folder)
    return output


def test_what_the_wheel_holds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"edgeseg"}
    for wanted in (
        "edgeseg/py.typed",
        "edgeseg/demo/conveyor.safetensors",
        "edgeseg/benchmark/page/templates/page.html.jinja",
        "edgeseg/runtime/web/files/page.html",
        "licenses/LICENSE",
        "licenses/NOTICE",
    ):
        assert any(name.endswith(wanted) for name in names), wanted
    assert any(name.startswith("edgeseg/exporter/images/") for name in names)


def test_neither_torch_nor_onnx_comes_with_it(device: Path, folder: Path) -> None:
    listed = json.loads(output_of(device / "python", "-m", "pip", "list", "--format=json", cwd=folder))

    assert {"torch", "torchvision", "onnx", "onnxscript"} & {package["name"] for package in listed} == set()


def test_a_bundle_runs(device: Path, model: Path, folder: Path) -> None:
    cv2.imwrite(str(folder / "photo.png"), np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8))

    output_of(device / "edgeseg", "run", "--source", "photo.png", "-o", "found", cwd=folder)

    assert json.loads((folder / "found" / "detections.jsonl").read_text("utf-8").splitlines()[0])
    assert isinstance(json.loads((folder / "found" / "results.json").read_text("utf-8")), list)


def test_the_other_verbs(device: Path, model: Path, folder: Path) -> None:
    assert "images uint8[1, 192, 256, 3]" in output_of(device / "edgeseg", "inspect", cwd=folder)
    report = json.loads(output_of(device / "edgeseg", "doctor", "--json", cwd=folder))
    (export,) = (item for item in report["components"] if item["name"] == "Export packages")
    assert export["mend"] == "pip install 'edgeseg[export]'"


def test_export_says_what_to_install(device: Path, folder: Path) -> None:
    done = subprocess.run(
        [device / "edgeseg", "export", "model.pth"], capture_output=True, text=True, cwd=folder, check=False
    )

    assert done.returncode == 1
    assert "pip install 'edgeseg[export]'" in done.stderr
    assert "Traceback" not in done.stderr
