"""What each row finds: for average precision, for agreement and for the pictures of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeseg.dataset.average_precision import average_precision

from .worker.process import RowError
from .worker.requests import DetectInstances

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeseg.dataset.labelled import LabelledImages

    from .images import BenchmarkImages
    from .row_run import RowRun


def measure_accuracy(
    row_runs: Sequence[RowRun],
    images: BenchmarkImages,
    score_threshold: float,
    progress: Callable[[str], None] = lambda line: None,
) -> None:
    """Have every row that is alive find instances in every image, and score it where there are annotations.

    Args:
        row_runs: Rows; each gets its results.
        images: Images.
        score_threshold: The bundle's own, as average precision wants the low scores too.
        progress: Called with a line before each image.
    """
    for row_run in row_runs:
        if not row_run.alive:
            continue
        try:
            _detect_all(row_run, images, score_threshold, progress)
        except RowError as exc:
            row_run.fail(RowError(f"failed while finding instances: {exc}"))
            continue
        if images.labelled is not None:
            row_run.accuracy = average_precision(
                images.labelled.truth, _with_category_ids(row_run.results, images.labelled)
            )


def _detect_all(
    row_run: RowRun, images: BenchmarkImages, score_threshold: float, progress: Callable[[str], None]
) -> None:
    for number, (image_id, path) in enumerate(images.paths.items(), start=1):
        progress(f"{row_run.row.label}: image {number} of {len(images.paths)}")
        request = DetectInstances(path=str(path), image_id=image_id, threshold=score_threshold)
        row_run.results[image_id] = list(row_run.live_process.ask(request).results)


def _with_category_ids(
    results: dict[int, list[dict[str, Any]]], labelled: LabelledImages
) -> list[dict[str, Any]]:
    """Put the annotations' category ids in the place of labels."""
    ids = labelled.category_ids
    return [
        {**result, "category_id": ids[result["category_id"]]}
        for found in results.values()
        for result in found
        if result["category_id"] in ids
    ]
