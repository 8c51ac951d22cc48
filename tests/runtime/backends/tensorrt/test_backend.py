"""The backend on a simulated GPU, and with `-m gpu` on a real one."""

from __future__ import annotations

import gc
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from edgeseg.bundle.engines import EngineOptions
from edgeseg.bundle.manifest import open_bundle
from edgeseg.errors import ArtifactError, DependencyError
from edgeseg.runtime.backends.tensorrt import backend as tensorrt
from edgeseg.runtime.backends.tensorrt.backend import TensorRTBackend
from edgeseg.runtime.backends.tensorrt.execution import Execution
from edgeseg.runtime.backends.tensorrt.library import TensorRTKind, is_installed, load_library
from edgeseg.runtime.cuda.opening import open_cuda
from tests.runtime.backend_contract import FIELDS, BackendContract, expected_left, first_left, plain
from tests.runtime.fake_bundle import make_bundle, make_spec, write_tensorrt_graph
from tests.runtime.simulated_gpu import (
    SimulatedCache,
    SimulatedConfig,
    SimulatedContext,
    SimulatedCuda,
    SimulatedEngine,
    SimulatedRuntime,
    SimulatedTensorRT,
    simulated_library,
    write_simulated_engine,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle

pytest.importorskip("onnx")

HAS_GPU = shutil.which("nvidia-smi") is not None
# Counts and the flag of NMS take 256 bytes each, then come the scores.
HEAD_BYTES = 512 + 5 * 4
ROW_BYTES = (4 * 4, 4, 28 * 28 * 4)


class Simulated(NamedTuple):
    cuda: SimulatedCuda
    trt: SimulatedTensorRT


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulated]:
    """The backend's two doors lead to the simulation; what a test leaves behind fails it."""
    cuda = SimulatedCuda()
    trt = SimulatedTensorRT(cuda)
    monkeypatch.setattr(tensorrt, "open_cuda", lambda: cuda)
    monkeypatch.setattr(
        tensorrt, "load_library", lambda tensorrt_kind, purpose: simulated_library(trt, tensorrt_kind)
    )
    yield Simulated(cuda, trt)
    gc.collect()
    assert cuda.left() == []
    assert trt.contexts == 0
    assert trt.captures == []


def engine_of(bundle: Bundle, tensorrt_kind: TensorRTKind = TensorRTKind.TENSORRT, **options: Any) -> Path:
    return write_simulated_engine(
        bundle.path / "engines" / "fake.engine", bundle.spec, tensorrt_kind, **options
    )


def opened(
    bundle: Bundle, tensorrt_kind: TensorRTKind = TensorRTKind.TENSORRT, **options: Any
) -> TensorRTBackend:
    return TensorRTBackend(
        engine_of(bundle, tensorrt_kind), bundle.spec, tensorrt_kind=tensorrt_kind, **options
    )


@pytest.mark.usefixtures("simulated")
class TestSimulated(BackendContract):
    def open(self, bundle: Bundle) -> TensorRTBackend:
        return opened(bundle)


@pytest.mark.usefixtures("simulated")
class TestSimulatedRtx(BackendContract):
    def open(self, bundle: Bundle) -> TensorRTBackend:
        return opened(bundle, TensorRTKind.RTX)


class TestSimulatedWithoutGraph(BackendContract):
    @pytest.fixture(autouse=True)
    def _without_graph(self, simulated: Simulated) -> None:
        simulated.cuda.refuses["capture"] = "operation not permitted"

    def open(self, bundle: Bundle) -> TensorRTBackend:
        return opened(bundle)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return open_bundle(make_bundle(tmp_path / "one"))


@pytest.fixture
def bundle_of_3(tmp_path: Path) -> Bundle:
    return open_bundle(make_bundle(tmp_path / "three", batch=3))


def frame_calls(
    simulated: Simulated, backend: TensorRTBackend, images: np.ndarray, threshold: float
) -> list[tuple[Any, ...]]:
    simulated.cuda.log.clear()
    backend(images, threshold)
    return list(simulated.cuda.log)


def test_one_frame_in_order(simulated: Simulated, bundle: Bundle) -> None:
    backend = opened(bundle)
    calls = frame_calls(simulated, backend, plain(bundle, 9), 0.5)
    assert calls == [
        ("upload", 64 * 96 * 3),
        ("launch",),
        ("download", HEAD_BYTES),
        ("record",),
        ("wait",),
        *(("download", 3 * size) for size in ROW_BYTES),
        ("record",),
        ("wait",),
    ]
    backend.close()


def test_only_rows_above_the_threshold_are_copied(simulated: Simulated, bundle_of_3: Bundle) -> None:
    backend = opened(bundle_of_3)
    for threshold, rows in ((0.0, 5), (0.05, 5), (0.65, 2), (0.8, 1)):
        calls = frame_calls(simulated, backend, plain(bundle_of_3, 1, 2, 3), threshold)
        copied = [call[1] for call in calls if call[0] == "download"][1:]
        assert copied == [rows * size for size in ROW_BYTES for _ in range(3)], threshold
    backend.close()


def test_a_frame_without_detections_waits_once(simulated: Simulated, bundle: Bundle) -> None:
    backend = opened(bundle)
    calls = frame_calls(simulated, backend, plain(bundle, 9), 0.95)
    assert [call[0] for call in calls] == ["upload", "launch", "download", "record", "wait"]
    backend.close()


def test_the_engines_own_threshold_holds(simulated: Simulated, tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle(tmp_path / "strict", score_threshold=0.65))
    backend = opened(bundle)
    assert backend(plain(bundle, 0), 0.1).counts.tolist() == [2]
    backend.close()


def test_memory_is_taken_once(simulated: Simulated, bundle: Bundle) -> None:
    backend = opened(bundle)
    before = len(simulated.cuda.calls("allocate", "allocate_pinned", "create_stream", "create_event"))
    for value in range(5):
        backend(plain(bundle, value), 0.5)
    assert before == 4
    assert len(simulated.cuda.calls("allocate", "allocate_pinned", "create_stream", "create_event")) == 4
    backend.close()


def test_the_engine_is_captured_once_after_it_has_run(simulated: Simulated, bundle: Bundle) -> None:
    backend = opened(bundle)
    names = [call[0] for call in simulated.cuda.log]
    assert names == [
        *("allocate", "allocate_pinned", "create_stream", "create_event"),
        *("upload", "record", "wait"),
        *("capture", "launch", "record", "wait"),
    ]
    assert backend.description == "TensorRT 10.3.0 on Simulated GPU, CUDA graph"
    backend.close()


@pytest.mark.parametrize(
    ("where", "name", "reason"),
    [
        ("cuda", "capture", "operation not permitted"),
        ("cuda", "launch", "invalid argument"),
        ("trt", "capture", "stream capture was invalidated"),
        ("trt", "execute in capture", "a layer synchronises"),
    ],
)
def test_without_a_graph_it_says_why_and_computes(
    simulated: Simulated, bundle: Bundle, where: str, name: str, reason: str
) -> None:
    getattr(simulated, where).refuses[name] = reason
    backend = opened(bundle)
    assert ", no CUDA graph: " in backend.description
    assert backend.description.endswith(reason)
    calls = frame_calls(simulated, backend, plain(bundle, 9), 0.95)
    assert [call[0] for call in calls] == ["upload", "download", "record", "wait"]
    assert first_left(backend(plain(bundle, 100), 0.5)) == expected_left(100)
    backend.close()


def test_rtx_captures_by_itself(simulated: Simulated, bundle: Bundle) -> None:
    backend = opened(bundle, TensorRTKind.RTX)
    assert simulated.cuda.calls("capture") == []
    assert backend.description == "TensorRT for RTX 10.3.0 on Simulated GPU, CUDA graph of its own"
    backend.close()


def test_rtx_keeps_what_it_compiled_beside_the_engine(simulated: Simulated, bundle: Bundle) -> None:
    backend = opened(bundle, TensorRTKind.RTX)
    # There after the first run: a process that is killed keeps it as well.
    assert (bundle.path / "engines" / "fake.cache").read_bytes() == b"compiled"
    backend.close()
    opened(bundle, TensorRTKind.RTX).close()
    assert simulated.trt.caches[1].data == b"compiled"


def test_a_runtime_cache_goes_where_it_is_told(simulated: Simulated, bundle: Bundle, tmp_path: Path) -> None:
    opened(bundle, TensorRTKind.RTX, runtime_cache=tmp_path / "elsewhere").close()
    assert (tmp_path / "elsewhere").read_bytes() == b"compiled"
    assert [path.name for path in (bundle.path / "engines").iterdir()] == ["fake.engine"]


def test_a_runtime_cache_that_does_not_fit_is_replaced(simulated: Simulated, bundle: Bundle) -> None:
    cache = engine_of(bundle).with_suffix(".cache")
    cache.write_bytes(b"of another GPU")
    opened(bundle, TensorRTKind.RTX).close()
    assert cache.read_bytes() == b"compiled"


def test_a_runtime_cache_that_cannot_be_kept_is_no_error(
    simulated: Simulated, bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way", "utf-8")
    backend = opened(bundle, TensorRTKind.RTX, runtime_cache=tmp_path / "file" / "cache")
    assert backend(plain(bundle, 0), 0.5).counts.tolist() == [3]
    backend.close()
    assert "cannot write" in caplog.text
    assert "compile again" in caplog.text


def test_a_runtime_cache_that_is_refused_is_no_error(
    simulated: Simulated, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    simulated.trt.refuses["set_runtime_cache"] = ""
    opened(bundle, TensorRTKind.RTX).close()
    assert "TensorRT for RTX 10.3.0 refuses a runtime cache" in caplog.text


def test_tensorrt_has_no_runtime_cache(simulated: Simulated, bundle: Bundle) -> None:
    opened(bundle).close()
    assert [path.name for path in (bundle.path / "engines").iterdir()] == ["fake.engine"]


def test_host_code_is_allowed_only_where_the_engine_needs_it(simulated: Simulated, bundle: Bundle) -> None:
    opened(bundle).close()
    engine = engine_of(bundle, version_compatible=True)
    with pytest.raises(ArtifactError, match=r"cannot load .*: The engine holds host code.*; build it again"):
        TensorRTBackend(engine, bundle.spec, tensorrt_kind=TensorRTKind.TENSORRT)
    options = EngineOptions(version_compatible=True)
    TensorRTBackend(engine, bundle.spec, tensorrt_kind=TensorRTKind.TENSORRT, options=options).close()
    assert [runtime.engine_host_code_allowed for runtime in simulated.trt.runtimes] == [False, False, True]


def test_the_dla_core_that_the_engine_was_built_for(simulated: Simulated, bundle: Bundle) -> None:
    opened(bundle).close()
    opened(bundle, options=EngineOptions(dla=1)).close()
    assert [runtime.DLA_core for runtime in simulated.trt.runtimes] == [-1, 1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "the file is empty"), (b"{", "magicTagRead == kMAGIC_TAG failed"), (None, "No such file")],
)
def test_an_engine_that_is_none(
    simulated: Simulated, bundle: Bundle, content: bytes | None, reason: str
) -> None:
    engine = bundle.path / "broken.engine"
    if content is not None:
        engine.write_bytes(content)
    with pytest.raises(
        ArtifactError, match=rf"broken\.engine.*{reason}.*; build it again with `edgeseg build"
    ):
        TensorRTBackend(engine, bundle.spec, tensorrt_kind=TensorRTKind.TENSORRT)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"batch": 2}, r"num_detections is output int32\[1\], not output int32\[2\]"),
        ({"max_detections": 7}, r"scores is output float32\[1, 5\], not output float32\[1, 7\]"),
        ({"mask_size": 14}, r"masks is output float32\[1, 5, 28, 28\], not output float32\[1, 5, 14, 14\]"),
    ],
)
def test_an_engine_that_disagrees_with_its_spec(
    simulated: Simulated, bundle: Bundle, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(ArtifactError, match=f"does not fit its model.json: .*{named}"):
        TensorRTBackend(engine_of(bundle), make_spec(**changes), tensorrt_kind=TensorRTKind.TENSORRT)


def half_masks(tensors: list[list[Any]]) -> None:
    tensors[5][2] = "HALF"


def no_labels(tensors: list[list[Any]]) -> None:
    del tensors[4]


def one_more(tensors: list[list[Any]]) -> None:
    tensors.append(["extra", "OUTPUT", "BF16", [1]])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (half_masks, r"masks is output float16\[1, 5, 28, 28\], not output float32"),
        (no_labels, r"labels is missing, not output int32\[1, 5\]"),
        (one_more, r"extra is output bf16\[1\], not missing"),
    ],
)
def test_an_engine_with_other_tensors(simulated: Simulated, bundle: Bundle, change: Any, named: str) -> None:
    with pytest.raises(ArtifactError, match=named):
        TensorRTBackend(engine_of(bundle, change=change), bundle.spec, tensorrt_kind=TensorRTKind.TENSORRT)


@pytest.mark.parametrize("name", ["allocate_pinned", "create_stream", "create_event", "upload"])
def test_what_was_taken_is_given_back_when_cuda_refuses(
    simulated: Simulated, bundle: Bundle, name: str
) -> None:
    simulated.cuda.refuses[name] = "invalid argument"
    with pytest.raises(ArtifactError, match=f"cannot {name}: invalid argument"):
        opened(bundle)
    assert simulated.cuda.left() == []


@pytest.mark.parametrize("name", ["create_execution_context", "set_tensor_address", "execute", "deserialize"])
def test_what_was_taken_is_given_back_when_tensorrt_refuses(
    simulated: Simulated, bundle: Bundle, name: str
) -> None:
    simulated.trt.refuses[name] = "the reason"
    with pytest.raises(ArtifactError, match=r"TensorRT 10\.3\.0"):
        opened(bundle)
    assert simulated.cuda.left() == []


def test_too_little_memory(simulated: Simulated, bundle: Bundle) -> None:
    simulated.cuda.memory_mib = 0.03
    with pytest.raises(
        ArtifactError,
        match=r"take 0\.0 MiB of GPU memory: out of memory; 0 of 0 MiB of Simulated GPU are free",
    ):
        opened(bundle)
    simulated.cuda.memory_mib = 64
    simulated.trt.refuses["create_execution_context"] = "amount of GPU memory could not be allocated"
    with pytest.raises(ArtifactError, match=r"64 of 64 MiB .* smaller --size"):
        opened(bundle)


def test_a_frame_that_fails_and_the_next_that_does_not(simulated: Simulated, bundle: Bundle) -> None:
    simulated.trt.refuses["capture"] = "so that every frame is enqueued"
    backend = opened(bundle)
    simulated.trt.refuses["execute"] = "Cuda failure: 700"
    with pytest.raises(
        ArtifactError, match=r"the engine failed to compute; TensorRT 10\.3\.0: Cuda failure: 700"
    ):
        backend(plain(bundle, 3), 0.5)
    del simulated.trt.refuses["execute"]
    simulated.cuda.refuses["download"] = "illegal address"
    with pytest.raises(ArtifactError, match="illegal address"):
        backend(plain(bundle, 3), 0.5)
    # Nothing is left that could still write to the buffers of the next frame.
    assert simulated.cuda.waiting == 0
    simulated.cuda.refuses.clear()
    assert first_left(backend(plain(bundle, 77), 0.5)) == expected_left(77)
    backend.close()


class Pause:
    """Lets work begin and holds it there, in every thread but the one that made this."""

    def __init__(self) -> None:
        self._maker = threading.get_ident()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self) -> None:
        if threading.get_ident() != self._maker:
            self.begun.set()
            assert self.go_on.wait(30)


def test_a_frame_passes_another_that_is_under_way(simulated: Simulated, bundle: Bundle) -> None:
    backend = opened(bundle)
    pause = simulated.cuda.running = Pause()
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(backend, plain(bundle, 10), 0.5)
        assert pause.begun.wait(30)
        assert first_left(backend(plain(bundle, 200), 0.5)) == expected_left(200)
        assert not held.done()
        pause.go_on.set()
        assert first_left(held.result(30)) == expected_left(10)
    assert len(simulated.cuda.calls("allocate")) == 2
    backend.close()


def test_many_threads_share_two_slots(simulated: Simulated, bundle: Bundle) -> None:
    backend = opened(bundle)
    simulated.cuda.running = lambda: time.sleep(0.0005)
    values = [value % 256 for value in range(0, 2000, 37)]
    with ThreadPoolExecutor(6) as pool:
        raws = list(pool.map(lambda value: backend(plain(bundle, value), 0.5), values))
    assert [first_left(raw) for raw in raws] == [expected_left(value) for value in values]
    assert len(simulated.cuda.calls("allocate")) == 2
    backend.close()


def test_where_there_is_no_memory_for_two_one_is_computed_at_a_time(
    simulated: Simulated, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    backend = opened(bundle)
    simulated.cuda.memory_mib = 0.04
    simulated.cuda.running = lambda: time.sleep(0.001)
    with ThreadPoolExecutor(4) as pool:
        raws = list(pool.map(lambda value: backend(plain(bundle, value), 0.5), range(16)))
    assert [first_left(raw) for raw in raws] == [expected_left(value) for value in range(16)]
    assert len(simulated.cuda.calls("allocate")) == 2
    assert caplog.text.count("one frame is computed at a time") == 1
    backend.close()


def test_closing_waits_for_the_frame_under_way(simulated: Simulated, bundle: Bundle) -> None:
    backend = opened(bundle)
    pause = simulated.cuda.running = Pause()
    with ThreadPoolExecutor(2) as pool:
        frame = pool.submit(backend, plain(bundle, 50), 0.5)
        assert pause.begun.wait(30)
        closing = pool.submit(backend.close)
        time.sleep(0.05)
        assert not closing.done()
        assert simulated.cuda.calls("free") == []
        pause.go_on.set()
        closing.result(30)
        assert first_left(frame.result(30)) == expected_left(50)
    assert simulated.cuda.left() == []


def test_a_caller_that_waits_for_a_slot_hears_that_it_is_closed(simulated: Simulated, bundle: Bundle) -> None:
    backend = opened(bundle)
    simulated.cuda.memory_mib = 0.04
    pause = simulated.cuda.running = Pause()
    with ThreadPoolExecutor(3) as pool:
        frame = pool.submit(backend, plain(bundle, 50), 0.5)
        assert pause.begun.wait(30)
        waiting = pool.submit(backend, plain(bundle, 51), 0.5)
        closing = pool.submit(backend.close)
        with pytest.raises(ArtifactError, match="closed"):
            waiting.result(30)
        pause.go_on.set()
        assert first_left(frame.result(30)) == expected_left(50)
        closing.result(30)


def test_a_backend_that_is_forgotten_gives_everything_back(simulated: Simulated, bundle: Bundle) -> None:
    backend = opened(bundle)
    backend(plain(bundle, 1), 0.5)
    del backend
    gc.collect()
    assert simulated.cuda.left() == []


def test_unsettled_nms_is_told_once(
    simulated: Simulated, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    backend = opened(bundle)
    backend(plain(bundle, 1), 0.5)
    assert caplog.text == ""
    simulated.trt.settled = False
    for _ in range(3):
        backend(plain(bundle, 1), 0.5)
    assert caplog.text.count("NMS had not settled") == 1
    backend.close()


@pytest.mark.parametrize("broken", ["_upload", "_wait", "_download_rows"])
def test_the_simulation_sees_a_step_that_is_left_out(
    simulated: Simulated, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    backend = opened(bundle)
    right = backend(plain(bundle, 0), 0.05)
    monkeypatch.setattr(Execution, broken, lambda self, *arguments: None)
    wrong = backend(plain(bundle, 255), 0.5)
    monkeypatch.undo()
    assert right.counts.tolist() == [5]
    assert wrong.counts.tolist() != [3] or first_left(wrong) != expected_left(255)
    with simulated.cuda.active():
        simulated.cuda.forget()
    backend.close()


def build(bundle: Bundle, tensorrt_kind: TensorRTKind) -> Path:
    """Build a real engine of the fake graph for this machine's GPU, or without one for a common one."""
    from edgeseg.builder.tensorrt import build_tensorrt_plan

    library = load_library(tensorrt_kind, purpose="build an engine")
    graph = write_tensorrt_graph(bundle.path / "tensorrt.onnx", bundle.spec)
    capability = open_cuda().device.compute_capability.replace(".", "") if HAS_GPU else "86"
    options = EngineOptions(
        compute_capabilities=(f"SM{capability}",) if tensorrt_kind is TensorRTKind.RTX else ()
    )
    engine = bundle.path / "engines" / "fake.engine"
    engine.parent.mkdir(exist_ok=True)
    engine.write_bytes(build_tensorrt_plan(library, graph, options).data)
    return engine


class OnGpu(BackendContract):
    tensorrt_kind: TensorRTKind

    def open(self, bundle: Bundle) -> TensorRTBackend:
        if not is_installed(self.tensorrt_kind):
            pytest.skip(f"{self.tensorrt_kind.display_name} is not installed")
        return TensorRTBackend(
            build(bundle, self.tensorrt_kind), bundle.spec, tensorrt_kind=self.tensorrt_kind
        )

    def test_it_runs_as_a_cuda_graph(self, backend: TensorRTBackend) -> None:
        assert "no CUDA graph" not in backend.description

    def test_with_and_without_graph(self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any) -> int:
            raise ArtifactError("as the test wants")  # noqa: EM101

        with_graph = self.open(bundle)
        monkeypatch.setattr(type(open_cuda()), "capture", refuse)
        without = self.open(bundle)
        images = plain(bundle, 123)
        one, other = with_graph(images, 0.5), without(images, 0.5)
        with_graph.close()
        without.close()
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))

    def test_memory_is_given_back(self, bundle: Bundle) -> None:
        self.open(bundle).close()
        before = open_cuda().device.free_mib
        for _ in range(5):
            backend = self.open(bundle)
            backend(plain(bundle, 1), 0.5)
            backend.close()
        assert open_cuda().device.free_mib >= before - 8

    def test_a_truncated_engine(self, bundle: Bundle) -> None:
        self.open(bundle).close()
        engine = bundle.path / "engines" / "fake.engine"
        engine.write_bytes(engine.read_bytes()[:-100])
        with pytest.raises(ArtifactError, match=r"cannot load .*build it again"):
            TensorRTBackend(engine, bundle.spec, tensorrt_kind=self.tensorrt_kind)


@pytest.mark.gpu
class TestTensorRTOnGpu(OnGpu):
    tensorrt_kind = TensorRTKind.TENSORRT


@pytest.mark.gpu
class TestRtxOnGpu(OnGpu):
    tensorrt_kind = TensorRTKind.RTX

    def test_the_second_start_finds_what_the_first_compiled(self, bundle: Bundle) -> None:
        self.open(bundle).close()
        assert (bundle.path / "engines" / "fake.cache").stat().st_size > 0
        backend = self.open(bundle)
        assert backend(plain(bundle, 0), 0.05).counts.tolist() == [5]
        backend.close()


@pytest.mark.usefixtures("simulated")
def test_the_simulation_computes_what_the_fake_graph_does(bundle_of_3: Bundle) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    graph = write_tensorrt_graph(bundle_of_3.path / "tensorrt.onnx", bundle_of_3.spec)
    images = np.random.default_rng(3).integers(0, 256, plain(bundle_of_3, 0, 0, 0).shape, np.uint8)
    names = ["num_detections", "boxes", "scores", "labels", "masks", "nms_converged"]
    *wanted, settled = onnxruntime.InferenceSession(graph).run(names, {"images": images})
    backend = opened(bundle_of_3)
    raw = backend(images, 0.05)
    backend.close()
    for name, value in zip(FIELDS, wanted, strict=True):
        np.testing.assert_allclose(getattr(raw, name), value, rtol=1e-5)
    assert settled.tolist() == [1, 1, 1]


@pytest.mark.skipif(not is_installed(TensorRTKind.RTX), reason="TensorRT for RTX is not installed")
@pytest.mark.parametrize(
    ("real", "simulated"),
    [
        ("Runtime", SimulatedRuntime),
        ("ICudaEngine", SimulatedEngine),
        ("IExecutionContext", SimulatedContext),
        ("IRuntimeConfig", SimulatedConfig),
        ("IRuntimeCache", SimulatedCache),
        pytest.param("CudaGraphStrategy", SimulatedTensorRT.CudaGraphStrategy, id="CudaGraphStrategy"),
    ],
)
def test_the_simulation_invents_nothing(real: str, simulated: Any) -> None:
    module = load_library(TensorRTKind.RTX, purpose="compare").module
    names = [name for name in vars(simulated) if not name.startswith("_")]
    assert names
    assert [name for name in names if not hasattr(getattr(module, real), name)] == []


@pytest.mark.skipif(not is_installed(TensorRTKind.RTX), reason="TensorRT for RTX is not installed")
def test_the_fake_graph_is_one_that_tensorrt_for_rtx_builds(bundle: Bundle) -> None:
    assert build(bundle, TensorRTKind.RTX).stat().st_size > 1000


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
@pytest.mark.skipif(not is_installed(TensorRTKind.RTX), reason="TensorRT for RTX is not installed")
def test_without_a_gpu(bundle: Bundle) -> None:
    with pytest.raises(DependencyError, match=r"no NVIDIA GPU can be used here .*edgeseg doctor"):
        TensorRTBackend(engine_of(bundle), bundle.spec, tensorrt_kind=TensorRTKind.RTX)
