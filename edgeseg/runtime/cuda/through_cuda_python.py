"""CUDA through NVIDIA's own cuda-python (the package `cuda-bindings`)."""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.errors import ArtifactError

from .driver import CudaDevice, cuda_error, driver_version, no_gpu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

MIB = 2**20
NAME_LENGTH = 256


class CudaPython:
    """See `Cuda`.

    It calls the driver and not CUDA's runtime library: the runtime inside cuda-python 13 refuses the driver
    of JetPack 6, which is of CUDA 12.6, while all that is called here is older than CUDA 12.

    Args:
        bindings: The module `cuda.bindings.driver`.

    Raises:
        DependencyError: No driver, or no GPU.
    """

    def __init__(self, bindings: Any) -> None:
        self._cu = bindings
        try:
            self._call("start", bindings.cuInit, 0)
            self._device = self._call("find a GPU", bindings.cuDeviceGet, 0)
            # The one context that every library in a process shares, TensorRT's as well.
            self._context = self._call("use the GPU", bindings.cuDevicePrimaryCtxRetain, self._device)
        except ArtifactError as exc:
            raise no_gpu(str(exc)) from exc

    @property
    def title(self) -> str:
        """See `Cuda.title`."""
        try:
            return f"cuda-python {metadata.version('cuda-bindings')}"
        except metadata.PackageNotFoundError:
            return "cuda-python"

    @property
    def device(self) -> CudaDevice:
        """See `Cuda.device`."""
        cu = self._cu
        attributes = cu.CUdevice_attribute
        major, minor = (
            self._call("describe the GPU", cu.cuDeviceGetAttribute, attribute, self._device)
            for attribute in (
                attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )
        name = self._call("name the GPU", cu.cuDeviceGetName, NAME_LENGTH, self._device)
        driver = self._call("tell its version", cu.cuDriverGetVersion)
        with self.active():
            free, total = self._call("tell its memory", cu.cuMemGetInfo)
        return CudaDevice(
            # Filled up behind the end of the text.
            name=name.partition(b"\0")[0].decode(errors="replace"),
            compute_capability=f"{major}.{minor}",
            driver=driver_version(driver),
            total_mib=total // MIB,
            free_mib=free // MIB,
        )

    @contextmanager
    def active(self) -> Iterator[None]:
        """See `Cuda.active`."""
        self._call("use the GPU", self._cu.cuCtxPushCurrent, self._context)
        try:
            yield
        finally:
            self._call("leave the GPU", self._cu.cuCtxPopCurrent)

    def allocate(self, size: int) -> int:
        """See `Cuda.allocate`."""
        return int(self._call(f"take {_mib(size)} of GPU memory", self._cu.cuMemAlloc, size))

    def free(self, address: int) -> None:
        """See `Cuda.free`."""
        self._call("give GPU memory back", self._cu.cuMemFree, address)

    def allocate_pinned(self, size: int) -> NDArray[np.uint8]:
        """See `Cuda.allocate_pinned`."""
        address = int(self._call(f"take {_mib(size)} of pinned memory", self._cu.cuMemHostAlloc, size, 0))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def free_pinned(self, block: NDArray[np.uint8]) -> None:
        """See `Cuda.free_pinned`."""
        self._call("give pinned memory back", self._cu.cuMemFreeHost, block.ctypes.data)

    def create_stream(self) -> int:
        """See `Cuda.create_stream`."""
        flag = self._cu.CUstream_flags.CU_STREAM_NON_BLOCKING
        return int(self._call("make a stream", self._cu.cuStreamCreate, int(flag)))

    def destroy_stream(self, stream: int) -> None:
        """See `Cuda.destroy_stream`."""
        self._call("drop a stream", self._cu.cuStreamDestroy, stream)

    def upload(self, source: NDArray[np.uint8], address: int, stream: int) -> None:
        """See `Cuda.upload`."""
        copy = self._cu.cuMemcpyHtoDAsync
        self._call("copy to the GPU", copy, address, source.ctypes.data, source.nbytes, stream)

    def download(self, address: int, target: NDArray[np.uint8], stream: int) -> None:
        """See `Cuda.download`."""
        copy = self._cu.cuMemcpyDtoHAsync
        self._call("copy from the GPU", copy, target.ctypes.data, address, target.nbytes, stream)

    def create_event(self) -> int:
        """See `Cuda.create_event`."""
        flags = self._cu.CUevent_flags
        flag = int(flags.CU_EVENT_BLOCKING_SYNC) | int(flags.CU_EVENT_DISABLE_TIMING)
        return int(self._call("make an event", self._cu.cuEventCreate, flag))

    def destroy_event(self, event: int) -> None:
        """See `Cuda.destroy_event`."""
        self._call("drop an event", self._cu.cuEventDestroy, event)

    def record(self, event: int, stream: int) -> None:
        """See `Cuda.record`."""
        self._call("mark a stream", self._cu.cuEventRecord, event, stream)

    def wait(self, event: int) -> None:
        """See `Cuda.wait`."""
        self._call("compute", self._cu.cuEventSynchronize, event)

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        """See `Cuda.capture`."""
        cu = self._cu
        # Of this thread only: memory that another takes meanwhile would end a capture of all.
        mode = cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call("start a capture", cu.cuStreamBeginCapture, stream, mode)
        try:
            enqueue()
        except BaseException:
            # The stream works again when the capture is ended, which as a rule is broken and gives nothing.
            code, graph = cu.cuStreamEndCapture(stream)
            if code == cu.CUresult.CUDA_SUCCESS:
                cu.cuGraphDestroy(graph)
            raise
        graph = self._call("capture", cu.cuStreamEndCapture, stream)
        try:
            return int(self._call("make a graph", cu.cuGraphInstantiate, graph, 0))
        finally:
            self._call("drop a capture", cu.cuGraphDestroy, graph)

    def launch(self, graph: int, stream: int) -> None:
        """See `Cuda.launch`."""
        self._call("launch a graph", self._cu.cuGraphLaunch, graph, stream)

    def destroy_graph(self, graph: int) -> None:
        """See `Cuda.destroy_graph`."""
        self._call("drop a graph", self._cu.cuGraphExecDestroy, graph)

    def _call(self, action: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call the driver; its first result is an error code, the others are what it gives.

        Raises:
            ArtifactError: It reports an error.
        """
        try:
            code, *results = function(*arguments)
        except RuntimeError as exc:
            # Of the package itself: there is no driver, or the driver has no such function.
            raise cuda_error(action, str(exc).strip()) from exc
        if code != self._cu.CUresult.CUDA_SUCCESS:
            raise cuda_error(action, self._reason(code))
        return tuple(results) if len(results) > 1 else results[0] if results else None

    def _reason(self, code: Any) -> str:
        _, text = self._cu.cuGetErrorString(code)
        message = text.decode(errors="replace") if isinstance(text, bytes) else "unknown error"
        return f"{message} ({code.name})"


def _mib(size: int) -> str:
    return f"{size / MIB:.1f} MiB"
