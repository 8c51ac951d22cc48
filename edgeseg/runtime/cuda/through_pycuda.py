"""CUDA through pycuda, where cuda-python is not installed. It has no CUDA graphs."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.errors import ArtifactError
from edgeseg.optional import install_command

from .driver import BINDINGS, CudaDevice, cuda_error, driver_version, no_gpu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

MIB = 2**20
# CU_STREAM_NON_BLOCKING, which pycuda does not name.
NON_BLOCKING = 1


class PyCuda:
    """See `Cuda`.

    pycuda frees what it has made when its object dies, and only where its own stack of contexts has the right
    one on top, so objects are kept here under their handles and dropped inside `active()`.

    Args:
        driver: The module `pycuda.driver`.

    Raises:
        DependencyError: No driver, or no GPU.
    """

    def __init__(self, driver: Any) -> None:
        self._drv = driver
        self._objects: dict[int, Any] = {}
        try:
            driver.init()
            self._device = driver.CudaDevice(0)
            # The one context that every library in a process shares, TensorRT's as well.
            self._context = self._device.retain_primary_context()
        except driver.Error as exc:
            raise no_gpu(str(exc)) from exc
        # When the process ends. By itself pycuda 2026.1 drops this kind of context in the wrong way.
        weakref.finalize(driver, _detach_context, self._context)

    @property
    def title(self) -> str:
        """See `Cuda.title`."""
        try:
            return f"pycuda {metadata.version('pycuda')}"
        except metadata.PackageNotFoundError:
            return "pycuda"

    @property
    def device(self) -> CudaDevice:
        """See `Cuda.device`."""
        with self.active(), self._mapped_errors("describe the GPU"):
            free, total = self._drv.mem_get_info()
            major, minor = self._device.compute_capability()
            return CudaDevice(
                name=self._device.name(),
                compute_capability=f"{major}.{minor}",
                driver=driver_version(self._drv.get_driver_version()),
                total_mib=total // MIB,
                free_mib=free // MIB,
            )

    @contextmanager
    def active(self) -> Iterator[None]:
        """See `Cuda.active`."""
        with self._mapped_errors("use the GPU"):
            self._context.push()
        try:
            yield
        finally:
            # pycuda ends the process if a thread ends with a context on its stack.
            self._context.pop()

    def allocate(self, size: int) -> int:
        """See `Cuda.allocate`."""
        with self._mapped_errors(f"take {size / MIB:.1f} MiB of GPU memory"):
            memory = self._drv.mem_alloc(size)
        return self._register(memory, int(memory))

    def free(self, address: int) -> None:
        """See `Cuda.free`."""
        with self._mapped_errors("give GPU memory back"):
            self._objects.pop(address).free()

    def allocate_pinned(self, size: int) -> NDArray[np.uint8]:
        """See `Cuda.allocate_pinned`."""
        with self._mapped_errors(f"take {size / MIB:.1f} MiB of pinned memory"):
            block: NDArray[np.uint8] = self._drv.pagelocked_empty(size, np.uint8)
        return block

    def free_pinned(self, block: NDArray[np.uint8]) -> None:
        """See `Cuda.free_pinned`."""
        allocation: Any = block.base
        with self._mapped_errors("give pinned memory back"):
            allocation.free()

    def create_stream(self) -> int:
        """See `Cuda.create_stream`."""
        with self._mapped_errors("make a stream"):
            stream = self._drv.Stream(NON_BLOCKING)
        return self._register(stream, stream.handle)

    def destroy_stream(self, stream: int) -> None:
        """See `Cuda.destroy_stream`."""
        del self._objects[stream]

    def upload(self, source: NDArray[np.uint8], address: int, stream: int) -> None:
        """See `Cuda.upload`."""
        with self._mapped_errors("copy to the GPU"):
            self._drv.memcpy_htod_async(address, source, self._objects[stream])

    def download(self, address: int, target: NDArray[np.uint8], stream: int) -> None:
        """See `Cuda.download`."""
        with self._mapped_errors("copy from the GPU"):
            self._drv.memcpy_dtoh_async(target, address, self._objects[stream])

    def create_event(self) -> int:
        """See `Cuda.create_event`."""
        flags = self._drv.event_flags
        with self._mapped_errors("make an event"):
            event = self._drv.Event(int(flags.BLOCKING_SYNC) | int(flags.DISABLE_TIMING))
        # pycuda tells no handle of an event.
        return self._register(event, id(event))

    def destroy_event(self, event: int) -> None:
        """See `Cuda.destroy_event`."""
        del self._objects[event]

    def record(self, event: int, stream: int) -> None:
        """See `Cuda.record`."""
        with self._mapped_errors("mark a stream"):
            self._objects[event].record(self._objects[stream])

    def wait(self, event: int) -> None:
        """See `Cuda.wait`."""
        with self._mapped_errors("compute"):
            self._objects[event].synchronize()

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        """See `Cuda.capture`: always refused."""
        del stream, enqueue
        msg = f"{self.title} has no CUDA graphs; cuda-python has: {install_command(BINDINGS)}"
        raise ArtifactError(msg)

    def launch(self, graph: int, stream: int) -> None:
        """See `Cuda.launch`: there is no graph."""
        raise NotImplementedError

    def destroy_graph(self, graph: int) -> None:
        """See `Cuda.destroy_graph`: there is no graph."""
        raise NotImplementedError

    def _register(self, wrapped: Any, handle: int) -> int:
        self._objects[handle] = wrapped
        return handle

    @contextmanager
    def _mapped_errors(self, action: str) -> Iterator[None]:
        """Turn pycuda's errors into sentences."""
        try:
            yield
        except self._drv.Error as exc:
            raise cuda_error(action, exc) from exc


def _detach_context(context: Any) -> None:
    context.push()
    context.detach()
