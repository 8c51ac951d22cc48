"""What this machine has for engines."""

from __future__ import annotations

import platform
from types import SimpleNamespace

import pytest

from edgeseg.bundle.compatibility import DeviceInfo
from edgeseg.bundle.engines import Gpu, Target
from edgeseg.errors import DependencyError
from edgeseg.runtime import device as module
from edgeseg.runtime.backends.tensorrt.library import TensorRTKind
from edgeseg.runtime.cuda.driver import CudaDevice
from edgeseg.runtime.device import find_gpu, read_device_info

DEVICE = CudaDevice(name="Orin", compute_capability="8.7", driver="12.6", total_mib=7619, free_mib=5012)
ORIN = Gpu(name="Orin", compute_capability="8.7", driver="12.6")
GPU_TARGETS = [Target.TENSORRT, Target.TENSORRT_RTX]


def absent(*args: object, **options: object) -> None:
    msg = "it is not here"
    raise DependencyError(msg)


@pytest.fixture(autouse=True)
def arm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "open_cuda", lambda: SimpleNamespace(device=DEVICE))


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {TensorRTKind.TENSORRT: "10.3.0", TensorRTKind.RTX: "1.7.1.116"}
    monkeypatch.setattr(
        module, "load_library", lambda tensorrt_kind, purpose: SimpleNamespace(version=numbers[tensorrt_kind])
    )


def test_the_gpu_that_cuda_would_use(gpu: None) -> None:
    assert find_gpu() == ORIN


def test_no_gpu_is_told_as_cuda_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "open_cuda", absent)

    with pytest.raises(DependencyError, match="it is not here"):
        find_gpu()


@pytest.mark.parametrize(
    ("target", "number"), [(Target.TENSORRT, "10.3.0"), (Target.TENSORRT_RTX, "1.7.1.116")]
)
def test_an_engine_for_a_gpu_has_to_fit_it_and_its_library(
    gpu: None, libraries: None, target: Target, number: str
) -> None:
    assert read_device_info(target) == DeviceInfo(machine="aarch64", backend_version=number, gpu=ORIN)


@pytest.mark.parametrize("target", [Target.OPENVINO, Target.ONNXRUNTIME])
def test_a_graph_has_to_fit_the_processor_alone(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    # Neither is asked: on a GPU that costs its memory, and nothing needs to be installed.
    monkeypatch.setattr(module, "open_cuda", lambda: pytest.fail("CUDA was started"))
    monkeypatch.setattr(module, "load_library", lambda *args, **rest: pytest.fail("TensorRT was loaded"))

    assert read_device_info(target) == DeviceInfo(machine="aarch64")


@pytest.mark.parametrize("target", [Target.OPENVINO, Target.ONNXRUNTIME])
@pytest.mark.parametrize(("instructions", "bits"), [("vnni", 8), ("without_vnni", 7)])
def test_a_graph_has_to_fit_what_an_x86_processor_has_for_int8(
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    target: Target,
    instructions: str,
    bits: int,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "AMD64")
    request.getfixturevalue(instructions)

    assert read_device_info(target) == DeviceInfo(machine="x86_64", weight_bits=bits)


@pytest.mark.parametrize("target", GPU_TARGETS)
def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch, libraries: None, target: Target) -> None:
    monkeypatch.setattr(module, "open_cuda", absent)

    found = read_device_info(target)

    assert found.gpu is None
    assert found.backend_version


@pytest.mark.parametrize("target", GPU_TARGETS)
def test_without_the_library(monkeypatch: pytest.MonkeyPatch, gpu: None, target: Target) -> None:
    monkeypatch.setattr(module, "load_library", absent)

    assert read_device_info(target) == DeviceInfo(machine="aarch64", backend_version=None, gpu=ORIN)


def test_every_target_for_gpus_has_its_library() -> None:
    assert {target for target in Target if target.needs_gpu} == set(module.TENSORRT_KINDS)
