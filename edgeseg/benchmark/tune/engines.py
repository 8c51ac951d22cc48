"""Which engines this machine can run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeseg.bundle.engines import PRECISIONS_OF, Precision, Target
from edgeseg.errors import ConfigError, DependencyError
from edgeseg.runtime.backends.openvino import has_bfloat16
from edgeseg.runtime.selection import AUTO
from edgeseg.runtime.targets import unavailable_reason

if TYPE_CHECKING:
    from collections.abc import Iterator

WITHOUT_IMAGES = "INT8 is left out: it needs images to calibrate on; pass --calib DIR"


class AvailableEngines(NamedTuple):
    """What can be tried, and what a user should know of what cannot."""

    pairs: tuple[tuple[Target, Precision], ...]
    notes: tuple[str, ...]


def runnable_engines(backend: str, *, int8: bool) -> AvailableEngines:
    """Name the engines that can be built and run on this machine, the fastest kind first.

    Args:
        backend: `auto` for all; where there is a GPU, those of GPUs alone.
        int8: There are images to calibrate on.

    Raises:
        ConfigError: The backend that was named does not run here.
        DependencyError: None runs here.
    """
    obstacles = {target: unavailable_reason(target) for target in Target if backend in (AUTO, target.value)}
    running = [target for target, reason in obstacles.items() if not reason]
    if not running:
        explanation = "; ".join(dict.fromkeys(obstacles.values()))
        if backend != AUTO:
            msg = f"--backend {backend} cannot be tried: {explanation}; `edgeseg doctor` says what to install"
            raise ConfigError(msg)
        msg = f"no engine can be tried: {explanation}; `edgeseg doctor` says what to install"
        raise DependencyError(msg)
    gpus = [target for target in running if target.needs_gpu]
    pairs = tuple(pair for target in gpus or running for pair in _precisions(target, int8=int8))
    return AvailableEngines(pairs, () if int8 else (WITHOUT_IMAGES,))


def _precisions(target: Target, *, int8: bool) -> Iterator[tuple[Target, Precision]]:
    for precision in PRECISIONS_OF[target]:
        if precision is Precision.INT8 and not int8:
            continue
        if precision is Precision.BF16 and not has_bfloat16():
            continue
        yield target, precision
