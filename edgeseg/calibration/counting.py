"""Count the values of one run into histograms, in parallel and without the rows that are only padding."""

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

# Beyond this many threads, counting is limited by memory bandwidth.
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
        values: Arrays by their name in the graph; emptied, so that each array is freed once it is counted.
        images: Number of real images, which come first in the batch; the rest repeat the last one.
        present: `bool[B, max_proposals]`, True where a row holds a proposal; None if no observer has
            proposals.
        where: Names of the images, for error messages.

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
    """Check that the first axis of every value has the length that its observer says.

    Raises:
        CalibrationError: A first axis has another length.
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
    """Drop the rows that belong to repeated images of a batch, and the rows that hold no proposal.

    Rows of detections do not state their image, so those of a repeated image are counted again.
    """
    if rows is FirstAxis.IMAGES:
        return values[:images]
    if rows is FirstAxis.PROPOSALS and present is not None:
        valid = present.copy()
        valid[images:] = False
        return values if valid.all() else values[valid.reshape(-1)]
    return values
