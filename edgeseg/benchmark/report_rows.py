"""From what the processes said to the rows of the report."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgeseg.graphs.macs import Macs

from .agreement import SCORE, agreement_of
from .row import Agreement, Compute, Concurrent, Row, RowState, Stages
from .rows import BASELINES
from .statistics.summary import cost_per_million, latency_of, ratio_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .row_run import Lane


# Fewer say nothing of how much one differs from another.
LEAST_PROCESSES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What rows are made from, beside their own measures.

    Attributes:
        batch: Images of a call.
        callers: Of the throughput with several.
        compared: Ids of the images on which rows are compared.
        shown: Ids of the images whose detections the report holds.
        macs: Of the network; None where they could not be counted.
        peaks: Precision to thousand millions of multiply-adds a second.
        interrupted: The run was.
    """

    batch: int
    callers: int
    compared: tuple[int, ...]
    shown: tuple[int, ...]
    price_per_hour: float | None
    macs: Macs | None
    peaks: dict[str, float]
    interrupted: bool


def baseline_of(lanes: Sequence[Lane]) -> Lane | None:
    """Choose the row that ratios and agreement refer to: PyTorch, else the exported graph; None without."""
    by_name = {lane.row.name: lane for lane in lanes if lane.samples_ms}
    return next((by_name[name] for name in BASELINES if name in by_name), None)


def margins(lanes: Sequence[Lane]) -> dict[str, float]:
    """Say how far the interval of each row's ratio reaches from it, without end before it had some processes.

    Rows that broke are left out.
    """
    baseline = baseline_of(lanes)
    if baseline is None:
        return {}
    ratios = {
        lane.row.label: ratio_of(baseline.turns, lane.turns)
        for lane in lanes
        if lane.alive and lane is not baseline
    }
    return {
        label: ratio.margin if ratio.processes >= LEAST_PROCESSES else math.inf
        for label, ratio in ratios.items()
        if ratio
    }


def rows_from(lanes: Sequence[Lane], facts: Facts) -> tuple[Row, ...]:
    """Sum up all rows."""
    baseline = baseline_of(lanes)
    return tuple(_row(lane, baseline, facts) for lane in lanes)


def _row(lane: Lane, baseline: Lane | None, facts: Facts) -> Row:
    state, reason = _state(lane, facts)
    shown = (lane.results.get(image_id, []) for image_id in facts.shown)
    row = replace(
        lane.row,
        state=state,
        reason=reason,
        description=lane.description,
        notes=tuple(lane.notes),
        file_mb=lane.file_mb,
        startup=lane.startup,
        accuracy=lane.accuracy,
        agreement=_agreement(lane, baseline, facts),
        detections=tuple(result for results in shown for result in results if result["score"] > SCORE),
    )
    return _timed(row, lane, baseline, facts) if lane.samples_ms else row


def _timed(row: Row, lane: Lane, baseline: Lane | None, facts: Facts) -> Row:
    latency = latency_of(lane.samples_ms)
    images_per_s = 1e3 * facts.batch / latency.mean_ms
    concurrent = None
    if lane.images_per_s_crowded is not None:
        concurrent = Concurrent(callers=facts.callers, images_per_s=lane.images_per_s_crowded)
    best = max(images_per_s, lane.images_per_s_crowded or 0.0)
    found = statistics.fmean(lane.found)
    price = facts.price_per_hour
    return replace(
        row,
        found=found,
        threshold=statistics.fmean(lane.thresholds),
        latency=latency,
        stages=_stages(lane.stages_ms),
        images_per_s=images_per_s,
        concurrent=concurrent,
        ratio=ratio_of(baseline.turns, lane.turns) if baseline else None,
        cost_per_million=None if price is None else cost_per_million(price, best),
        energy_j=statistics.fmean(lane.energy_j) if lane.energy_j else None,
        compute=_compute(row, latency.p50_ms / facts.batch, found, facts),
    )


def _stages(calls_ms: Sequence[Sequence[float]]) -> Stages:
    prepare, infer, finish = (statistics.median(part) for part in zip(*calls_ms, strict=True))
    return Stages(prepare_ms=prepare, infer_ms=infer, finish_ms=finish)


def _state(lane: Lane, facts: Facts) -> tuple[RowState, str]:
    if lane.failure:
        return lane.state, lane.failure
    if not facts.interrupted:
        return RowState.OK, ""
    if not lane.samples_ms:
        return RowState.SKIPPED, "interrupted before it was measured"
    count = len(lane.turns)
    return RowState.PARTIAL, f"interrupted after {count} turn{'s' if count != 1 else ''}"


def _agreement(lane: Lane, baseline: Lane | None, facts: Facts) -> Agreement | None:
    if baseline is None or lane is baseline:
        return None
    both = [number for number in facts.compared if number in lane.results and number in baseline.results]
    if not both:
        return None
    expected, found = (
        [result for number in both for result in one.results[number]] for one in (baseline, lane)
    )
    return agreement_of(baseline.row.name, expected, found, len(both))


def _compute(row: Row, image_ms: float, found: float, facts: Facts) -> Compute | None:
    if facts.macs is None:
        return None
    gmacs = facts.macs.gmacs(found, facts.batch)
    per_s = gmacs / (image_ms / 1e3)
    peak = facts.peaks.get(row.precision)
    return Compute(
        gmacs=gmacs,
        gmacs_per_s=per_s,
        peak_gmacs_per_s=peak,
        share_of_peak=per_s / peak if peak else None,
    )
