"""From the values of one run to their histograms: which rows are real, and all cores at work."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from edgeseg.errors import CalibrationError
from edgeseg.runtime.host.processors import usable_cpus

from .histogram import Histogram, histogram_of
from .observers import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edgeseg.spec import ModelSpec

    from .observers import Tap

# Beyond this many, counting waits for memory.
_MAX_THREADS = 8


def count_values(
    taps: Sequence[Tap],
    values: dict[str, NDArray[Any]],
    images: int,
    present: NDArray[np.bool_] | None,
    where: str,
) -> dict[str, Histogram]:
    """Count the real rows of every tap.

    Args:
        taps: What to count.
        values: Arrays by the name in the graph; emptied, so that each is freed once counted.
        images: How many of the batch are real, the first of it; the others repeat the last.
        present: `bool[B, max_proposals]`; None where no tap has proposals.
        where: Which images these are, for the message.

    Returns:
        Key of the tap to its histogram.

    Raises:
        CalibrationError: A value is not finite.
    """
    rows = [real_rows(values[tap.tensor], tap.rows, images, present) for tap in taps]
    values.clear()
    names = [f"{tap.key} ({tap.tensor} in the graph) on {where}" for tap in taps]
    with ThreadPoolExecutor(min(_MAX_THREADS, usable_cpus().count)) as pool:
        jobs = [pool.submit(histogram_of, rows.pop(0), name) for name in names]
        return {tap.key: job.result() for tap, job in zip(taps, jobs, strict=True)}


def check_rows(taps: Sequence[Tap], values: dict[str, NDArray[Any]], spec: ModelSpec) -> None:
    """Check that first axes are what the taps say.

    Raises:
        CalibrationError: One is not.
    """
    wanted = {Rows.IMAGES: spec.batch, Rows.PROPOSALS: spec.batch * spec.max_proposals}
    for tap in taps:
        shape = values[tap.tensor].shape
        if not shape or shape[0] != wanted.get(tap.rows, shape[0]):
            msg = (
                f"{tap.key} ({tap.tensor} in the graph) must have {wanted[tap.rows]} rows of "
                f"{tap.rows.value}, and is of shape {list(shape)}"
            )
            raise CalibrationError(msg)


def real_rows(
    values: NDArray[Any], rows: Rows, images: int, present: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    """Leave out rows that repeat an image to fill a batch, and rows where no proposal is.

    Detections do not say which image they are of, so those of a repeated image are counted again.
    """
    if rows is Rows.IMAGES:
        return values[:images]
    if rows is Rows.PROPOSALS and present is not None:
        real = present.copy()
        real[images:] = False
        return values if real.all() else values[real.reshape(-1)]
    return values
