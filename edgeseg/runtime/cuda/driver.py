"""The little of CUDA that the runtime needs: memory, streams, events, graphs, by whatever package is here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edgeseg.errors import ArtifactError, DependencyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray


# The modules that reach CUDA.
BINDINGS = "cuda.bindings.driver"
PYCUDA = "pycuda.driver"


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaDevice:
    """A GPU.

    Attributes:
        compute_capability: Such as `8.7`.
        driver: The newest CUDA that the driver knows, such as `12.6`.
        total_mib: Its memory; on a Jetson the machine's, which it shares.
        free_mib: What of it was free when this was asked.
    """

    name: str
    compute_capability: str
    driver: str
    total_mib: int
    free_mib: int


class Cuda(Protocol):
    """One GPU. Addresses, streams, events and graphs are the driver's own handles, as integers.

    Every method but `active` is to be called inside `active()`; each may be called from several threads at
    once. A call that the driver refuses raises `ArtifactError`; what it refuses later, because work enqueued
    before has failed, is raised by whichever call hears of it first.
    """

    @property
    def title(self) -> str:
        """What reaches CUDA, with its version, for people: `cuda-python 12.9.4`."""

    @property
    def device(self) -> CudaDevice:
        """The GPU, with the memory that is free now. May be asked for outside `active()`."""

    def active(self) -> AbstractContextManager[None]:
        """Make the GPU the one that this thread uses, in TensorRT too, until the block ends."""

    def allocate(self, size: int) -> int:
        """Take GPU memory of `size` bytes; the address is a multiple of 256."""

    def free(self, address: int) -> None:
        """Give GPU memory back; waits until the GPU has done with it."""

    def allocate_pinned(self, size: int) -> NDArray[np.uint8]:
        """Take `uint8[size]` of memory that the GPU copies from and to by itself; `free_pinned` ends it."""

    def free_pinned(self, block: NDArray[np.uint8]) -> None:
        """Give it back; it must not be read or written afterwards, through other arrays neither."""

    def create_stream(self) -> int:
        """Make a queue of work, which waits for no other."""

    def destroy_stream(self, stream: int) -> None:
        """Drop a stream."""

    def upload(self, source: NDArray[np.uint8], address: int, stream: int) -> None:
        """Enqueue a copy of pinned bytes to the GPU; they must stay as they are until it is done."""

    def download(self, address: int, target: NDArray[np.uint8], stream: int) -> None:
        """Enqueue a copy from the GPU that fills pinned bytes."""

    def create_event(self) -> int:
        """Make a mark for a stream, to be waited for without keeping a core busy."""

    def destroy_event(self, event: int) -> None:
        """Drop an event."""

    def record(self, event: int, stream: int) -> None:
        """Enqueue an event behind what the stream holds."""

    def wait(self, event: int) -> None:
        """Sleep until the GPU has come to the event; other Python threads run meanwhile."""

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        """Record what is enqueued, without running it, as a graph that is launched as one.

        Args:
            stream: On which `enqueue` enqueues; usable afterwards, whether this succeeds or fails.
            enqueue: Raises `ArtifactError` where it cannot.

        Raises:
            ArtifactError: The work cannot be captured; the message says why.
        """

    def launch(self, graph: int, stream: int) -> None:
        """Enqueue a graph."""

    def destroy_graph(self, graph: int) -> None:
        """Drop a graph."""


def cuda_error(action: str, reason: object) -> ArtifactError:
    """Say what the driver refuses to do.

    Args:
        action: As it reads after "cannot": `make a stream`.
        reason: As the driver or the package tells it.
    """
    return ArtifactError(f"CUDA cannot {action}: {reason}")


def driver_version(number: int) -> str:
    """Write CUDA's number of a version: 12060 is `12.6`."""
    return f"{number // 1000}.{number % 1000 // 10}"


def no_gpu(reason: str) -> DependencyError:
    """Say that there is no GPU to use, and what to do.

    Args:
        reason: As the driver or the package tells it.
    """
    return DependencyError(
        f"no NVIDIA GPU can be used here ({reason.strip().rstrip('.')}); `edgeseg doctor` tells what is "
        "missing, and the ONNX Runtime backend needs no GPU"
    )
