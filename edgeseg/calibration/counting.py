"""From the values of one run to their histograms: which rows are real, and all cores at work."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ..errors import CalibrationError
from .histogram import Histogram, histogram_of
from .taps import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ..spec import ModelSpec
    from .taps import Tap

# Beyond this many, counting waits for memory.
_MAX_THREADS = 8


def count_values(
    taps: Sequence[Tap], values: dict[str, NDArray[Any]], present: NDArray[np.bool_], where: str
) -> dict[str, Histogram]:
    """Count the real rows of every tap.

    Args:
        taps: What to count.
        values: Arrays by the name in the graph; emptied, so that each is freed once counted.
        present: `bool[images, max_proposals]` of the images that are real, the first of the batch.
        where: Which images these are, for the message.

    Returns:
        Key of the tap to its histogram.

    Raises:
        CalibrationError: A value is not finite, or has other rows than its tap says.
    """
    rows = [real_rows(values[tap.tensor], tap, present) for tap in taps]
    values.clear()
    names = [f"{tap.key} ({tap.tensor} in the graph) on {where}" for tap in taps]
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
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


def real_rows(values: NDArray[Any], tap: Tap, present: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Leave out rows that repeat an image to fill a batch, and rows where no proposal is.

    Detections carry no image's number, so those of a repeated image are counted twice.
    """
    images, proposals = present.shape
    if tap.rows is Rows.IMAGES:
        return values[:images]
    if tap.rows is Rows.PROPOSALS and not present.all():
        return values[: images * proposals][present.reshape(-1)]
    return values[: images * proposals] if tap.rows is Rows.PROPOSALS else values
