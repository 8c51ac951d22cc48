from __future__ import annotations

import importlib.util
import platform
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from edgeseg.doctor import packages
from edgeseg.errors import ArtifactError, DependencyError
from edgeseg.runtime.backends.tensorrt import library
from edgeseg.runtime.backends.tensorrt.library import TensorRTKind, is_installed
from edgeseg.runtime.cuda.driver import BINDINGS, PYCUDA
from edgeseg.runtime.host.machine import Component, ComponentState, Host
from tests.runtime.host.test_machine import ORIN, ORIN_GPU, MadeUpHost, write

if TYPE_CHECKING:
    from collections.abc import Callable

PC = MadeUpHost(root=Path("no-such-folder"))
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
    gstreamer, ffmpeg, window = packages.opencv_features(PIP_BUILD)

    assert ffmpeg.state is ComponentState.OK
    assert gstreamer.state is window.state is ComponentState.MISSING
    assert "sudo apt install python3-opencv" in (gstreamer.mend or "")
    assert "--system-site-packages" in (gstreamer.mend or "")
    assert "libgl1" in (window.mend or "")
    assert "pip install opencv-python" in (window.mend or "")


def test_the_systems_opencv_has_all() -> None:
    found = packages.opencv_features(SYSTEM_BUILD)

    assert [component.detail for component in found] == ["1.20.3", "yes", "GTK3"]


def test_build_information_of_another_form() -> None:
    assert {component.state for component in packages.opencv_features("")} == {ComponentState.MISSING}


def test_opencv_that_lacks_libgl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file')", "utf-8"
    )
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    (found,) = packages.opencv()

    assert found.state is ComponentState.LIMITED
    assert found.mend == "sudo apt install libgl1"


def pretend(monkeypatch: pytest.MonkeyPatch, name: str, **content: object) -> None:
    """Put a module in the place of a package, that can be found as well as imported."""
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None, origin=f"/usr/lib/{name}/__init__.py")
    for key, value in content.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)


def broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, line: str) -> None:
    """Put a package in front of all others that does not import."""
    (tmp_path / "broken" / name).mkdir(parents=True)
    (tmp_path / "broken" / name / "__init__.py").write_text(line, "utf-8")
    for loaded in [module for module in sys.modules if module.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.syspath_prepend(tmp_path / "broken")


def ort_with(monkeypatch: pytest.MonkeyPatch, *providers: str) -> None:
    names = [f"{name}ExecutionProvider" for name in providers]
    pretend(monkeypatch, "onnxruntime", __version__="1.23.0", get_available_providers=lambda: names)
    installed(monkeypatch, "onnxruntime")


def test_wheels_that_overwrite_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    ort_with(monkeypatch, "CPU")
    installed(monkeypatch, "onnxruntime", "onnxruntime-gpu")

    (found,) = packages.onnxruntime(PC, gpu=False)

    assert found.state is ComponentState.LIMITED
    assert found.mend == "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime"


def test_onnxruntime_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    (found,) = packages.onnxruntime(PC, gpu=False)

    assert (found.state, found.detail) == (ComponentState.MISSING, "not installed")
    assert found.mend == "pip install 'edgeseg[cpu]'"


def test_onnxruntime_that_does_not_import(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken(monkeypatch, tmp_path, "onnxruntime", "raise ImportError('numpy is too old')")

    (found,) = packages.onnxruntime(PC, gpu=False)

    assert found.state is ComponentState.LIMITED
    assert found.detail.endswith("is installed but does not import (numpy is too old)")
    assert found.mend == "pip install --force-reinstall 'edgeseg[cpu]'"


@pytest.mark.parametrize(
    ("providers", "gpu", "state", "detail"),
    [
        (("CUDA", "Tensorrt", "CPU"), True, ComponentState.OK, "CUDA, Tensorrt"),
        (("CUDA", "CPU"), True, ComponentState.OK, "CUDA"),
        (("CUDA", "CPU"), False, ComponentState.NONE, "CUDA, of no use without a GPU"),
        (("Azure", "CPU"), True, ComponentState.MISSING, "not in this build"),
        (("CPU",), False, ComponentState.NONE, "of no use without a GPU"),
    ],
)
def test_what_onnxruntime_computes_on(
    monkeypatch: pytest.MonkeyPatch, providers: tuple[str, ...], gpu: bool, state: ComponentState, detail: str
) -> None:
    ort_with(monkeypatch, *providers)

    whole, on_gpu = packages.onnxruntime(PC, gpu=gpu)

    assert whole.detail == f"1.23.0 (onnxruntime): {', '.join(providers)}"
    assert (on_gpu.state, on_gpu.detail) == (state, detail)
    assert ("edgeseg[cuda]" in (on_gpu.mend or "")) == (state is ComponentState.MISSING)


def test_a_jetson_is_not_sent_for_a_wheel_that_does_not_exist(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ort_with(monkeypatch, "CPU")

    _, on_gpu = packages.onnxruntime(MadeUpHost(root=write(tmp_path, ORIN)), gpu=True)

    assert (on_gpu.state, on_gpu.mend) == (ComponentState.NONE, None)


@pytest.mark.parametrize(("there", "words"), [(True, "BF16 in"), (False, "no BF16 in")])
def test_openvino_and_bfloat16(monkeypatch: pytest.MonkeyPatch, there: bool, words: str) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "AMD64")
    pretend(monkeypatch, "openvino", __version__="2026.4.1-22982-e213a147257-releases/2026/4")
    monkeypatch.setattr(packages, "has_bfloat16", lambda: there)

    found = packages.openvino()

    assert (found.state, found.detail) == (ComponentState.OK, f"2026.4.1, {words} this processor")


def test_openvino_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setitem(sys.modules, "openvino", None)

    found = packages.openvino()

    assert (found.state, found.mend) == (ComponentState.MISSING, "pip install 'edgeseg[openvino]'")


@pytest.mark.parametrize("machine", ["aarch64", "arm64"])
def test_openvino_is_not_used_on_arm(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setitem(sys.modules, "openvino", None)

    found = packages.openvino()

    assert (found.state, found.detail, found.mend) == (ComponentState.NONE, "used on x86 only", None)


@pytest.mark.parametrize("there", [(), ("torch", "torchvision")])
def test_export_packages_are_absent(monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...]) -> None:
    installed(monkeypatch, *there)

    found = packages.export_packages(Host())

    assert found.state is ComponentState.MISSING
    assert "onnxscript" in found.detail
    assert found.mend == "pip install 'edgeseg[export]'"


@pytest.mark.parametrize(
    ("printed", "state", "words"),
    [
        ("ok", ComponentState.OK, "torchvision 1.0"),
        ("a warning\nok", ComponentState.OK, "torchvision 1.0"),
        ("operator torchvision::nms does not exist", ComponentState.LIMITED, "nms does not exist"),
        (None, ComponentState.LIMITED, "crashes"),
    ],
)
def test_torch_and_torchvision_must_fit(
    monkeypatch: pytest.MonkeyPatch, printed: str | None, state: ComponentState, words: str
) -> None:
    installed(monkeypatch, *packages.EXPORT_PACKAGES)
    host = MadeUpHost(printed={} if printed is None else {sys.executable: printed})

    found = packages.export_packages(host)

    assert found.state is state
    assert words in found.detail


def reach(monkeypatch: pytest.MonkeyPatch, *modules: str, error: Exception | None = None) -> None:
    """Let only these packages reach CUDA."""

    def open_cuda() -> SimpleNamespace:
        if error:
            raise error
        title = "cuda-python 13.5.0" if BINDINGS in modules else "pycuda 2026.1"
        return SimpleNamespace(title=title, device=ORIN_GPU)

    monkeypatch.setattr(packages, "_is_importable", lambda name: name in modules)
    monkeypatch.setattr(packages, "open_cuda", open_cuda)


def test_cuda_python_reaches_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    reach(monkeypatch, BINDINGS)

    found = packages.cuda(PC, gpu=True)

    assert (found.state, found.detail) == (ComponentState.OK, "cuda-python 13.5.0, driver of CUDA 12.6")


def test_pycuda_has_no_cuda_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    reach(monkeypatch, PYCUDA)

    found = packages.cuda(PC, gpu=True)

    assert found.state is ComponentState.LIMITED
    assert found.detail == "pycuda 2026.1, driver of CUDA 12.6, no CUDA graphs"
    assert found.mend == "pip install cuda-bindings"


def test_nothing_reaches_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    reach(monkeypatch)

    found = packages.cuda(PC, gpu=True)

    assert (found.state, found.mend) == (ComponentState.MISSING, "pip install cuda-bindings")


NO_DEVICE = DependencyError("no NVIDIA GPU can be used here (CUDA cannot start: no device); and so on")


@pytest.mark.parametrize(
    ("error", "files", "mend"),
    [
        (NO_DEVICE, {}, "sudo ubuntu-drivers install && sudo reboot"),
        (NO_DEVICE, ORIN, "sudo usermod -aG video,render"),
        (ArtifactError("CUDA cannot tell its memory: broken"), {}, "sudo ubuntu-drivers install"),
        (DependencyError("x is installed but does not import (y)"), {}, "--force-reinstall cuda-bindings"),
    ],
    ids=[
        "no device",
        "no device on a Jetson",
        "memory is not told",
        "bindings do not import",
    ],
)
def test_cuda_that_does_not_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, files: dict[str, str], mend: str
) -> None:
    reach(monkeypatch, BINDINGS, error=error)

    found = packages.cuda(MadeUpHost(root=write(tmp_path, files)), gpu=True)

    assert found.state is ComponentState.LIMITED
    assert found.detail == str(error).partition(";")[0]
    assert mend in (found.mend or "")


@pytest.mark.parametrize(
    ("wheels", "detail"), [(("cuda-bindings",), "cuda-bindings 1.0"), ((), "not installed")]
)
def test_cuda_without_a_gpu(monkeypatch: pytest.MonkeyPatch, wheels: tuple[str, ...], detail: str) -> None:
    reach(monkeypatch, BINDINGS, error=NO_DEVICE)
    installed(monkeypatch, *wheels)

    found = packages.cuda(PC, gpu=False)

    assert (found.state, found.mend) == (ComponentState.NONE, None)
    assert found.detail == f"{detail}, of no use without a GPU"


@pytest.fixture
def tensorrt_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Put a TensorRT of some version in the place of this machine's; None for none."""

    def put(version: str | None) -> None:
        monkeypatch.setattr(library, "_loaded", {})
        if version is None:
            monkeypatch.setitem(sys.modules, "tensorrt", None)
            return
        pretend(monkeypatch, "tensorrt", __version__=version, ILogger=type("ILogger", (), {}))

    return put


@pytest.mark.parametrize(
    ("version", "state"),
    [("10.3.0", ComponentState.OK), ("11.0.1", ComponentState.OK), ("8.6.2", ComponentState.LIMITED)],
)
def test_versions_of_tensorrt(
    tensorrt_of: Callable[[str | None], None], version: str, state: ComponentState
) -> None:
    tensorrt_of(version)

    found = packages.tensorrt(PC, gpu=True)

    assert found.state is state
    assert version in found.detail


def test_old_tensorrt_of_a_pc(tensorrt_of: Callable[[str | None], None]) -> None:
    tensorrt_of("10.2.0.post1")

    assert packages.tensorrt(PC, gpu=True).mend == "pip install --force-reinstall 'tensorrt>=10.3'"


def test_old_tensorrt_of_a_jetson_comes_with_jetpack(
    tensorrt_of: Callable[[str | None], None], tmp_path: Path
) -> None:
    tensorrt_of("8.6.2.3")

    found = packages.tensorrt(MadeUpHost(root=write(tmp_path, ORIN)), gpu=True)

    assert found.mend == "install JetPack 6.1 or later"


def test_stubs_are_no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "tensorrt", __version__="10.13.0")
    spec = sys.modules["tensorrt"].__spec__
    assert spec is not None
    spec.origin = None

    found = packages.tensorrt(PC, gpu=True)

    assert (found.state, found.mend) == (ComponentState.MISSING, "pip install 'edgeseg[tensorrt]'")


@pytest.mark.parametrize(
    ("sees", "mend"),
    [
        (False, "python3 -m venv --system-site-packages .venv"),
        (True, "sudo apt update && sudo apt install nvidia-jetpack"),
    ],
)
def test_tensorrt_on_a_jetson_lies_in_the_system(
    monkeypatch: pytest.MonkeyPatch,
    tensorrt_of: Callable[[str | None], None],
    tmp_path: Path,
    sees: bool,
    mend: str,
) -> None:
    tensorrt_of(None)
    monkeypatch.setattr(packages, "sees_system_packages", lambda: sees)

    found = packages.tensorrt(MadeUpHost(root=write(tmp_path, ORIN)), gpu=True)

    assert (found.state, found.mend) == (ComponentState.MISSING, mend)


@pytest.mark.parametrize(("version", "words"), [(None, "not installed"), ("10.3.0", "10.3.0")])
def test_tensorrt_is_of_no_use_without_a_gpu(
    tensorrt_of: Callable[[str | None], None], version: str | None, words: str
) -> None:
    tensorrt_of(version)

    found = packages.tensorrt(PC, gpu=False)

    assert (found.state, found.mend) == (ComponentState.NONE, None)
    assert found.detail == f"{words}, of no use without a GPU"


@pytest.fixture
def linux_on_x86(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(library, "_loaded", {})


@pytest.mark.parametrize("absent", [library.RTX_PACKAGE, library.RTX_BINDINGS])
def test_rtx_without_one_of_its_wheels(
    monkeypatch: pytest.MonkeyPatch, linux_on_x86: None, absent: str
) -> None:
    find_spec = importlib.util.find_spec
    there = SimpleNamespace(submodule_search_locations=["/"])
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, package=None: (
            None if name == absent else there if "rtx" in name else find_spec(name, package)
        ),
    )

    found = packages.tensorrt_rtx()

    assert (found.state, found.mend) == (ComponentState.MISSING, "pip install 'edgeseg[rtx]'")


def test_rtx_whose_library_does_not_load(
    monkeypatch: pytest.MonkeyPatch, linux_on_x86: None, tmp_path: Path
) -> None:
    (tmp_path / "libtensorrt_rtx.so.1.7.1").write_bytes(b"not a library")
    monkeypatch.setattr(packages, "is_installed", lambda tensorrt_kind: True)
    monkeypatch.setattr(library, "rtx_folder", lambda: tmp_path)

    found = packages.tensorrt_rtx()

    assert found.state is ComponentState.LIMITED
    assert "libtensorrt_rtx.so.1.7.1 does not load" in found.detail
    assert found.mend == "pip install --force-reinstall 'edgeseg[rtx]'"


def test_rtx_has_no_wheels_for_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")

    assert packages.tensorrt_rtx().state is ComponentState.NONE


@pytest.mark.skipif(not is_installed(TensorRTKind.RTX), reason="needs TensorRT for RTX (extra rtx)")
def test_rtx_is_loaded_for_its_version() -> None:
    assert packages.tensorrt_rtx().detail.startswith("1.")


@pytest.mark.parametrize(
    ("module", "component"),
    [
        ("cv2", "OpenCV"),
        ("onnxruntime", "ONNX Runtime"),
        ("openvino", "OpenVINO"),
        ("tensorrt", "TensorRT"),
        ("tensorrt_rtx_bindings", "TensorRT for RTX"),
    ],
)
def test_a_package_that_breaks_in_its_own_way(
    monkeypatch: pytest.MonkeyPatch, linux_on_x86: None, tmp_path: Path, module: str, component: str
) -> None:
    installed(monkeypatch)
    monkeypatch.setattr(library, "rtx_folder", lambda: tmp_path)
    monkeypatch.setattr(library, "_load_shared", lambda folder, pattern: None)
    broken(monkeypatch, tmp_path, module, "raise RuntimeError('libsomething.so.10: file too short')")

    found = {item.name: item for item in packages.package_components(PC, gpu=True)}

    assert len(found) >= 7
    assert found[component].state is ComponentState.LIMITED
    assert "does not import (libsomething.so.10: file too short)" in found[component].detail
    # Without it pip would say that all is there.
    assert (found[component].mend or "").startswith("pip install --force-reinstall ")


def test_everything_on_this_machine_says_how_to_mend_it() -> None:
    found = packages.inspect_machine()

    assert len({component.name for component in found}) == len(found)
    for component in found:
        assert isinstance(component, Component)
        wrong = component.state in (ComponentState.LIMITED, ComponentState.MISSING)
        assert wrong == bool(component.mend) == bool(component.needed_to)


def test_packages_that_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ("trackers", "supervision", "scipy")
    installed(monkeypatch, *needed)
    assert (
        packages.package_group("Tracking", "track", needed).detail
        == "trackers 1.0, supervision 1.0, scipy 1.0"
    )

    installed(monkeypatch, "supervision", "scipy")
    lacking = packages.package_group("Tracking", "track", needed)
    assert (lacking.state, lacking.detail) == (ComponentState.MISSING, "no trackers")
    assert lacking.mend == "pip install 'edgeseg[track]' && pip install --no-deps 'trackers>=2.6,<3'"
