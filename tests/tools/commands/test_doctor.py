from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

import edgeseg
from edgeseg.bundle.engines import Precision, Target
from edgeseg.doctor import packages
from edgeseg.runtime import targets
from edgeseg.runtime.host import machine
from edgeseg.runtime.host.machine import Component, ComponentState
from edgeseg.runtime.targets import BuildChoice
from edgeseg.tools.main import cli

if TYPE_CHECKING:
    from collections.abc import Callable

BROKEN = Component(
    name="OpenCV: window",
    state=ComponentState.MISSING,
    detail="not in this build",
    needed_to="show a window",
    mend="pip install opencv-python",
)
WHOLE = Component(name="Memory", state=ComponentState.OK, detail="8.0 GiB [shared]")


@pytest.fixture
def around(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Choose what the machine has."""
    return lambda *components: monkeypatch.setattr(packages, "inspect_machine", lambda: list(components))


def doctor(*args: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", *args])


def test_report_on_this_machine_as_json() -> None:
    result = doctor("--json")

    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert report["edgeseg"] == edgeseg.__version__
    found = {item["name"]: item for item in report["components"]}
    assert found["OpenCV"]["state"] == "ok"
    assert {"Python", "Processor", "Memory", "JetPack", "GPU", "Cameras", "OpenVINO"} <= set(found)
    assert {"CUDA", "TensorRT", "TensorRT for RTX", "Engines go to"} <= set(found)
    assert all(item["mend"] for item in found.values() if item["state"] in ("missing", "limited"))


def test_table_and_remedies(around: Callable[..., None]) -> None:
    around(WHOLE, BROKEN)

    result = doctor()

    assert result.exit_code == 0
    assert "8.0 GiB [shared]" in result.stdout
    assert "To show a window (OpenCV: window):\n  pip install opencv-python\n" in result.stdout


def test_nothing_to_mend(around: Callable[..., None]) -> None:
    around(WHOLE)

    assert doctor().stdout.endswith("Nothing is missing.\n")


def test_it_says_what_engines_are_built_for_where_nothing_is_named(
    around: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    around(WHOLE)
    asked = []

    def choose_engine(*args: object) -> BuildChoice:
        asked.append(args[:2])
        return BuildChoice(Target.TENSORRT_RTX, Precision.FP16, "no TensorRT; tensorrt-rtx runs here")

    monkeypatch.setattr(targets, "choose_engine", choose_engine)

    assert "Engines go to   ok      tensorrt-rtx: no TensorRT; tensorrt-rtx runs here" in doctor().stdout
    assert asked == [(None, None)]


def test_a_choice_that_breaks_is_told_in_the_report(
    around: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    around(WHOLE)
    monkeypatch.setattr(targets, "find_gpu", lambda: 1 // 0)

    result = doctor("--json")

    assert result.exit_code == 0
    last = json.loads(result.stdout)["components"][-1]
    assert (last["name"], last["state"], last["detail"][:18]) == (
        "Engines go to",
        "limited",
        "ZeroDivisionError:",
    )
    assert last["mend"] == machine.REPORT_HINT


@pytest.mark.parametrize("package", ["cv2", "onnxruntime", "openvino", "cuda", "tensorrt", "torch"])
def test_without_a_package(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(packages, "export_packages", lambda host: WHOLE)

    result = doctor()

    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    assert "Engines go to" in result.stdout


def test_a_device_without_torch_and_onnx_is_told_where_engines_go() -> None:
    script = (
        "import sys; sys.modules.update(torch=None, torchvision=None, onnx=None)\n"
        "from edgeseg.tools.commands.doctor import _engines; print(_engines().state.value)"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.stdout == "ok\n", done.stderr
