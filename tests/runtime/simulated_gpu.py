"""A GPU without a GPU: a CUDA driver that queues and runs what is enqueued, and a TensorRT on top of it.

Nothing runs before somebody waits for it, so that a result read too early, or a frame overwritten too early,
shows. Memory that nobody has written holds a pattern. What CUDA leaves undefined is an `AssertionError` here,
which no code under test catches.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.errors import ArtifactError
from edgeseg.runtime.backends.tensorrt.library import Library, TensorRTKind
from edgeseg.runtime.cuda.driver import Cuda, CudaDevice

from .fake_bundle import SHIFT_PX, constant_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeseg.spec import ModelSpec

POISON = 0xCD
MIB = 2**20


@dataclass
class Stream:
    """Work that waits, and the recording that is under way instead."""

    work: list[Callable[[], None]] = field(default_factory=list)
    captured: list[Callable[[], None]] | None = None
    broken: str = ""


class SimulatedCuda(Cuda):
    """`Cuda` in numpy.

    Attributes:
        log: Every call by name and what it was about, in order.
        refuses: Names of calls that fail, with the reason.
        memory_mib: When more is allocated, memory is out.
        running: Called before each piece of work, by the thread that waits for it.
    """

    title = "simulated CUDA"

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.refuses: dict[str, str] = {}
        self.memory_mib = 64.0
        self.running: Callable[[], None] = lambda: None
        self._device: dict[int, np.ndarray] = {}
        self._pinned: dict[int, np.ndarray] = {}
        self._streams: dict[int, Stream] = {}
        self._events: dict[int, tuple[int, int] | None] = {}
        self._graphs: dict[int, list[Callable[[], None]]] = {}
        self._handles = itertools.count(1)
        self._addresses = itertools.count(0x7000_0000, 0x100_0000)
        self._local = threading.local()
        self._lock = threading.RLock()

    @property
    def device(self) -> CudaDevice:
        free = self.memory_mib - self._taken() / MIB
        return CudaDevice(
            name="Simulated GPU",
            compute_capability="8.6",
            driver="12.6",
            total_mib=int(self.memory_mib),
            free_mib=int(free),
        )

    @contextmanager
    def active(self) -> Iterator[None]:
        self._local.depth = getattr(self._local, "depth", 0) + 1
        try:
            yield
        finally:
            self._local.depth -= 1

    def allocate(self, size: int) -> int:
        self._called("allocate", size)
        if self._taken() + size > self.memory_mib * MIB:
            msg = f"CUDA cannot take {size / MIB:.1f} MiB of GPU memory: out of memory"
            raise ArtifactError(msg)
        address = next(self._addresses)
        self._device[address] = np.full(size, POISON, np.uint8)
        return address

    def free(self, address: int) -> None:
        self._called("free")
        self._nothing_waits()
        del self._device[address]

    def allocate_pinned(self, size: int) -> np.ndarray:
        self._called("allocate_pinned", size)
        block = np.full(size, POISON, np.uint8)
        self._pinned[block.ctypes.data] = block
        return block

    def free_pinned(self, block: np.ndarray) -> None:
        self._called("free_pinned")
        self._nothing_waits()
        # What is read from it afterwards is no result of the GPU.
        self._pinned.pop(block.ctypes.data).fill(POISON)

    def create_stream(self) -> int:
        self._called("create_stream")
        handle = next(self._handles)
        self._streams[handle] = Stream()
        return handle

    def destroy_stream(self, stream: int) -> None:
        self._called("destroy_stream")
        assert not self._streams.pop(stream).work

    def upload(self, source: np.ndarray, address: int, stream: int) -> None:
        self._called("upload", source.nbytes)
        self._check_pinned(source)
        target = self.device_bytes(address, source.nbytes)
        self.enqueue(stream, lambda: np.copyto(target, source))

    def download(self, address: int, target: np.ndarray, stream: int) -> None:
        self._called("download", target.nbytes)
        self._check_pinned(target)
        source = self.device_bytes(address, target.nbytes)
        self.enqueue(stream, lambda: np.copyto(target, source))

    def create_event(self) -> int:
        self._called("create_event")
        handle = next(self._handles)
        self._events[handle] = None
        return handle

    def destroy_event(self, event: int) -> None:
        self._called("destroy_event")
        del self._events[event]

    def record(self, event: int, stream: int) -> None:
        self._called("record")
        with self._lock:
            self._events[event] = (stream, len(self._streams[stream].work))

    def wait(self, event: int) -> None:
        self._called("wait")
        marked = self._events[event]
        assert marked is not None, "an event that was never recorded"
        stream, length = marked
        self._events[event] = (stream, 0)
        queue = self._streams[stream]
        assert queue.captured is None, "a wait ends a capture"
        for _ in range(length):
            step = queue.work.pop(0)
            self.running()
            step()

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        self._called("capture")
        queue = self._streams[stream]
        assert not queue.work, "what is not done yet would be no part of the graph"
        queue.captured, queue.broken = [], ""
        try:
            enqueue()
        finally:
            captured, queue.captured = queue.captured, None
        if queue.broken:
            msg = f"CUDA cannot capture: {queue.broken}"
            raise ArtifactError(msg)
        handle = next(self._handles)
        self._graphs[handle] = captured
        return handle

    def launch(self, graph: int, stream: int) -> None:
        self._called("launch")
        for step in self._graphs[graph]:
            self.enqueue(stream, step)

    def destroy_graph(self, graph: int) -> None:
        self._called("destroy_graph")
        del self._graphs[graph]

    def enqueue(self, stream: int, step: Callable[[], None]) -> None:
        """What a library does that enqueues work of its own."""
        queue = self._streams[stream]
        with self._lock:
            (queue.work if queue.captured is None else queue.captured).append(step)

    def break_capture(self, stream: int, reason: str) -> None:
        """What a library does that calls something which no capture survives."""
        self._streams[stream].broken = reason

    def capturing(self, stream: int) -> bool:
        return self._streams[stream].captured is not None

    def device_bytes(self, address: int, size: int) -> np.ndarray:
        for start, block in self._device.items():
            if start <= address and address + size <= start + block.nbytes:
                return block[address - start : address - start + size]
        msg = f"{size} bytes at {address:#x} are not within one allocation"
        raise AssertionError(msg)

    @property
    def waiting(self) -> int:
        """How much work is enqueued and has not run."""
        return sum(len(queue.work) for queue in self._streams.values())

    def forget(self) -> None:
        """Drop what waits, as if it had never been enqueued."""
        for queue in self._streams.values():
            queue.work.clear()

    def left(self) -> list[str]:
        """Name what was never given back."""
        kinds = {
            "GPU memory": self._device,
            "pinned memory": self._pinned,
            "stream": self._streams,
            "event": self._events,
            "graph": self._graphs,
        }
        return [name for name, things in kinds.items() if things]

    def calls(self, *names: str) -> list[tuple[Any, ...]]:
        return [call for call in self.log if call[0] in names]

    def _taken(self) -> int:
        return sum(block.nbytes for block in self._device.values())

    def _called(self, name: str, *about: Any) -> None:
        assert getattr(self._local, "depth", 0), f"{name} outside active()"
        with self._lock:
            self.log.append((name, *about))
        if name in self.refuses:
            msg = f"CUDA cannot {name}: {self.refuses[name]}"
            raise ArtifactError(msg)

    def _check_pinned(self, part: np.ndarray) -> None:
        assert part.flags.c_contiguous
        start, end = part.ctypes.data, part.ctypes.data + part.nbytes
        assert any(at <= start and end <= at + block.nbytes for at, block in self._pinned.items())

    def _nothing_waits(self) -> None:
        assert not any(queue.work for queue in self._streams.values() if queue.captured is None), (
            "memory is freed that work under way may use"
        )


class SimulatedTensorRT:
    """The part of the module `tensorrt` that a runtime needs; its engines are JSON.

    Attributes:
        refuses: Names of calls that report failure as TensorRT does, with what it would log.
        contexts: How many are alive.
        runtimes: Every one that was made.
        caches: Every one that was made.
        settled: What `nms_converged` says.
    """

    __version__ = "10.3.0"
    CudaGraphStrategy = SimpleNamespace(DISABLED=0, WHOLE_GRAPH_CAPTURE=1)

    def __init__(self, cuda: SimulatedCuda) -> None:
        self.cuda = cuda
        self.refuses: dict[str, str] = {}
        self.contexts = 0
        self.runtimes: list[Any] = []
        self.caches: list[SimulatedCache] = []
        self.settled = True
        self.captures: list[Any] = []

    def Runtime(self, logger: Any) -> SimulatedRuntime:
        return SimulatedRuntime(self, logger)

    def refused(self, name: str) -> bool:
        if name not in self.refuses:
            return False
        for heard in self.captures:
            heard.errors.append(self.refuses[name])
        return True


class SimulatedRuntime:
    def __init__(self, trt: SimulatedTensorRT, logger: Any) -> None:
        assert logger.captures is trt.captures
        self.engine_host_code_allowed = False
        self.DLA_core = -1
        self._trt = trt
        trt.runtimes.append(self)

    def deserialize_cuda_engine(self, data: bytes) -> SimulatedEngine | None:
        assert data, "TensorRT may crash on an empty buffer"
        try:
            facts = json.loads(data)
        except ValueError:
            for heard in self._trt.captures:
                heard.errors.append("Serialization assertion magicTagRead == kMAGIC_TAG failed.")
            return None
        if facts["version_compatible"] and not self.engine_host_code_allowed:
            for heard in self._trt.captures:
                heard.errors.append("The engine holds host code, which is not allowed.")
            return None
        return None if self._trt.refused("deserialize") else SimulatedEngine(self._trt, facts)


class SimulatedEngine:
    def __init__(self, trt: SimulatedTensorRT, facts: dict[str, Any]) -> None:
        self._trt = trt
        self.facts = facts
        self._tensors: list[tuple[str, str, str, list[int]]] = facts["tensors"]
        self.num_io_tensors = len(self._tensors)
        if facts["rtx"]:
            self.create_runtime_config = lambda: SimulatedConfig(trt)

    def get_tensor_name(self, index: int) -> str:
        return self._tensors[index][0]

    def get_tensor_mode(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(name=self._find(name)[1])

    def get_tensor_dtype(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(name=self._find(name)[2])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._find(name)[3])

    def create_execution_context(self, runtime_config: Any = None) -> SimulatedContext | None:
        assert (runtime_config is not None) == self.facts["rtx"]
        if self._trt.refused("create_execution_context"):
            return None
        return SimulatedContext(self._trt, self, runtime_config)

    def _find(self, name: str) -> tuple[str, str, str, list[int]]:
        return next(tensor for tensor in self._tensors if tensor[0] == name)


class SimulatedContext:
    def __init__(self, trt: SimulatedTensorRT, engine: SimulatedEngine, config: Any) -> None:
        self._trt = trt
        self._engine = engine
        self._config = config
        self._addresses: dict[str, int] = {}
        self._ran = self._captured = False
        self._busy = threading.Lock()
        trt.contexts += 1

    def __del__(self) -> None:
        self._trt.contexts -= 1

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert address % 256 == 0
        assert not self._captured, "a captured context must not be changed"
        self._addresses[name] = address
        return not self._trt.refused("set_tensor_address")

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert self._busy.acquire(blocking=False), "a context is used by two threads at once"
        try:
            return self._execute(stream_handle)
        finally:
            self._busy.release()

    def _execute(self, stream: int) -> bool:
        cuda = self._trt.cuda
        if self._trt.refused("execute"):
            return False
        if cuda.capturing(stream):
            assert self._ran, "TensorRT must have run before it is captured"
            assert self._config is None, "TensorRT for RTX captures by itself"
            self._captured = True
            if self._trt.refused("execute in capture"):
                return False
            if "capture" in self._trt.refuses:
                cuda.break_capture(stream, self._trt.refuses["capture"])
        self._ran = True
        if self._config is not None and self._config.cache is not None:
            self._config.cache.data = b"compiled"
        cuda.enqueue(stream, self._compute)
        return True

    def _compute(self) -> None:
        """The graph of `fake_bundle.write_tensorrt_graph`."""
        facts = self._engine.facts
        tensors = {name: self._array(name) for name in self._addresses}
        images = tensors["images"]
        batch, rows = len(images), facts["rows"]
        boxes, scores, labels, masks = constant_rows(rows, facts["side"])
        kept = scores > np.float32(facts["threshold"])
        moved = np.broadcast_to(boxes, (batch, rows, 4)).copy()
        bright = images.reshape(batch, -1).mean(1, dtype=np.float32)
        moved[:, 0, ::2] += bright[:, None] * np.float32(SHIFT_PX / 255)
        tensors["num_detections"][:] = kept.sum()
        tensors["boxes"][:] = moved * kept[:, None]
        tensors["scores"][:] = scores * kept
        tensors["labels"][:] = labels * kept
        tensors["masks"][:] = masks * kept[:, None, None]
        tensors["nms_converged"][:] = self._trt.settled

    def _array(self, name: str) -> np.ndarray:
        kinds = {"UINT8": np.uint8, "INT32": np.int32, "FLOAT": np.float32}
        kind = np.dtype(kinds[self._engine.get_tensor_dtype(name).name])
        shape = self._engine.get_tensor_shape(name)
        size = int(np.prod(shape)) * kind.itemsize
        return self._trt.cuda.device_bytes(self._addresses[name], size).view(kind).reshape(shape)


class SimulatedConfig:
    """`IRuntimeConfig` of TensorRT for RTX."""

    def __init__(self, trt: SimulatedTensorRT) -> None:
        self._trt = trt
        self.cache: SimulatedCache | None = None
        self.cuda_graph_strategy = trt.CudaGraphStrategy.DISABLED

    def create_runtime_cache(self) -> SimulatedCache:
        self._trt.caches.append(SimulatedCache(self._trt))
        return self._trt.caches[-1]

    def set_runtime_cache(self, cache: SimulatedCache) -> bool:
        self.cache = cache
        return not self._trt.refused("set_runtime_cache")


class SimulatedCache:
    """`IRuntimeCache` of TensorRT for RTX."""

    def __init__(self, trt: SimulatedTensorRT) -> None:
        self._trt = trt
        self.data = b""

    def deserialize(self, blob: bytes) -> bool:
        if blob != b"compiled":
            return False
        self.data = blob
        return True

    def serialize(self) -> bytes:
        return self.data


def simulated_library(trt: SimulatedTensorRT, tensorrt_kind: TensorRTKind) -> Library:
    return Library(tensorrt_kind=tensorrt_kind, module=trt, log=SimpleNamespace(captures=trt.captures))


def write_simulated_engine(
    path: Path,
    spec: ModelSpec,
    tensorrt_kind: TensorRTKind = TensorRTKind.TENSORRT,
    *,
    version_compatible: bool = False,
    change: Callable[[list[list[Any]]], None] = lambda tensors: None,
) -> Path:
    """Write what `SimulatedRuntime` deserialises; `change` spoils its tensors."""
    rows = [spec.batch, spec.max_detections]
    tensors: list[list[Any]] = [
        ["images", "INPUT", "UINT8", [spec.batch, *spec.input_size_hw, 3]],
        ["num_detections", "OUTPUT", "INT32", [spec.batch]],
        ["boxes", "OUTPUT", "FLOAT", [*rows, 4]],
        ["scores", "OUTPUT", "FLOAT", rows],
        ["labels", "OUTPUT", "INT32", rows],
        ["masks", "OUTPUT", "FLOAT", [*rows, spec.mask_size, spec.mask_size]],
        ["nms_converged", "OUTPUT", "INT32", [spec.batch]],
    ]
    change(tensors)
    facts = {
        "tensors": tensors,
        "rows": spec.max_detections,
        "side": spec.mask_size,
        "threshold": spec.score_threshold,
        "version_compatible": version_compatible,
        "rtx": tensorrt_kind is TensorRTKind.RTX,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts), encoding="utf-8")
    return path
