"""An engine of a bundle, called as `edgeseg.load` gives it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.bundle.engines import Precision, Target, engines_of, loaded_path, read_engine_record
from edgeseg.bundle.manifest import open_bundle
from edgeseg.runtime.model import Model, Network
from edgeseg.runtime.selection import Wanted, open_backend
from edgeseg.spec import Lowering

from .contract import Called

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.runtime.contract import Backend, RawDetections
    from edgeseg.vision.detections import Detections

    from .contract import Frames
    from .spec import Recipe


class BundledContender:
    """An engine of a bundle, or its exported graph.

    Args:
        recipe: Names bundle, engine and precision.

    Raises:
        ArtifactError: The bundle has no such engine, or it does not fit; the message says how to build it.
        ConfigError: The backend does not compute in that precision here.
        DependencyError: A package or a GPU is missing.
    """

    def __init__(self, recipe: Recipe) -> None:
        wanted = Wanted(backend=recipe.engine, precision=recipe.precision, threads=recipe.threads)
        bundle = open_bundle(Path(recipe.model))
        opened = open_backend(bundle, wanted)
        self._times = Times()
        timed = (TimedBackend(backend, self._times) for backend in opened.backends)
        first, *others = map(Network, (each.spec for each in bundle.sizes), timed)
        self._model = Model(*first, remark=opened.remark, other_sizes=others)
        self.files = (_file(bundle, recipe),)

    @property
    def description(self) -> str:
        """As `Model.description`."""
        return self._model.description

    def __call__(self, frames: Frames, score_threshold: float) -> Called:
        """Detect in as many frames as the bundle's batch has."""
        found = self._model(list(frames), score_threshold)
        scores = [float(score) for one in found for score in one.scores]
        return Called(found, scores, *self._times.last_s)

    def detect(self, frames: Frames, score_threshold: float) -> list[Detections]:
        """See `Contender.detect`."""
        return self._model(list(frames), score_threshold)

    def close(self) -> None:
        """See `Contender.close`."""
        self._model.close()


class Times(threading.local):
    """When the last call in each thread began and ended, by `time.perf_counter()`."""

    last_s: tuple[float, float]


class TimedBackend:
    """A backend that keeps when its last call began and ended."""

    def __init__(self, backend: Backend, times: Times) -> None:
        self._backend, self._times = backend, times

    @property
    def description(self) -> str:
        """The backend's own."""
        return self._backend.description

    def __call__(self, images: NDArray[np.uint8], score_threshold: float) -> RawDetections:
        """See `Backend.__call__`."""
        begun_s = time.perf_counter()
        raw = self._backend(images, score_threshold)
        self._times.last_s = begun_s, time.perf_counter()
        return raw

    def close(self) -> None:
        """See `Backend.close`."""
        self._backend.close()


def _file(bundle: Bundle, recipe: Recipe) -> Path:
    """What the backend loads: an engine where one was built, else the exported graph."""
    target, precision = Target(recipe.engine), Precision(recipe.precision)
    if (target, precision) in engines_of(bundle.path):
        return loaded_path(bundle.path, read_engine_record(bundle.path, target, precision))
    return bundle.graph_path(Lowering.PORTABLE)
