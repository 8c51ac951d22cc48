"""What the page says in words and lists: what came out, where it ran, what was asked for."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from edgeseg.benchmark.row import RowState

from .formatting import interval, number, percent, points, size, tick, times

if TYPE_CHECKING:
    from edgeseg.benchmark.report import BenchmarkReport
    from edgeseg.benchmark.row import Row

Facts = list[tuple[str, str]]


def format_date(date: str) -> str:
    """Write an ISO date as people do, to the minute; what is none is left as it is."""
    try:
        at = datetime.fromisoformat(date)
    except ValueError:
        return date
    return f"{at:%Y-%m-%d %H:%M} {at.tzname() or ''}".strip()


def findings(report: BenchmarkReport) -> list[str]:
    """Say in a few sentences what a hurried reader wants to know."""
    measured = [row for row in report.rows if row.latency is not None]
    if not measured:
        return ["No row could be measured; the table says why."]
    sentences = [_fastest(report, measured)]
    absent = [row for row in report.rows if row.latency is None]
    if absent:
        verb = "was" if len(absent) == 1 else "were"
        sentences.append(f"{len(absent)} of {len(report.rows)} rows {verb} not measured; the table says why.")
    return sentences


def _fastest(report: BenchmarkReport, measured: list[Row]) -> str:
    row = min(measured, key=lambda row: row.latency.p50_ms if row.latency else 0.0)
    if row.latency is None or len(measured) == 1:
        only = measured[0].latency
        return f"{measured[0].label} took {number(only.p50_ms if only else None)} ms a call (median)."
    text = f"{row.label} is the fastest: {number(row.latency.p50_ms)} ms a call (median)"
    baseline = report.row(report.baseline) if report.baseline else None
    if row.ratio and baseline and baseline is not row:
        text += f", {times(row.ratio)} as fast as {baseline.label}"
        if ends := interval(row.ratio):
            text += f" (95 % interval {ends})"
    if row.accuracy and baseline and baseline.accuracy and baseline is not row:
        before, after = points(baseline.accuracy.mask_ap), points(row.accuracy.mask_ap)
        text += f"; mask AP {after} against {before}"
    return text + "."


def settings(report: BenchmarkReport) -> Facts:
    """List what was asked for, and what followed from it."""
    settings_record = report.settings
    per_hour = settings_record.price_per_hour
    return [
        ("Model", settings_record.model),
        ("Checkpoint", settings_record.checkpoint or "none"),
        ("Images", settings_record.images),
        ("Annotations", settings_record.annotations or "none"),
        ("Input (height x width)", f"{size(settings_record.input_size_hw)} px"),
        ("Frames (height x width)", f"{size(settings_record.frame_size_hw)} px"),
        ("Batch", f"{settings_record.batch} image{'s' * (settings_record.batch != 1)} a call"),
        ("Threads of a call", str(settings_record.threads)),
        ("Callers", str(settings_record.concurrency)),
        ("Detections of a timed image", _load(report)),
        ("Warm-up", f"{settings_record.warmup} call{'s' * (settings_record.warmup != 1)} at least"),
        ("Turns through all rows", str(settings_record.turns)),
        ("All turns together", f"{number(settings_record.duration_s)} s"),
        *([("Price of the machine", f"{tick(per_hour)} an hour")] if per_hour is not None else []),
    ]


def machine(report: BenchmarkReport) -> Facts:
    """List where it ran."""
    machine_record = report.machine
    return [
        ("Processor", machine_record.processor),
        ("Cores of this process", str(machine_record.cores)),
        ("Memory", machine_record.memory),
        ("GPU", machine_record.gpu),
        ("System", machine_record.system),
        ("edgeseg", report.edgeseg_version),
        ("Python", machine_record.python),
        *machine_record.versions.items(),
    ]


def quiet(report: BenchmarkReport) -> Facts:
    """List how quiet the machine was; only what is known."""
    noise = report.noise
    probe = noise.probe_ms
    shares = (
        ("Other programs, of all cores", noise.others_percent),
        ("Given to other virtual machines", noise.steal_percent),
    )
    return [
        *([("Probe, once a turn", f"{number(min(probe))} to {number(max(probe))} ms")] if probe else []),
        *([("Spread of the probe", percent(noise.probe_spread))] if noise.probe_spread is not None else []),
        *((name, percent(value / 100)) for name, value in shares if value is not None),
        *([("Load before", tick(noise.load_before))] if noise.load_before is not None else []),
    ]


def absent_labels(report: BenchmarkReport) -> str:
    """Name the rows that no chart can show."""
    return ", ".join(row.label for row in report.rows if row.state in (RowState.FAILED, RowState.SKIPPED))


def reference_label(report: BenchmarkReport) -> str:
    """Name the row that the others' detections are compared with."""
    compared = next((row.agreement for row in report.rows if row.agreement), None)
    reference = report.row(compared.reference) if compared else None
    return reference.label if reference else "the reference"


def _load(report: BenchmarkReport) -> str:
    boxes = report.settings.boxes
    if boxes is None:
        return f"above a score of {report.settings.score_threshold:g}"
    return f"{boxes}, by choice of the score threshold"
