"""The packages that reach CUDA, in front of a simulated driver and, with `-m gpu`, of a real one."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeseg.errors import ArtifactError, DependencyError
from edgeseg.runtime.cuda.driver import BINDINGS, PYCUDA
from edgeseg.runtime.cuda.opening import open_cuda

DRIVER = Path(__file__).with_name("simulated_driver.c")
HAS_GPU = shutil.which("nvidia-smi") is not None
PACKAGES = {"cuda-python": BINDINGS, "pycuda": PYCUDA}

# Prints one JSON object. The other package is made absent, so that each is tested where both are.
SESSION = """
import ctypes, json, os, sys
import numpy as np
from edgeseg.errors import EdgeSegError
from edgeseg.runtime.cuda.opening import open_cuda

sys.modules[{absent!r}] = None
# pycuda names functions that the simulated driver lacks; they matter only when they are called.
sys.setdlopenflags(os.RTLD_LAZY)
told = {{}}

def tell(name, action):
    try:
        told[name] = action()
    except (EdgeSegError, ZeroDivisionError) as exc:
        told[name] = f"{{type(exc).__name__}}: {{exc}}"

tell("open", lambda: open_cuda().title)
if ":" not in told["open"]:
    cuda = open_cuda()
    device = cuda.device
    told["device"] = [getattr(device, name) for name in device.__slots__]
    with cuda.active():
        memory, stream, event = cuda.allocate(1000), cuda.create_stream(), cuda.create_event()
        first, second = cuda.allocate_pinned(1000), cuda.allocate_pinned(1000)
        first[:], second[:] = np.arange(1000) % 251, 0
        cuda.upload(first[:500], memory + 256, stream)
        cuda.download(memory + 256, second[100:600], stream)
        cuda.record(event, stream)
        cuda.wait(event)
        told["copied"] = bool((second[100:600] == first[:500]).all() and not second[600:].any())
        told["aligned"] = memory % 256
        told["shapes"] = [first.shape, str(first.dtype)]

        def graph():
            launchable = cuda.capture(stream, lambda: cuda.upload(first[:500], memory, stream))
            first[:] = 7
            cuda.launch(launchable, stream)
            cuda.download(memory, second[:500], stream)
            cuda.record(event, stream)
            cuda.wait(event)
            cuda.destroy_graph(launchable)
            return bool((second[:500] == 7).all())

        tell("graph", graph)
        tell("broken capture", lambda: cuda.capture(stream, lambda: 1 / 0))
        tell("graph again", graph)
        tell("too much", lambda: cuda.allocate(1 << 30))
        tell("too much pinned", lambda: cuda.allocate_pinned(1 << 30))
        cuda.destroy_event(event)
        cuda.destroy_stream(stream)
        cuda.free_pinned(first)
        cuda.free_pinned(second)
        cuda.free(memory)
    told["left"] = ctypes.CDLL("libcuda.so.1").simulated_left()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the simulated driver."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("a C compiler for Linux makes the simulated driver")
    library = tmp_path_factory.mktemp("driver") / "libcuda.so.1"
    options = ["-shared", "-fPIC", f"-Wl,-soname,{library.name}"]
    subprocess.run([compiler, *options, "-o", library, DRIVER, "-ldl"], check=True)
    return library.parent


def session(driver: Path, package: str, **settings: str) -> dict[str, object]:
    """Use a package in a process of its own, which finds the simulated driver."""
    if importlib.util.find_spec(PACKAGES[package].partition(".")[0]) is None:
        pytest.skip(f"{package} is not installed")
    absent = next(module for name, module in PACKAGES.items() if name != package)
    path = f"{driver}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    done = subprocess.run(
        [sys.executable, "-c", SESSION.format(absent=absent)],
        env={**os.environ, "LD_LIBRARY_PATH": path, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("package", PACKAGES)
def test_every_call_is_one_that_the_package_takes(driver: Path, package: str) -> None:
    told = session(driver, package)
    assert str(told["open"]).startswith(f"{package} ")
    assert told["device"] == ["Simulated 0", "8.7", "12.6", 64, 64]
    assert told["copied"] is True
    assert told["aligned"] == 0
    assert told["shapes"] == [[1000], "uint8"]
    assert told["left"] == 0
    for name in ("too much", "too much pinned"):
        assert "ArtifactError: CUDA cannot take 1024.0 MiB" in str(told[name])
        assert "out of memory" in str(told[name])


def test_cuda_python_has_graphs(driver: Path) -> None:
    told = session(driver, "cuda-python")
    assert told["graph"] is True
    assert told["broken capture"] == "ZeroDivisionError: division by zero"
    assert told["graph again"] is True


def test_a_capture_that_the_driver_ends(driver: Path) -> None:
    told = session(driver, "cuda-python", SIMULATED_CAPTURE="901")
    assert "ArtifactError: CUDA cannot capture: " in str(told["graph"])
    assert "CAPTURE_INVALIDATED" in str(told["graph"])
    assert told["left"] == 0


def test_pycuda_has_no_graphs(driver: Path) -> None:
    told = session(driver, "pycuda")
    assert "has no CUDA graphs; cuda-python has: pip install cuda-bindings" in str(told["graph"])


@pytest.mark.parametrize("package", PACKAGES)
def test_a_machine_without_a_gpu_but_with_a_driver(driver: Path, package: str) -> None:
    told = session(driver, package, SIMULATED_GPUS="0")
    assert str(told["open"]).startswith("DependencyError: no NVIDIA GPU can be used here (")
    assert "no CUDA-capable device" in str(told["open"])


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
def test_a_machine_without_a_driver() -> None:
    pytest.importorskip(BINDINGS)
    with pytest.raises(DependencyError, match=r"no NVIDIA GPU can be used here \(.*driver.*edgeseg doctor"):
        open_cuda()


def test_neither_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in PACKAGES.values():
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DependencyError, match=r"needed to use the GPU .*: pip install cuda-bindings"):
        open_cuda()


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    cuda = open_cuda()
    device = cuda.device
    assert device.name
    assert float(device.compute_capability) >= 5
    assert 0 < device.free_mib <= device.total_mib
    with cuda.active():
        memory, stream, event = cuda.allocate(1000), cuda.create_stream(), cuda.create_event()
        first, second = cuda.allocate_pinned(1000), cuda.allocate_pinned(1000)
        first[:], second[:] = np.arange(1000) % 251, 0
        cuda.upload(first, memory, stream)
        cuda.download(memory, second, stream)
        cuda.record(event, stream)
        cuda.wait(event)
        assert (first == second).all()
        graph = cuda.capture(stream, lambda: cuda.upload(first, memory, stream))
        first[:] = 7
        cuda.launch(graph, stream)
        cuda.download(memory, second, stream)
        cuda.record(event, stream)
        cuda.wait(event)
        assert (second == 7).all()
        with pytest.raises(ArtifactError, match=r"CUDA cannot take .* out of memory"):
            cuda.allocate(1 << 50)
        cuda.destroy_graph(graph)
        cuda.destroy_event(event)
        cuda.destroy_stream(stream)
        cuda.free_pinned(first)
        cuda.free_pinned(second)
        cuda.free(memory)
