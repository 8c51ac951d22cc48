from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgeseg.doctor import tested_versions
from edgeseg.doctor.tested_versions import TESTED, UNTESTED
from edgeseg.errors import DependencyError
from edgeseg.optional import (
    EXTRA_BY_MODULE,
    HINT_BY_MODULE,
    REQUIRED_MODULES,
    broken_requirement,
    install_command,
    require,
    require_extra,
)

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
# Known packages that are no requirement: builds of OpenCV with windows, and what is taken without its needs.
ELSEWHERE = {"opencv-python", "tensorrt-cu12", "trackers"}


def run_python(program: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "CI", "XDG_CACHE_HOME")}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env=kept | environment
    )


def sources() -> list[Path]:
    root = PYPROJECT.parent
    return [*(root / "edgeseg").rglob("*.py"), *(root / "docs").glob("*.md"), root / "README.md"]


def distributions_of_pyproject() -> set[str]:
    text = PYPROJECT.read_text("utf-8").split("[dependency-groups]")[0]
    return set(re.findall(r"\"([A-Za-z][\w-]*?)(?=[<>=!~])", text))


def test_require_returns_the_module() -> None:
    import json

    assert require("json", purpose="read a bundle") is json


def test_absent_package_names_purpose_and_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(
        DependencyError,
        match=r"jinja2 is needed to draw and is not installed.*pip install 'edgeseg\[report\]'",
    ):
        require("jinja2", purpose="draw")


def test_absent_package_of_an_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxsim", None)

    with pytest.raises(DependencyError, match=r"pip install 'edgeseg\[export\]'"):
        require("onnxsim", purpose="simplify a graph")


def test_broken_package_is_not_called_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "onnxscript", raising=False)
    (tmp_path / "onnxscript.py").write_text("raise ImportError('libGL.so.1: cannot open')", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(DependencyError, match=r"installed but does not import \(libGL\.so\.1: cannot open\)"):
        require("onnxscript", purpose="show a window")


def test_package_that_lacks_a_package_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "onnxscript", raising=False)
    (tmp_path / "onnxscript.py").write_text("import no_such_thing", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(DependencyError, match=r"onnxscript .* installed but does not import .*no_such_thing"):
        require("onnxscript", purpose="test")


@pytest.mark.parametrize(
    "module", dict.fromkeys([*EXTRA_BY_MODULE, *HINT_BY_MODULE, *REQUIRED_MODULES, "cuda.bindings.driver"])
)
def test_every_command_says_what_to_type(module: str) -> None:
    assert "pip install" in install_command(module)


def test_advice_is_never_made_up() -> None:
    """A name that nobody has registered can be taken by anyone, as `cv2` could."""
    with pytest.raises(LookupError):
        install_command("no_such_thing")


@pytest.mark.parametrize(
    "failure", ["ValueError('numpy.dtype size changed')", "AttributeError('_ARRAY_API')"]
)
def test_a_package_that_fits_no_other_may_raise_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    (tmp_path / "onnxsim.py").write_text(f"raise {failure}", "utf-8")
    monkeypatch.delitem(sys.modules, "onnxsim", raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(
        DependencyError, match=r"installed but does not import .*--upgrade 'edgeseg\[export\]'"
    ):
        require("onnxsim", purpose="simplify a graph")


def test_what_edgeseg_needs_itself_is_found_behind_any_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert broken_requirement(ValueError("numpy.dtype size changed")) is None
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)

    found = broken_requirement(ImportError("numpy.dtype size changed"))

    assert found is not None
    assert re.search(r"numpy.dtype size changed.*pip install --upgrade pycocotools$", str(found))


def test_a_broken_need_is_no_unexpected_error(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise AttributeError('_ARRAY_API not found')", "utf-8")
    where = {"PYTHONPATH": f"{tmp_path}:{PYPROJECT.parent}"}

    done = run_python("import edgeseg; edgeseg.load('nowhere')", where)

    assert "DependencyError: cv2 is needed" in done.stderr
    assert "pip install --upgrade opencv-python-headless" in done.stderr


def test_a_packed_program_says_how_to_pack_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(DependencyError, match="--hidden-import openvino"):
        require("openvino", purpose="compute")

    missing_module = ModuleNotFoundError(
        "No module named 'edgeseg.tools.commands.run'", name="edgeseg.tools.commands.run"
    )
    assert "--collect-submodules edgeseg" in str(broken_requirement(missing_module))


def test_every_advice_names_what_pyproject_names() -> None:
    named = distributions_of_pyproject() | {"edgeseg"}
    texts = {path: path.read_text("utf-8") for path in sources()}

    strange = {
        (path.name, name)
        for path, text in texts.items()
        for command in re.findall(
            r"pip install ((?:-{1,2}[\w-]+ |'?[A-Za-z][\w.-]*[^\s'`\"&;,)]*'? ?)+)", text
        )
        for name in re.findall(r"(?:^|\s)'?([A-Za-z][\w.-]*[\w])", command)
        if name not in named | ELSEWHERE
    }

    assert strange == set()
    assert sum("pip install" in text for text in texts.values()) >= 8


def test_submodule_belongs_to_its_package() -> None:
    assert install_command("torch.onnx") == install_command("torch")


def test_every_extra_that_is_named_exists() -> None:
    section = PYPROJECT.read_text("utf-8").split("[project.optional-dependencies]")[1].split("\n[")[0]
    extras = re.findall(r"^(\w+) = \[", section, re.MULTILINE)

    assert set(EXTRA_BY_MODULE.values()) <= set(extras)


def test_an_extra_is_required_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(DependencyError, match=r"safetensors is needed to fly .*edgeseg\[export\]"):
        require_extra("export", purpose="fly")
    require_extra("cpu", purpose="fly")


EMPTY_HOME = """
import sys
from edgeseg.optional import require
for name in ("onnxruntime", "openvino", "onnxsim", "supervision"):
    require(name, purpose="test")
import onnx, onnxruntime, openvino
from onnx import helper
value = lambda name: helper.make_tensor_value_info(name, 1, [1])
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value("x")], [value("y")])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
openvino.Core()
print([name for name in sys.modules if name.startswith("openvino_telemetry")])
"""


def test_nothing_is_reported_to_the_makers_of_packages(tmp_path: Path) -> None:
    for package in ("onnxruntime", "openvino", "onnxsim", "supervision"):
        pytest.importorskip(package)

    done = run_python(EMPTY_HOME, {"HOME": str(tmp_path)})

    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    assert list(tmp_path.rglob("*")) == []


def test_nothing_is_said_where_there_is_no_home() -> None:
    pytest.importorskip("onnxruntime")
    program = "from edgeseg.optional import require; require('onnxruntime', purpose='test')"

    done = run_python(program, {"HOME": "/dev/null/nowhere"})

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_a_user_has_said_of_reports_counts(tmp_path: Path) -> None:
    (tmp_path / "intel").mkdir()
    (tmp_path / "intel" / "openvino_telemetry").write_text("0", "utf-8")
    program = (
        "import os, sys; from edgeseg.optional import without_telemetry\n"
        "with without_telemetry():\n"
        "    print(os.environ['ORT_DISABLE_TELEMETRY'], 'openvino_telemetry' in sys.modules)"
    )

    own = run_python(program, {"HOME": str(tmp_path), "ORT_DISABLE_TELEMETRY": "0"})
    default = run_python(program, {"HOME": "/dev/null/nowhere"})

    assert own.stdout == "0 False\n"
    assert default.stdout == "1 True\n"


def test_tested_versions_are_of_all_that_pyproject_names() -> None:
    assert {*TESTED, "trackers"} == (distributions_of_pyproject() - UNTESTED - {"hatchling"}) | {"trackers"}


def test_what_is_newer_than_tested_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"numpy": "2.99.1", "click": TESTED["click"] + ".9", "rich": "1.0"}
    monkeypatch.setattr("edgeseg.doctor.tested_versions.version", installed.__getitem__)
    monkeypatch.setattr("edgeseg.doctor.tested_versions.PackageNotFoundError", KeyError)

    assert tested_versions.newer_packages() == ["numpy"]
    line = tested_versions.tested_versions()
    assert "numpy 2.99.1 (tested up to" in line.detail
    assert line.mend == f"pip install 'numpy=={TESTED['numpy']}.*'"
