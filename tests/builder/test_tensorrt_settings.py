"""What the builder of TensorRT is told, and its timing cache; by a module that only takes notes.

TensorRT cannot be had without a GPU. That its real API has every name used here, tests/tensorrt_api checks.
"""

from __future__ import annotations

import json
import os
import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from edgeseg.builder.tensorrt import build_tensorrt_plan
from edgeseg.bundle.engines import EngineOptions
from edgeseg.errors import BuildError, ConfigError
from edgeseg.runtime.backends.tensorrt.library import Library, TensorRTKind

if TYPE_CHECKING:
    from pathlib import Path

LAYERS = ("conv1", "nms", "fc7")
KERNEL = {
    "Name": "conv1 + relu",
    "LayerType": "CaskConvolution",
    "Inputs": [{"Format/Datatype": "Channel major INT8 format where channel % 32 == 0"}],
    "Outputs": [{"Format/Datatype": "Row major linear FP16 format"}],
    "Weights": {"Type": "Int8", "Count": 9408},
    "Metadata": "[ONNX Layer: node_conv1]",
}


class Names:
    """An enumeration whose members are their own names."""

    def __getattr__(self, name: str) -> str:
        return name


class Config:
    def __init__(self, trt: NotingTensorRT) -> None:
        self._trt = trt
        self.flags: list[str] = []
        self.limits: dict[str, int] = {}
        self.caches: list[bytes] = []

    if TYPE_CHECKING:
        # What a builder sets: members of the enumerations, which are their own names here.
        progress_monitor: Any
        hardware_compatibility_level: str
        profiling_verbosity: str
        default_device_type: str
        DLA_core: int

    def set_flag(self, flag: str) -> None:
        self.flags.append(flag)

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.limits[pool] = size

    def can_run_on_DLA(self, layer: Any) -> bool:
        return bool(layer.name != "nms")

    def create_timing_cache(self, stored: bytes) -> Any:
        return SimpleNamespace(stored=stored, serialize=lambda: stored + b"+timed")

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False
        self.caches.append(cache.stored)
        return bool(cache.stored != b"of another GPU")


class NotingTensorRT:
    """Builds nothing, and keeps what it was told."""

    __version__ = "10.3.0"
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    ProfilingVerbosity = MemoryPoolType = BuilderFlag = HardwareCompatibilityLevel = Names()
    DeviceType = LayerInformationFormat = Names()
    IProgressMonitor = type("IProgressMonitor", (), {})

    def __init__(self, *, dla_cores: int = 0, built: bytes | None = b"an engine", stop: int = 0) -> None:
        self.dla_cores, self.built, self.stop = dla_cores, built, stop
        self.config = Config(self)
        self.host_code = False

    def Builder(self, log: Any) -> Any:
        return SimpleNamespace(
            num_DLA_cores=self.dla_cores,
            create_network=lambda flags: SimpleNamespace(
                num_layers=len(LAYERS), get_layer=lambda index: SimpleNamespace(name=LAYERS[index])
            ),
            create_builder_config=lambda: self.config,
            build_serialized_network=self.build,
        )

    def build(self, network: Any, config: Config) -> bytes | None:
        monitor = config.progress_monitor
        monitor.phase_start("timing", None, 10)
        for step in range(10):
            if self.stop == step + 1:
                os.kill(os.getpid(), signal.SIGINT)
            if not monitor.step_complete("timing", step):
                return None
        return self.built

    def OnnxParser(self, network: Any, log: Any) -> Any:
        return SimpleNamespace(parse_from_file=lambda path: True, num_errors=0)

    def Runtime(self, log: Any) -> Any:
        information = json.dumps({"Layers": [KERNEL, "an engine without detail"], "Bindings": []})
        inspector = SimpleNamespace(get_engine_information=lambda form: information)
        engine = SimpleNamespace(create_engine_inspector=lambda: inspector)
        return SimpleNamespace(deserialize_cuda_engine=lambda data: engine)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "tensorrt-fp16.onnx"
    path.write_bytes(b"a graph")
    return path


def library(trt: NotingTensorRT) -> Library:
    return Library(tensorrt_kind=TensorRTKind.TENSORRT, module=trt, log=SimpleNamespace(captures=[]))


def test_the_builder_is_told_the_options(graph: Path) -> None:
    trt = NotingTensorRT()
    options = EngineOptions(workspace_mib=512, version_compatible=True, hardware_compatible=True)

    build_tensorrt_plan(library(trt), graph, options)

    assert trt.config.limits == {"WORKSPACE": 512 * 2**20}
    assert trt.config.flags == ["VERSION_COMPATIBLE"]
    assert trt.config.hardware_compatibility_level == "AMPERE_PLUS"
    assert trt.config.profiling_verbosity == "DETAILED"


def test_without_options_nothing_is_set_that_tensorrt_11_lacks(graph: Path) -> None:
    trt = NotingTensorRT()

    build_tensorrt_plan(library(trt), graph, EngineOptions())

    assert (trt.config.flags, trt.config.limits, trt.config.caches) == ([], {}, [])


def test_dla_takes_what_it_can_and_the_rest_is_listed(graph: Path) -> None:
    trt = NotingTensorRT(dla_cores=2)

    plan = build_tensorrt_plan(library(trt), graph, EngineOptions(dla=1))

    assert plan.not_on_dla == ("nms",)
    assert (trt.config.default_device_type, trt.config.DLA_core) == ("DLA", 1)
    assert trt.config.flags == ["GPU_FALLBACK"]


@pytest.mark.parametrize(("cores", "words"), [(0, "no DLA"), (1, "1 DLA cores")])
def test_a_dla_core_that_is_not_there(graph: Path, cores: int, words: str) -> None:
    with pytest.raises(ConfigError, match=f"--dla 1 needs a DLA core .* finds {words}"):
        build_tensorrt_plan(library(NotingTensorRT(dla_cores=cores)), graph, EngineOptions(dla=1))


def test_kernels_come_from_the_inspector(graph: Path) -> None:
    (kernel,) = build_tensorrt_plan(library(NotingTensorRT()), graph, EngineOptions()).kernels

    assert (kernel.name, kernel.kind, kernel.nodes) == ("conv1 + relu", "CaskConvolution", ("node_conv1",))
    assert (kernel.inputs, kernel.constants, kernel.outputs) == (("int8",), ("int8",), ("float16",))


def test_the_timing_cache_is_made_and_added_to(graph: Path, tmp_path: Path) -> None:
    cache = tmp_path / "tensorrt.timing-cache"
    trt = NotingTensorRT()

    for _ in range(2):
        build_tensorrt_plan(library(trt), graph, EngineOptions(), timing_cache=cache)

    assert cache.read_bytes() == b"+timed+timed"
    assert trt.config.caches == [b"", b"+timed"]


def test_a_timing_cache_of_another_gpu_is_replaced(graph: Path, tmp_path: Path) -> None:
    cache = tmp_path / "tensorrt.timing-cache"
    cache.write_bytes(b"of another GPU")
    trt = NotingTensorRT()

    build_tensorrt_plan(library(trt), graph, EngineOptions(), timing_cache=cache)

    assert trt.config.caches == [b"of another GPU", b""]
    assert cache.read_bytes() == b"+timed"


def test_the_timing_cache_survives_an_interruption(graph: Path, tmp_path: Path) -> None:
    cache = tmp_path / "tensorrt.timing-cache"
    lines: list[str] = []

    with pytest.raises(KeyboardInterrupt):
        build_tensorrt_plan(
            library(NotingTensorRT(stop=4)),
            graph,
            EngineOptions(),
            timing_cache=cache,
            progress=lines.append,
        )

    assert lines[-1] == "timing: 4 of 10"
    assert cache.read_bytes() == b"+timed"


def test_the_timing_cache_survives_a_refusal(graph: Path, tmp_path: Path) -> None:
    cache = tmp_path / "tensorrt.timing-cache"

    with pytest.raises(BuildError, match=r"TensorRT 10\.3\.0 cannot build .*it gives no reason"):
        build_tensorrt_plan(library(NotingTensorRT(built=None)), graph, EngineOptions(), timing_cache=cache)

    assert cache.read_bytes() == b"+timed"
