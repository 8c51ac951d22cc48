"""Engines of TensorRT and of TensorRT for RTX, on an NVIDIA GPU."""

from __future__ import annotations

import logging
import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING

from edgeseg.bundle.engines import EngineOptions
from edgeseg.errors import ArtifactError
from edgeseg.runtime.contract import check_images
from edgeseg.runtime.cuda.opening import open_cuda

from .execution import Execution
from .execution_pool import ExecutionPool
from .library import load_library
from .session import REBUILD_COMMAND, Session

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from edgeseg.runtime.contract import RawDetections
    from edgeseg.runtime.cuda.driver import Cuda
    from edgeseg.spec import ModelSpec

    from .library import TensorRTKind

logger = logging.getLogger(__name__)


class TensorRTBackend:
    """An engine on TensorRT or TensorRT for RTX. Not yet run on a GPU; see docs/tensorrt-runtime.md.

    May be called from several threads: two frames are under way at once, a third caller waits for one of
    them. The memory for the second is taken when two threads first call at once.

    Args:
        engine: File that `edgeseg build-engine` wrote, for this GPU and this version.
        spec: What the engine must look like.
        tensorrt_kind: Which of the two libraries built it.
        options: How it was built.
        runtime_cache: Where TensorRT for RTX keeps what it compiles for this GPU; None for beside the engine.
        rebuild_command: Command that builds the engine again, for messages.

    Raises:
        ArtifactError: The engine cannot be loaded, is not what the spec says, or memory is short.
        DependencyError: The library, a package that reaches CUDA, the driver or the GPU is missing.
    """

    def __init__(
        self,
        engine: Path,
        spec: ModelSpec,
        *,
        tensorrt_kind: TensorRTKind,
        options: EngineOptions = EngineOptions(),  # noqa: B008 - frozen
        runtime_cache: Path | None = None,
        rebuild_command: str = REBUILD_COMMAND,
    ) -> None:
        library = load_library(tensorrt_kind, purpose="run an engine")
        cuda = open_cuda()
        self._spec = spec
        self._cuda = cuda
        self._has_warned = False
        with cuda.active(), ExitStack() as stack:
            session = Session(
                library,
                engine,
                spec,
                options=options,
                runtime_cache=runtime_cache or engine.with_suffix(".cache"),
                rebuild_command=rebuild_command,
            )
            stack.callback(session.close)
            self._pool = ExecutionPool(lambda: _make_execution(cuda, session, spec))
            stack.callback(self._pool.free)
            # The first frame has been through: most of what there is to compile has been.
            session.save_cache()
            stack.callback(session.save_cache)
            stack.callback(self._pool.drain)
            self._description = f"{library.title} on {cuda.device.name}, {self._pool.graph_note}"
            # Also when it is forgotten, and at the latest when the process ends.
            self._release = weakref.finalize(self, _release, cuda, stack.pop_all())

    @property
    def description(self) -> str:
        """The library's version, the GPU, and whether the engine runs as a CUDA graph; if not, why."""
        return self._description

    def __call__(self, images: NDArray[np.uint8], score_threshold: float) -> RawDetections:
        """See `Backend.__call__`."""
        check_images(images, self._spec)
        with self._cuda.active(), self._pool.acquired() as execution:
            raw, converged = execution.run(images, score_threshold)
        if not converged and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "NMS had not settled on an image, so that it may have a detection too many or too few; "
                "this is told once"
            )
        return raw

    def close(self) -> None:
        """See `Backend.close`; waits for the frames that are under way."""
        self._release()


def _make_execution(cuda: Cuda, session: Session, spec: ModelSpec) -> Execution:
    """Create an execution; where memory is short, say how much there is and what to do."""
    try:
        return Execution(cuda, session, spec)
    except ArtifactError as exc:
        if "memory" not in str(exc).lower():
            raise
        device = cuda.device
        msg = (
            f"{exc}; {device.free_mib} of {device.total_mib} MiB of {device.name} are free: close what else "
            "uses it, or export with a smaller --size"
        )
        raise ArtifactError(msg) from exc


def _release(cuda: Cuda, resources: ExitStack) -> None:
    with cuda.active():
        resources.close()
