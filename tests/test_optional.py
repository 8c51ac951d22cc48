from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from edgeseg.errors import DependencyError
from edgeseg.optional import EXTRA_BY_MODULE, install_command, require, require_extra

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def test_require_returns_the_module() -> None:
    import json

    assert require("json", purpose="read a bundle") is json


def test_absent_package_names_purpose_and_command() -> None:
    with pytest.raises(
        DependencyError, match=r"no_such_thing is needed to draw and is not installed.*pip install"
    ):
        require("no_such_thing", purpose="draw")


def test_absent_package_of_an_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxsim", None)

    with pytest.raises(DependencyError, match=r"pip install 'edgeseg\[export\]'"):
        require("onnxsim", purpose="simplify a graph")


def test_broken_package_is_not_called_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_package.py").write_text("raise ImportError('libGL.so.1: cannot open')", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(DependencyError, match=r"installed but does not import \(libGL\.so\.1: cannot open\)"):
        require("broken_package", purpose="show a window")


def test_package_that_lacks_a_package_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needy_package.py").write_text("import no_such_thing", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(
        DependencyError, match=r"needy_package .* installed but does not import .*no_such_thing"
    ):
        require("needy_package", purpose="test")


@pytest.mark.parametrize("module", ["tensorrt", "tensorrt_rtx_bindings", "torch", "onnxruntime", "numpy"])
def test_every_command_says_what_to_type(module: str) -> None:
    assert "pip install" in install_command(module)


def test_submodule_belongs_to_its_package() -> None:
    assert install_command("torch.onnx") == install_command("torch")


def test_every_extra_that_is_named_exists() -> None:
    section = PYPROJECT.read_text("utf-8").split("[project.optional-dependencies]")[1].split("\n[")[0]
    extras = re.findall(r"^(\w+) = \[", section, re.MULTILINE)

    assert set(EXTRA_BY_MODULE.values()) <= set(extras)


def test_an_extra_is_required_whole(monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(DependencyError, match=r"safetensors is needed to fly .*edgeseg\[export\]"):
        require_extra("export", purpose="fly")
    require_extra("cpu", purpose="fly")
