"""What each row finds: for average precision, for agreement and for the pictures of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeseg.dataset.average_precision import average_precision

from .worker.process import RowError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeseg.dataset.labelled import LabelledImages

    from .images import Pictures
    from .row_run import Lane


def find_all(
    lanes: Sequence[Lane],
    pictures: Pictures,
    score_threshold: float,
    progress: Callable[[str], None] = lambda line: None,
) -> None:
    """Have every row that is alive find instances in every image, and score it where there are annotations.

    Args:
        lanes: Rows; each gets its results.
        pictures: Images.
        score_threshold: The bundle's own, as average precision wants the low scores too.
        progress: Called with a line before each image.
    """
    for lane in lanes:
        if not lane.alive:
            continue
        try:
            _find(lane, pictures, score_threshold, progress)
        except RowError as exc:
            lane.fail(RowError(f"failed while finding instances: {exc}"))
            continue
        if pictures.labelled is not None:
            lane.accuracy = average_precision(
                pictures.labelled.truth, _scored(lane.results, pictures.labelled)
            )


def _find(lane: Lane, pictures: Pictures, score_threshold: float, progress: Callable[[str], None]) -> None:
    for number, (image_id, path) in enumerate(pictures.paths.items(), start=1):
        progress(f"{lane.row.label}: image {number} of {len(pictures.paths)}")
        told = lane.asked.ask("detect", path=str(path), image_id=image_id, threshold=score_threshold)
        lane.results[image_id] = told["results"]


def _scored(results: dict[int, list[dict[str, Any]]], labelled: LabelledImages) -> list[dict[str, Any]]:
    """Put the annotations' category ids in the place of labels."""
    ids = labelled.category_ids
    return [
        {**result, "category_id": ids[result["category_id"]]}
        for found in results.values()
        for result in found
        if result["category_id"] in ids
    ]
