"""What each chart of rows shows: one track a row, all on one axis, in the order of the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .scale import LEAST, Scale, linear_scale, log_scale
from .wording import interval, number, percent, tick, times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeseg.benchmark.report import BenchmarkReport
    from edgeseg.benchmark.row import Latency, Row

# More dots than this no longer can be told apart, and thousands make the page heavy.
MOST_DOTS = 200
# Dots are spread over the height of a track so that equal times lie beside each other; successive multiples of
# the golden ratio never bunch.
SPREAD_STEP = 0.61803398875
# A spread chart says more of ordinary calls if one that took many times as long does not set its axis.
MOST_SPREAD = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
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
class Track:
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
    spans: tuple[Mark, ...] = ()
    stops: tuple[Mark, ...] = ()
    dots: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Tracks on one axis.

    Attributes:
        axis: What it measures, with the unit.
        ticks: Place in percent and text.
        origin: Place of the line that everything is compared with; None for none.
    """

    axis: str
    ticks: tuple[tuple[float, str], ...]
    tracks: tuple[Track, ...]
    origin: float | None = None


def ratio_chart(report: BenchmarkReport) -> Chart | None:
    """Show how many times as fast as the baseline each row is; None where there is nothing to compare."""
    ratios = [(row, row.ratio) for row in report.rows if row.ratio is not None]
    if not ratios:
        return None
    ends = [end for _, ratio in ratios for end in (ratio.low, ratio.value, ratio.high)]
    scale = log_scale([*ends, 1.0])
    at = scale.percent
    tracks = [
        Track(
            row=row,
            value=times(ratio),
            detail=interval(ratio),
            text=f"{row.label}: {times(ratio)}, 95 % interval {interval(ratio)}",
            spans=(Mark(style="range", start=at(ratio.low), end=at(ratio.high)),),
            stops=(Mark(style="median", start=at(ratio.value), end=at(ratio.value)),),
        )
        for row, ratio in ratios
    ]
    return _chart("times as fast", scale, tracks, origin=1.0)


def latency_chart(rows: Sequence[Row]) -> Chart | None:
    """Show every call of every row in milliseconds; None if nothing was measured."""
    measured = _measured(rows)
    if not measured:
        return None
    scale = log_scale([end for _, latency in measured for end in (latency.min_ms, latency.max_ms)])
    tracks = [
        _strip(
            row,
            [max(sample, LEAST) for sample in latency.samples_ms],
            (latency.p50_ms, latency.p90_ms, latency.p99_ms),
            scale,
            value=f"{number(latency.p50_ms)} ms",
            detail=f"{number(latency.p90_ms)}, {number(latency.p99_ms)}",
        )
        for row, latency in measured
    ]
    return _chart("milliseconds a call, logarithmic", scale, tracks)


def spread_chart(rows: Sequence[Row]) -> Chart | None:
    """Show every call against the median of its own row; None if nothing was measured."""
    measured = [(row, latency) for row, latency in _measured(rows) if latency.p50_ms > 0]
    if not measured:
        return None
    lows = [latency.min_ms / latency.p50_ms for _, latency in measured]
    highs = [latency.max_ms / latency.p50_ms for _, latency in measured]
    scale = linear_scale(min(*lows, 0.95) - 0.01, min(max(*highs, 1.05), MOST_SPREAD) + 0.01)
    tracks = [_spread(row, latency, scale) for row, latency in measured]
    return _chart("times the row's own median", scale, tracks, origin=1.0)


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
            Track(
                row=row,
                value=" + ".join(figures),
                detail="ms",
                text=f"{row.label}: {text}",
                spans=_stacked(parts),
            )
        )
    return _chart("percent of a call", scale, tracks) if tracks else None


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
            Track(
                row=row,
                value=percent(share),
                detail=f"{figure} {of_peak}",
                text=f"{row.label}: {figure}, {percent(share)} {of_peak}",
                spans=(Mark(style="bar", start=0.0, end=scale.percent(100 * (share or 0.0))),),
            )
        )
    return _chart("percent of the peak of its precision", scale, tracks, origin=100.0)


def _chart(axis: str, scale: Scale, tracks: Sequence[Track], *, origin: float | None = None) -> Chart:
    return Chart(
        axis=axis,
        ticks=tuple((scale.percent(value), tick(value)) for value in scale.ticks),
        tracks=tuple(tracks),
        origin=None if origin is None else scale.percent(origin),
    )


def _measured(rows: Sequence[Row]) -> list[tuple[Row, Latency]]:
    return [(row, row.latency) for row in rows if row.latency is not None and row.latency.samples_ms]


def _spread(row: Row, latency: Latency, scale: Scale) -> Track:
    middle = latency.p50_ms
    return _strip(
        row,
        [sample / middle for sample in latency.samples_ms],
        (1.0, latency.p90_ms / middle, latency.p99_ms / middle),
        scale,
        value=f"\N{PLUS-MINUS SIGN}{percent(latency.std_ms / latency.mean_ms if latency.mean_ms else 0.0)}",
        detail=f"{len(latency.samples_ms)} call{'s' * (len(latency.samples_ms) != 1)}",
    )


def _strip(
    row: Row,
    samples: Sequence[float],
    middles: tuple[float, float, float],
    scale: Scale,
    *,
    value: str,
    detail: str,
) -> Track:
    """Draw samples as dots, with lines at their median, 90th and 99th percentile."""
    stops = zip(("median", "tail", "tail"), map(scale.percent, middles), strict=True)
    return Track(
        row=row,
        value=value,
        detail=detail,
        text=f"{row.label}: {value}; {detail}",
        stops=tuple(Mark(style=style, start=place, end=place) for style, place in stops),
        dots=tuple(
            (scale.percent(sample), round(20 + 60 * (index * SPREAD_STEP % 1.0), 1))
            for index, sample in enumerate(_thinned(samples))
        ),
    )


def _thinned(samples: Sequence[float]) -> list[float]:
    """Keep at most `MOST_DOTS`, evenly by rank, the fastest and the slowest among them."""
    ordered = sorted(samples)
    if len(ordered) <= MOST_DOTS:
        return ordered
    return [ordered[round(index * (len(ordered) - 1) / (MOST_DOTS - 1))] for index in range(MOST_DOTS)]


def _stacked(parts: dict[str, float]) -> tuple[Mark, ...]:
    total = sum(parts.values())
    spans, start = [], 0.0
    for name, value in parts.items():
        end = start + (100 * value / total if total else 0.0)
        spans.append(Mark(style=name, start=round(start, 2), end=round(end, 2)))
        start = end
    return tuple(spans)
