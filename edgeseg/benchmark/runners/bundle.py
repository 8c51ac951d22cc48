"""An engine of a bundle, called as `edgeseg.load` gives it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.bundle.engines import Precision, Target, loaded_path, read_engine_record, recorded_engines
from edgeseg.bundle.manifest import open_bundle
from edgeseg.runtime.choice import EngineChoice
from edgeseg.runtime.model import Model, SizedBackend
from edgeseg.runtime.selection import open_backend
from edgeseg.spec import Lowering

from .contract import CallResult

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.runtime.contract import Backend, RawDetections
    from edgeseg.vision.detections import Detections

    from .contract import Frames
    from .spec import RunnerSpec


class BundleRunner:
    """An engine of a bundle, or its exported graph.

    Args:
        runner_spec: Names bundle, engine and precision.

    Raises:
        ArtifactError: The bundle has no such engine, or it does not fit; the message says how to build it.
        ConfigError: The backend does not compute in that precision here.
        DependencyError: A package or a GPU is missing.
    """

    def __init__(self, runner_spec: RunnerSpec) -> None:
        wanted = EngineChoice(
            backend=runner_spec.engine, precision=runner_spec.precision, threads=runner_spec.threads
        )
        bundle = open_bundle(Path(runner_spec.model))
        opened = open_backend(bundle, wanted)
        self._times = StageTimes()
        timed = (TimedBackend(backend, self._times) for backend in opened.backends)
        first, *others = map(SizedBackend, (each.spec for each in bundle.sizes), timed)
        self._model = Model(*first, remark=opened.remark, other_sizes=others)
        self.files = (_loaded_file(bundle, runner_spec),)

    @property
    def description(self) -> str:
        """As `Model.description`."""
        return self._model.description

    def __call__(self, frames: Frames, score_threshold: float) -> CallResult:
        """Detect in as many frames as the bundle's batch has."""
        detections = self._model(list(frames), score_threshold)
        scores = [float(score) for one in detections for score in one.scores]
        return CallResult(detections, scores, *self._times.last_s)

    def detect(self, frames: Frames, score_threshold: float) -> list[Detections]:
        """See `Runner.detect`."""
        return self._model(list(frames), score_threshold)

    def close(self) -> None:
        """See `Runner.close`."""
        self._model.close()


class StageTimes(threading.local):
    """When the last call in each thread began and ended, by `time.perf_counter()`."""

    last_s: tuple[float, float]


class TimedBackend:
    """A backend that keeps when its last call began and ended."""

    def __init__(self, backend: Backend, times: StageTimes) -> None:
        self._backend, self._times = backend, times

    @property
    def description(self) -> str:
        """The backend's own."""
        return self._backend.description

    def __call__(self, images: NDArray[np.uint8], score_threshold: float) -> RawDetections:
        """See `Backend.__call__`."""
        inference_start_s = time.perf_counter()
        raw = self._backend(images, score_threshold)
        self._times.last_s = inference_start_s, time.perf_counter()
        return raw

    def close(self) -> None:
        """See `Backend.close`."""
        self._backend.close()


def _loaded_file(bundle: Bundle, runner_spec: RunnerSpec) -> Path:
    """What the backend loads: an engine where one was built, else the exported graph."""
    target, precision = Target(runner_spec.engine), Precision(runner_spec.precision)
    if (target, precision) in recorded_engines(bundle.path):
        return loaded_path(bundle.path, read_engine_record(bundle.path, target, precision))
    return bundle.graph_path(Lowering.PORTABLE)
