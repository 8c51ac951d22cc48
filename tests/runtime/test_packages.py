from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import pytest

from edgeseg.runtime import packages
from edgeseg.runtime.machine import Component, Host, State
from tests.runtime.test_machine import ORIN, MadeUpHost, write

PIP_BUILD = """
  GUI:                           NONE
  Video I/O:
    FFMPEG:                      YES
      avcodec:                   YES (62.28.101)
    GStreamer:                   NO
    v4l/v4l2:                    YES (linux/videodev2.h)
"""
SYSTEM_BUILD = """
  GUI:                           GTK3
    GTK+:                        YES (ver 3.24.33)
  Video I/O:
    FFMPEG:                      YES
    GStreamer:                   YES (1.20.3)
"""


def installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(packages, "_version", lambda name: "1.0" if name in names else "")


def test_pips_opencv_reads_files_but_no_csi_camera() -> None:
    gstreamer, ffmpeg, window = packages.opencv_abilities(PIP_BUILD)

    assert ffmpeg.state is State.OK
    assert gstreamer.state is window.state is State.MISSING
    assert "sudo apt install python3-opencv" in (gstreamer.mend or "")
    assert "--system-site-packages" in (gstreamer.mend or "")
    assert "libgl1" in (window.mend or "")
    assert "pip install opencv-python" in (window.mend or "")


def test_the_systems_opencv_has_all() -> None:
    found = packages.opencv_abilities(SYSTEM_BUILD)

    assert [component.detail for component in found] == ["1.20.3", "yes", "GTK3"]


def test_build_information_of_another_form() -> None:
    assert {component.state for component in packages.opencv_abilities("")} == {State.MISSING}


def test_opencv_that_lacks_libgl(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "cv2.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file')", "utf-8"
    )
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    (found,) = packages.opencv()

    assert found.state is State.LIMITED
    assert found.mend == "sudo apt install libgl1"


def test_wheels_that_overwrite_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "onnxruntime", "onnxruntime-gpu")

    found = packages.onnxruntime()

    assert found.state is State.LIMITED
    assert found.mend == "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime"


def test_onnxruntime_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    assert packages.onnxruntime().mend == "pip install 'edgeseg[cpu]'"


@pytest.mark.parametrize("there", [(), ("torch", "torchvision")])
def test_export_packages_are_absent(monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...]) -> None:
    installed(monkeypatch, *there)

    found = packages.export_packages(Host())

    assert found.state is State.MISSING
    assert "onnxscript" in found.detail
    assert found.mend == "pip install 'edgeseg[export]'"


@pytest.mark.parametrize(
    ("printed", "state", "words"),
    [
        ("ok", State.OK, "torchvision 1.0"),
        ("a warning\nok", State.OK, "torchvision 1.0"),
        ("operator torchvision::nms does not exist", State.LIMITED, "nms does not exist"),
        (None, State.LIMITED, "crashes"),
    ],
)
def test_torch_and_torchvision_must_fit(monkeypatch, printed: str | None, state: State, words: str) -> None:
    installed(monkeypatch, *packages.EXPORT_PACKAGES)
    host = MadeUpHost(printed={} if printed is None else {sys.executable: printed})

    found = packages.export_packages(host)

    assert found.state is state
    assert words in found.detail


def pretend(monkeypatch: pytest.MonkeyPatch, *, origin: str | None, version: str = "10.3.0") -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(origin=origin))
    module = ModuleType("tensorrt")
    module.__version__ = version
    monkeypatch.setitem(sys.modules, "tensorrt", module)


@pytest.mark.parametrize(
    ("version", "state"), [("10.3.0", State.OK), ("11.0.1", State.OK), ("8.6.2", State.LIMITED)]
)
def test_versions_of_tensorrt(monkeypatch: pytest.MonkeyPatch, version: str, state: State) -> None:
    pretend(monkeypatch, origin="/usr/lib/python3/dist-packages/tensorrt/__init__.py", version=version)

    assert packages.tensorrt(Host(), gpu=True).state is state


def test_old_tensorrt_of_a_jetson_comes_with_jetpack(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    pretend(monkeypatch, origin="/usr/lib/tensorrt/__init__.py", version="8.6.2.3")

    found = packages.tensorrt(MadeUpHost(root=write(tmp_path, ORIN)), gpu=True)

    assert found.mend == "install JetPack 6.1 or later"


def test_stubs_are_no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, origin=None)

    assert packages.tensorrt(Host(), gpu=True).state is State.MISSING


def test_tensorrt_on_a_jetson_lies_in_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    pretend(monkeypatch, origin=None)

    found = packages.tensorrt(MadeUpHost(root=write(tmp_path, ORIN)), gpu=True)

    assert found.mend == "python3 -m venv --system-site-packages .venv"


def test_tensorrt_is_of_no_use_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, origin=None)

    found = packages.tensorrt(Host(), gpu=False)

    assert (found.state, found.mend) == (State.NONE, None)


def test_rtx_without_its_bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(packages.sys, "platform", "linux")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "bindings" in name else object())

    found = packages.tensorrt_rtx()

    assert found.state is State.MISSING
    assert found.detail == "no tensorrt_rtx_bindings"
    assert "edgeseg[rtx]" in (found.mend or "")


def test_rtx_has_no_wheels_for_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.platform, "machine", lambda: "aarch64")

    assert packages.tensorrt_rtx().state is State.NONE


def test_everything_on_this_machine_says_how_to_mend_it() -> None:
    found = packages.look_around()

    assert len({component.name for component in found}) == len(found)
    for component in found:
        assert isinstance(component, Component)
        wrong = component.state in (State.LIMITED, State.MISSING)
        assert wrong == bool(component.mend) == bool(component.needed_to)
