"""Which engines this machine can run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeseg.bundle.engines import PRECISIONS_OF, Precision, Target
from edgeseg.errors import ConfigError, DependencyError
from edgeseg.runtime.backends.openvino import has_bfloat16
from edgeseg.runtime.choice import AUTO
from edgeseg.runtime.targets import unavailable_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edgeseg.runtime.choice import EngineChoice

WITHOUT_IMAGES = "INT8 is left out: it needs images to calibrate on; pass --calib DIR"


class AvailableEngines(NamedTuple):
    """What can be tried, and what a user should know of what cannot."""

    pairs: tuple[tuple[Target, Precision], ...]
    notes: tuple[str, ...]


def runnable_engines(choice: EngineChoice, *, int8: bool) -> AvailableEngines:
    """Name the engines that can be built and run on this machine, the fastest kind first.

    Args:
        choice: Which are wanted; of all, where there is a GPU, those of GPUs alone.
        int8: There are images to calibrate on.

    Raises:
        ConfigError: The backend that was named does not run here.
        DependencyError: None runs here.
    """
    wanted = {
        target: [precision for precision in PRECISIONS_OF[target] if choice.accepts(target, precision)]
        for target in Target
    }
    obstacles = {target: unavailable_reason(target) for target, precisions in wanted.items() if precisions}
    running = [target for target, reason in obstacles.items() if not reason]
    if not running:
        explanation = "; ".join(dict.fromkeys(obstacles.values()))
        if choice.backend != AUTO:
            msg = (
                f"--backend {choice.backend} cannot be tried: {explanation}; `edgeseg doctor` says what to "
                "install"
            )
            raise ConfigError(msg)
        msg = f"no engine can be tried: {explanation}; `edgeseg doctor` says what to install"
        raise DependencyError(msg)
    gpus = [target for target in running if target.needs_gpu]
    pairs = tuple(
        (target, precision)
        for target in gpus or running
        for precision in _computable(wanted[target], int8=int8)
    )
    return AvailableEngines(pairs, () if int8 else (WITHOUT_IMAGES,))


def _computable(precisions: Iterable[Precision], *, int8: bool) -> Iterator[Precision]:
    for precision in precisions:
        if precision is Precision.INT8 and not int8:
            continue
        if precision is Precision.BF16 and not has_bfloat16():
            continue
        yield precision
