"""What each chart of rows shows: one track a row, all on one axis, in the order of the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeseg.benchmark.row import Row

from .formatting import interval, number, percent, tick, times
from .scale import linear_scale, log_scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeseg.benchmark.report import BenchmarkReport

    from .scale import AxisScale


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartMark:
    """A part of a track, places in percent of its width.

    Attributes:
        style: The class of its colour and thickness in the style sheet.
        start: Left end.
        end: Right end; that of an upright line is where it starts.
    """

    style: str
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartTrack:
    """What a chart shows of one row.

    Attributes:
        row: Of the report.
        value: The figure that stands beside the track.
        detail: Smaller, behind it.
        text: All of it in words, for whoever cannot see the drawing.
        spans: Horizontal lines and bars.
        stops: Upright lines.
        dots: Across and down, both in percent.
    """

    row: Row
    value: str
    detail: str
    text: str
    spans: tuple[ChartMark, ...] = ()
    stops: tuple[ChartMark, ...] = ()
    dots: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Tracks on one axis.

    Attributes:
        axis: What it measures, with the unit.
        figures: What stands beside the tracks.
        ticks: Place in percent and text.
        origin: Place of the line that everything is compared with; None for none.
    """

    axis: str
    figures: str
    ticks: tuple[tuple[float, str], ...]
    tracks: tuple[ChartTrack, ...]
    origin: float | None = None


def ratio_chart(report: BenchmarkReport) -> Chart | None:
    """Show how many times as fast as the baseline each other row is; None where there is none to compare."""
    others = [row for row in report.rows if row.name != report.baseline]
    ratios = [(row, row.ratio) for row in others if row.ratio is not None]
    if not ratios:
        return None
    ends = [end for _, ratio in ratios for end in (ratio.low, ratio.value, ratio.high)]
    scale = log_scale([*ends, 1.0])
    at = scale.percent
    tracks = [
        ChartTrack(
            row=row,
            value=times(ratio),
            detail=interval(ratio) or "one turn",
            text=f"{row.label}: {times(ratio)}, 95 % interval {interval(ratio) or 'unknown'}",
            spans=(ChartMark(style="range", start=at(ratio.low), end=at(ratio.high)),),
            stops=(ChartMark(style="median", start=at(ratio.value), end=at(ratio.value)),),
        )
        for row, ratio in ratios
    ]
    return chart_of("times as fast, logarithmic", "median, 95 % interval", scale, tracks, origin=1.0)


def stage_chart(rows: Sequence[Row]) -> Chart | None:
    """Show what part of a call each stage takes; None if nobody measured stages."""
    scale = linear_scale(0.0, 100.0)
    tracks = []
    for row in rows:
        if row.stages is None:
            continue
        parts = {
            "prepare": row.stages.prepare_ms,
            "infer": row.stages.infer_ms,
            "finish": row.stages.finish_ms,
        }
        figures = [number(value) for value in parts.values()]
        text = ", ".join(f"{name} {figure} ms" for name, figure in zip(parts, figures, strict=True))
        tracks.append(
            ChartTrack(
                row=row,
                value=" + ".join(figures),
                detail="ms",
                text=f"{row.label}: {text}",
                spans=_stacked(parts),
            )
        )
    return chart_of("percent of a call", "prepare + infer + finish", scale, tracks) if tracks else None


def compute_chart(rows: Sequence[Row]) -> Chart | None:
    """Show the share of the machine's peak that each row reaches; None where no peak was measured."""
    computed = [(row, row.compute) for row in rows if row.compute is not None]
    shares = [compute.share_of_peak for _, compute in computed if compute.share_of_peak is not None]
    if not shares:
        return None
    scale = linear_scale(0.0, 100 * max(*shares, 1.0))
    tracks = []
    for row, compute in computed:
        share = compute.share_of_peak
        figure = f"{number(compute.gmacs_per_s)} GMAC/s"
        of_peak = f"of {number(compute.peak_gmacs_per_s)}" if share is not None else "no peak measured"
        tracks.append(
            ChartTrack(
                row=row,
                value=percent(share),
                detail=f"{figure} {of_peak}",
                text=f"{row.label}: {figure}, {percent(share)} {of_peak}",
                spans=(ChartMark(style="bar", start=0.0, end=scale.percent(100 * (share or 0.0))),),
            )
        )
    return chart_of("percent of its precision's peak", "share; rate of peak", scale, tracks, origin=100.0)


def memory_chart(rows: Sequence[Row]) -> Chart | None:
    """Show the peak memory of each row's process; None if it is not known."""
    known = [(row, row.startup.peak_rss_mib) for row in rows if row.startup is not None]
    return _bars([(row, value) for row, value in known if value is not None], "MiB")


def file_chart(rows: Sequence[Row]) -> Chart | None:
    """Show the size of what each row loads; None if it is not known."""
    return _bars([(row, row.file_mb) for row in rows if row.file_mb is not None], "MB")


def _bars(figures: Sequence[tuple[Row, float]], unit: str) -> Chart | None:
    if not any(value for _, value in figures):
        return None
    scale = linear_scale(0.0, 1.02 * max(value for _, value in figures))
    tracks = [
        ChartTrack(
            row=row,
            value=f"{number(value)} {unit}",
            detail="",
            text=f"{row.label}: {number(value)} {unit}",
            spans=(ChartMark(style="bar", start=0.0, end=scale.percent(value)),),
        )
        for row, value in figures
    ]
    return chart_of(unit, "", scale, tracks)


def chart_of(
    axis: str, figures: str, scale: AxisScale, tracks: Sequence[ChartTrack], *, origin: float | None = None
) -> Chart:
    """Put tracks on an axis."""
    return Chart(
        axis=axis,
        figures=figures,
        ticks=tuple((scale.percent(value), tick(value)) for value in scale.ticks),
        tracks=tuple(tracks),
        origin=None if origin is None else scale.percent(origin),
    )


def _stacked(parts: dict[str, float]) -> tuple[ChartMark, ...]:
    total = sum(parts.values())
    spans, start = [], 0.0
    for name, value in parts.items():
        end = start + (100 * value / total if total else 0.0)
        spans.append(ChartMark(style=name, start=round(start, 2), end=round(end, 2)))
        start = end
    return tuple(spans)
