"""From the values of one run to their histograms: which rows are real, and all cores at work."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from edgeseg.errors import CalibrationError
from edgeseg.runtime.host.processors import usable_cpus

from .histogram import Histogram, histogram_of
from .observers import FirstAxis

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edgeseg.spec import ModelSpec

    from .observers import RangeObserver

# Beyond this many, counting waits for memory.
_MAX_THREADS = 8


def histograms_from_values(
    observers: Sequence[RangeObserver],
    values: dict[str, NDArray[Any]],
    images: int,
    present: NDArray[np.bool_] | None,
    where: str,
) -> dict[str, Histogram]:
    """Count the valid rows of every observer.

    Args:
        observers: What to count.
        values: Arrays by the name in the graph; emptied, so that each is freed once counted.
        images: How many of the batch are real, the first of it; the others repeat the last.
        present: `bool[B, max_proposals]`; None where no observer has proposals.
        where: Which images these are, for the message.

    Returns:
        Key of the observer to its histogram.

    Raises:
        CalibrationError: A value is not finite.
    """
    rows = [valid_rows(values[observer.tensor], observer.rows, images, present) for observer in observers]
    values.clear()
    names = [f"{observer.key} ({observer.tensor} in the graph) on {where}" for observer in observers]
    with ThreadPoolExecutor(min(_MAX_THREADS, usable_cpus().count)) as pool:
        futures = [pool.submit(histogram_of, rows.pop(0), name) for name in names]
        return {observer.key: future.result() for observer, future in zip(observers, futures, strict=True)}


def check_rows(observers: Sequence[RangeObserver], values: dict[str, NDArray[Any]], spec: ModelSpec) -> None:
    """Check that first axes are what the observers say.

    Raises:
        CalibrationError: One is not.
    """
    sizes = {FirstAxis.IMAGES: spec.batch, FirstAxis.PROPOSALS: spec.batch * spec.max_proposals}
    for observer in observers:
        shape = values[observer.tensor].shape
        if not shape or shape[0] != sizes.get(observer.rows, shape[0]):
            msg = (
                f"{observer.key} ({observer.tensor} in the graph) must have {sizes[observer.rows]} rows of "
                f"{observer.rows.value}, and is of shape {list(shape)}"
            )
            raise CalibrationError(msg)


def valid_rows(
    values: NDArray[Any], rows: FirstAxis, images: int, present: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    """Leave out rows that repeat an image to fill a batch, and rows where no proposal is.

    Detections do not say which image they are of, so those of a repeated image are counted again.
    """
    if rows is FirstAxis.IMAGES:
        return values[:images]
    if rows is FirstAxis.PROPOSALS and present is not None:
        valid = present.copy()
        valid[images:] = False
        return values if valid.all() else values[valid.reshape(-1)]
    return values
