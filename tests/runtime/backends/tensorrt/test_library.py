"""The door to TensorRT and TensorRT for RTX."""

from __future__ import annotations

import logging
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from edgeseg.errors import DependencyError
from edgeseg.runtime.backends.tensorrt import library as tensorrt_library
from edgeseg.runtime.backends.tensorrt.library import TensorRTKind, is_installed, load_library

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_library, "_loaded", {})


def load_rtx() -> None:
    load_library(TensorRTKind.RTX, purpose="build an engine")


def tensorrt_of(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a module in the place of TensorRT that has its version and the base of its loggers, no more."""
    module = ModuleType("tensorrt")
    vars(module).update(__version__=version, ILogger=type("ILogger", (), {}))
    monkeypatch.setitem(sys.modules, "tensorrt", module)


@pytest.mark.parametrize("version", ["10.3.0", "10.16.1.11", "11.4.0.106"])
def test_versions_that_are_supported(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tensorrt_of(version, monkeypatch)

    library = load_library(TensorRTKind.TENSORRT, purpose="build an engine")

    assert library.title == f"TensorRT {version}"
    assert load_library(TensorRTKind.TENSORRT, purpose="run one") is library


@pytest.mark.parametrize("version", ["8.6.2", "10.1.0", "10.2.0.post1"])
def test_versions_that_are_too_old(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tensorrt_of(version, monkeypatch)

    with pytest.raises(DependencyError, match=rf"TensorRT 10\.3 or later .*got {version}; .*JetPack 6\.1"):
        load_library(TensorRTKind.TENSORRT, purpose="build an engine")


def test_tensorrt_that_is_missing_names_jetpack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)

    with pytest.raises(DependencyError, match=r"JetPack .*--system-site-packages.*pip install"):
        load_library(TensorRTKind.TENSORRT, purpose="build an engine")


def test_what_it_says_is_logged_and_heard(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tensorrt_of("10.3.0", monkeypatch)
    library = load_library(TensorRTKind.TENSORRT, purpose="build an engine")
    severity = {name: type("Severity", (), {"name": name}) for name in ("ERROR", "INFO", "VERBOSE")}

    with caplog.at_level(logging.DEBUG), library.capture_log() as captured:
        library.log.log(severity["ERROR"], "no memory. ")
        library.log.log(severity["INFO"], "a layer")
    library.log.log(severity["ERROR"], "later")

    assert (captured.errors, captured.infos, captured.reason) == (["no memory. "], ["a layer"], "no memory")
    assert [record.levelname for record in caplog.records[:2]] == ["ERROR", "INFO"]


@pytest.mark.skipif(not is_installed(TensorRTKind.RTX), reason="needs TensorRT for RTX (extra rtx)")
def test_tensorrt_for_rtx_loads() -> None:
    assert load_library(TensorRTKind.RTX, purpose="build an engine").title.startswith("TensorRT for RTX 1.")


def test_absent_libraries_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_library, "RTX_PACKAGE", "no_such_package")

    with pytest.raises(DependencyError, match=r"pip install 'edgeseg\[rtx\]'"):
        load_rtx()


def test_package_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_library, "rtx_folder", lambda: tmp_path)

    with pytest.raises(DependencyError, match="libtensorrt_rtx"):
        load_rtx()


def test_library_that_does_not_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libtensorrt_rtx.so.1.7.1").write_bytes(b"not a library")
    monkeypatch.setattr(tensorrt_library, "rtx_folder", lambda: tmp_path)

    with pytest.raises(DependencyError, match=r"libtensorrt_rtx\.so\.1\.7\.1 does not load"):
        load_rtx()
