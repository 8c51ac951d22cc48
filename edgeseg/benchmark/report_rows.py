"""Build the rows of the report from what the worker processes measured."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgeseg.graphs.macs import Macs

from .agreement import MIN_SCORE, compare_detections
from .row import Agreement, Compute, Concurrent, Row, RowState, Stages
from .rows import BASELINES
from .statistics.summary import cost_per_million, latency_from_samples, ratio_from_rounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .row_run import RowRun


# Fewer say nothing of how much one differs from another.
MIN_PROCESSES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContext:
    """What rows are made from, beside their own measures.

    Attributes:
        batch: Images of a call.
        callers: Of the throughput with several.
        compared: Ids of the images on which rows are compared.
        shown: Ids of the images whose detections the report holds.
        macs: Of the network; None where they could not be counted.
        roofline: Precision to billions of multiply-adds a second.
        interrupted: The run was.
    """

    batch: int
    callers: int
    compared: tuple[int, ...]
    shown: tuple[int, ...]
    price_per_hour: float | None
    macs: Macs | None
    roofline: dict[str, float]
    interrupted: bool


def find_baseline(row_runs: Sequence[RowRun]) -> RowRun | None:
    """Choose the row that ratios and agreement refer to: PyTorch, else the exported graph; None without."""
    by_name = {row_run.row.name: row_run for row_run in row_runs if row_run.samples_ms}
    return next((by_name[name] for name in BASELINES if name in by_name), None)


def ratio_margins(row_runs: Sequence[RowRun]) -> dict[str, float]:
    """Say how far the interval of each row's ratio reaches from it, without end before it had some processes.

    Rows that broke are left out.
    """
    baseline = find_baseline(row_runs)
    if baseline is None:
        return {}
    ratios = {
        row_run.row.label: ratio_from_rounds(baseline.rounds, row_run.rounds)
        for row_run in row_runs
        if row_run.alive and row_run is not baseline
    }
    return {
        label: ratio.margin if ratio.processes >= MIN_PROCESSES else math.inf
        for label, ratio in ratios.items()
        if ratio
    }


def report_rows(row_runs: Sequence[RowRun], context: ReportContext) -> tuple[Row, ...]:
    """Sum up all rows."""
    baseline = find_baseline(row_runs)
    return tuple(_row(row_run, baseline, context) for row_run in row_runs)


def _row(row_run: RowRun, baseline: RowRun | None, context: ReportContext) -> Row:
    state, reason = _state(row_run, context)
    shown = (row_run.results.get(image_id, []) for image_id in context.shown)
    row = replace(
        row_run.row,
        state=state,
        reason=reason,
        description=row_run.description,
        notes=tuple(row_run.notes),
        file_mb=row_run.file_mb,
        startup=row_run.startup,
        accuracy=row_run.accuracy,
        agreement=_agreement(row_run, baseline, context),
        detections=tuple(result for results in shown for result in results if result["score"] > MIN_SCORE),
    )
    return _with_timings(row, row_run, baseline, context) if row_run.samples_ms else row


def _with_timings(row: Row, row_run: RowRun, baseline: RowRun | None, context: ReportContext) -> Row:
    latency = latency_from_samples(row_run.samples_ms)
    images_per_s = 1e3 * context.batch / latency.mean_ms
    concurrent = None
    if row_run.concurrent_images_per_s is not None:
        concurrent = Concurrent(callers=context.callers, images_per_s=row_run.concurrent_images_per_s)
    best = max(images_per_s, row_run.concurrent_images_per_s or 0.0)
    found = statistics.fmean(row_run.detections_per_image)
    price = context.price_per_hour
    return replace(
        row,
        found=found,
        threshold=statistics.fmean(row_run.thresholds),
        latency=latency,
        stages=_stages(row_run.stages_ms),
        images_per_s=images_per_s,
        concurrent=concurrent,
        ratio=ratio_from_rounds(baseline.rounds, row_run.rounds) if baseline else None,
        cost_per_million=None if price is None else cost_per_million(price, best),
        energy_j=statistics.fmean(row_run.energy_j) if row_run.energy_j else None,
        compute=_compute(row, latency.p50_ms / context.batch, found, context),
    )


def _stages(calls_ms: Sequence[Sequence[float]]) -> Stages:
    prepare, infer, finish = (statistics.median(part) for part in zip(*calls_ms, strict=True))
    return Stages(prepare_ms=prepare, infer_ms=infer, finish_ms=finish)


def _state(row_run: RowRun, context: ReportContext) -> tuple[RowState, str]:
    if row_run.failure:
        return row_run.state, row_run.failure
    if not context.interrupted:
        return RowState.OK, ""
    if not row_run.samples_ms:
        return RowState.SKIPPED, "interrupted before it was measured"
    count = len(row_run.rounds)
    return RowState.PARTIAL, f"interrupted after {count} turn{'s' if count != 1 else ''}"


def _agreement(row_run: RowRun, baseline: RowRun | None, context: ReportContext) -> Agreement | None:
    if baseline is None or row_run is baseline:
        return None
    common_ids = [
        number for number in context.compared if number in row_run.results and number in baseline.results
    ]
    if not common_ids:
        return None
    expected, found = (
        [result for number in common_ids for result in one.results[number]] for one in (baseline, row_run)
    )
    return compare_detections(baseline.row.name, expected, found, len(common_ids))


def _compute(row: Row, image_ms: float, found: float, context: ReportContext) -> Compute | None:
    if context.macs is None:
        return None
    gmacs = context.macs.gmacs(found, context.batch)
    per_s = gmacs / (image_ms / 1e3)
    peak = context.roofline.get(row.precision)
    return Compute(
        gmacs=gmacs,
        gmacs_per_s=per_s,
        peak_gmacs_per_s=peak,
        share_of_peak=per_s / peak if peak else None,
    )
