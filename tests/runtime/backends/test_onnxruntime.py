from __future__ import annotations

import re
import shutil
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgeseg.bundle.manifest import open_bundle
from edgeseg.errors import ArtifactError, DependencyError
from edgeseg.runtime.backends.onnxruntime import CPU, CUDA, TENSORRT, OnnxRuntimeBackend
from edgeseg.runtime.choice import Provider
from edgeseg.runtime.host import processors
from edgeseg.runtime.host.processors import Cpus
from edgeseg.spec import Lowering
from tests.runtime.backend_contract import BackendContract, plain, same
from tests.runtime.fake_bundle import make_bundle, make_spec, write_graph, write_tensorrt_graph

onnxruntime = pytest.importorskip("onnxruntime")

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle


class TestOnnxRuntime(BackendContract):
    def open(self, bundle: Bundle) -> OnnxRuntimeBackend:
        return OnnxRuntimeBackend(bundle.graph_path(Lowering.PORTABLE), bundle.spec, threads=1)


def test_description_has_version_and_place(tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle(tmp_path / "bundle"))
    backend = TestOnnxRuntime().open(bundle)
    assert re.fullmatch(r"ONNX Runtime \d+\.\d+\S* on (CPU|CUDA)", backend.description)
    assert onnxruntime.__version__ in backend.description
    backend.close()
    with pytest.raises(ArtifactError, match="closed"):
        _ = backend.description


@pytest.mark.parametrize("content", [b"", b"not a graph at all", pytest.param(b"\x00" * 4096, id="zeros")])
def test_a_graph_that_is_not_onnx(tmp_path: Path, content: bytes) -> None:
    graph = tmp_path / "broken graph.onnx"
    graph.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"cannot load .*broken graph\.onnx; ONNX Runtime \d"):
        OnnxRuntimeBackend(graph, make_spec())


def test_a_graph_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"cannot load .*nowhere\.onnx"):
        OnnxRuntimeBackend(tmp_path / "nowhere.onnx", make_spec())


def test_a_truncated_graph(tmp_path: Path) -> None:
    graph = write_graph(tmp_path / "portable.onnx", make_spec())
    graph.write_bytes(graph.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match=r"portable\.onnx"):
        OnnxRuntimeBackend(graph, make_spec())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"batch": 2}, r"images is .*\[1, 64, 96, 3\], not .*\[2, 64, 96, 3\]"),
        ({"input_size_hw": (96, 64)}, r"images is .*\[1, 64, 96, 3\], not .*\[1, 96, 64, 3\]"),
        ({"max_detections": 7}, r"boxes is .*\[1, 5, 4\], not .*\[1, 7, 4\]"),
        ({"mask_size": 14}, r"masks is .*\[1, 5, 28, 28\], not .*\[1, 5, 14, 14\]"),
    ],
)
def test_a_graph_that_disagrees_with_its_spec(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    graph = write_graph(tmp_path / "portable.onnx", make_spec())
    with pytest.raises(ArtifactError, match=named):
        OnnxRuntimeBackend(graph, make_spec(**changes))


def test_a_graph_whose_labels_are_of_another_type(tmp_path: Path) -> None:
    graph = write_graph(tmp_path / "portable.onnx", make_spec(), label_type=np.int64)
    with pytest.raises(
        ArtifactError, match=r"labels is tensor\(int64\)\[1, 5\], not tensor\(int32\)\[1, 5\]"
    ):
        OnnxRuntimeBackend(graph, make_spec())


@pytest.mark.parametrize("name", ["score_threshold", "labels", "masks"])
def test_a_graph_that_lacks_a_name(tmp_path: Path, name: str) -> None:
    onnx = pytest.importorskip("onnx")
    graph = write_graph(tmp_path / "portable.onnx", make_spec())
    model = onnx.load(graph)
    for node in model.graph.node:
        node.input[:] = [f"other_{name}" if port == name else port for port in node.input]
        node.output[:] = [f"other_{name}" if port == name else port for port in node.output]
    for port in [*model.graph.input, *model.graph.output]:
        port.name = f"other_{name}" if port.name == name else port.name
    onnx.save(model, graph)
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        OnnxRuntimeBackend(graph, make_spec())


def test_a_graph_with_one_output_more(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    graph = write_graph(tmp_path / "portable.onnx", make_spec())
    model = onnx.load(graph)
    model.graph.output.append(onnx.helper.make_tensor_value_info("mean", onnx.TensorProto.FLOAT, [1]))
    onnx.save(model, graph)
    with pytest.raises(ArtifactError, match=r"mean is tensor\(float\)\[1\], not missing"):
        OnnxRuntimeBackend(graph, make_spec())


def test_a_graph_that_fails_to_compute(tmp_path: Path) -> None:
    spec = make_spec()
    backend = OnnxRuntimeBackend(write_graph(tmp_path / "portable.onnx", spec, fails_above=0.8), spec)
    images = np.zeros((1, 64, 96, 3), np.uint8)
    assert backend(images, 0.5).counts.tolist() == [3]
    with pytest.raises(ArtifactError, match=r"failed to compute; ONNX Runtime .*Gather"):
        backend(images, 0.9)
    assert backend(images, 0.5).counts.tolist() == [3]


def test_without_onnx_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = write_graph(tmp_path / "portable.onnx", make_spec())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DependencyError, match=r"onnxruntime .*pip install 'edgeseg\[cpu\]'"):
        OnnxRuntimeBackend(graph, make_spec())


class TestGraphForTensorRT(BackendContract):
    """The form whose threshold is built in, which TensorRT's provider takes whole; here on the CPU."""

    def open(self, bundle: Bundle) -> OnnxRuntimeBackend:
        graph = write_tensorrt_graph(bundle.path / "tensorrt.onnx", bundle.spec)
        return OnnxRuntimeBackend(graph, bundle.spec, threads=1, provider=Provider.CPU)


def test_a_provider_that_this_build_lacks_names_the_one_that_has_it(tmp_path: Path) -> None:
    if TENSORRT in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has TensorRT")
    graph = write_graph(tmp_path / "portable.onnx", make_spec())
    with pytest.raises(DependencyError, match=r"no TensorrtExecutionProvider; .*edgeseg\[cuda\]"):
        OnnxRuntimeBackend(graph, make_spec(), provider=Provider.TENSORRT)


def test_a_provider_that_does_not_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("there is a GPU")
    graph = write_graph(tmp_path / "portable.onnx", make_spec())
    # As onnxruntime-gpu does without a driver: it lists the provider and leaves it out of the session.
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    with (
        pytest.warns(UserWarning, match=CUDA),
        pytest.raises(DependencyError, match=f"has {CUDA}, but it does"),
    ):
        OnnxRuntimeBackend(graph, make_spec(), provider=Provider.CUDA)


class OnGpu(BackendContract):
    provider: Provider
    wanted: str

    def open(self, bundle: Bundle) -> OnnxRuntimeBackend:
        if self.wanted not in onnxruntime.get_available_providers():
            pytest.skip(
                f"this onnxruntime has no {self.wanted}; pip install 'edgeseg[cuda]' brings one that has"
            )
        return OnnxRuntimeBackend(self.graph(bundle), bundle.spec, provider=self.provider)

    def graph(self, bundle: Bundle) -> Path:
        return bundle.graph_path(Lowering.PORTABLE)


@pytest.mark.gpu
class TestCuda(OnGpu):
    provider, wanted = Provider.CUDA, CUDA


@pytest.mark.gpu
class TestTensorRT(OnGpu):
    provider, wanted = Provider.TENSORRT, TENSORRT

    def graph(self, bundle: Bundle) -> Path:
        return write_tensorrt_graph(bundle.path / "tensorrt.onnx", bundle.spec)


@pytest.mark.gpu
def test_cuda_agrees_with_cpu(tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle(tmp_path / "bundle", batch=2))
    cuda = TestCuda().open(bundle)
    cpu = OnnxRuntimeBackend(bundle.graph_path(Lowering.PORTABLE), bundle.spec, provider=Provider.CPU)
    assert (cuda.description[-4:], cpu.description[-3:]) == ("CUDA", "CPU")
    images = plain(bundle, 51, 255)
    on_cuda, on_cpu = cuda(images, 0.5), cpu(images, 0.5)
    assert same(on_cuda, cuda(images, 0.5))
    np.testing.assert_array_equal(on_cuda.counts, on_cpu.counts)
    np.testing.assert_allclose(on_cuda.boxes_xyxy, on_cpu.boxes_xyxy, atol=1e-3)
    np.testing.assert_allclose(on_cuda.masks, on_cpu.masks, atol=1e-4)
    cuda.close()
    cpu.close()


@pytest.mark.parametrize(("quota", "asked", "threads"), [(1.0, None, 1), (0.5, None, 1), (1.0, 2, 2)])
def test_no_more_threads_than_the_quota_of_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: float, asked: int | None, threads: int
) -> None:
    limited = Cpus(present=2, allowed=(0, 1), quota=quota)
    monkeypatch.setattr(processors, "usable_cpus", lambda root: limited)
    bundle = open_bundle(make_bundle(tmp_path / "bundle"))
    graph = bundle.graph_path(Lowering.PORTABLE)

    backend = OnnxRuntimeBackend(graph, bundle.spec, threads=asked)

    assert backend._session.get_session_options().intra_op_num_threads == threads
    backend.close()
