"""How the times of single calls lie: a strip of dots for each row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .charts import Chart, ChartMark, ChartTrack, chart_of
from .formatting import NOTHING, number, percent
from .scale import LEAST, AxisScale, linear_scale, log_scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeseg.benchmark.row import Latency, Row

# More dots than this no longer can be told apart, and thousands make the page heavy.
MOST_DOTS = 150
# Dots are spread over the height of a track so that equal times lie beside each other; successive multiples
# of the golden ratio never bunch.
SPREAD_STEP = 0.61803398875
# A spread chart says more of ordinary calls if one that took many times as long does not set its axis.
MOST_SPREAD = 3.0


def latency_chart(rows: Sequence[Row]) -> Chart | None:
    """Show every call of every row in milliseconds; None if nothing was measured."""
    measured = _measured(rows)
    if not measured:
        return None
    scale = log_scale([end for _, latency in measured for end in (latency.min_ms, latency.max_ms)])
    tracks = [
        _strip_track(
            row,
            [max(sample, LEAST) for sample in latency.samples_ms],
            (latency.p50_ms, latency.p90_ms, latency.p99_ms),
            scale,
            value=f"{number(latency.p50_ms)} ms",
            detail=f"{number(latency.p90_ms)}, {number(latency.p99_ms)}",
        )
        for row, latency in measured
    ]
    return chart_of("ms a call, logarithmic", "median; p90, p99", scale, tracks)


def spread_chart(rows: Sequence[Row]) -> Chart | None:
    """Show every call against the median of its own row; None if nothing was measured."""
    measured = [(row, latency) for row, latency in _measured(rows) if latency.p50_ms > 0]
    if not measured:
        return None
    lows = [latency.min_ms / latency.p50_ms for _, latency in measured]
    highs = [latency.max_ms / latency.p50_ms for _, latency in measured]
    scale = linear_scale(min(*lows, 0.95) - 0.01, min(max(*highs, 1.05), MOST_SPREAD) + 0.01)
    tracks = [_spread(row, latency, scale) for row, latency in measured]
    return chart_of("times its own median", "standard deviation", scale, tracks, origin=1.0)


def _measured(rows: Sequence[Row]) -> list[tuple[Row, Latency]]:
    return [(row, row.latency) for row in rows if row.latency is not None and row.latency.samples_ms]


def _spread(row: Row, latency: Latency, scale: AxisScale) -> ChartTrack:
    middle, calls = latency.p50_ms, len(latency.samples_ms)
    # The deviation of a single call would read as perfect steadiness.
    deviation = f"\N{PLUS-MINUS SIGN}{percent(latency.std_ms / latency.mean_ms)}" if calls > 1 else NOTHING
    return _strip_track(
        row,
        [sample / middle for sample in latency.samples_ms],
        (1.0, latency.p90_ms / middle, latency.p99_ms / middle),
        scale,
        value=deviation,
        detail=f"{calls} call{'s' * (calls != 1)}",
    )


def _strip_track(
    row: Row,
    samples: Sequence[float],
    percentiles: tuple[float, float, float],
    scale: AxisScale,
    *,
    value: str,
    detail: str,
) -> ChartTrack:
    """Draw samples as dots, with lines at their median, 90th and 99th percentile."""
    stops = zip(("median", "tail", "tail"), map(scale.percent, percentiles), strict=True)
    return ChartTrack(
        row=row,
        value=value,
        detail=detail,
        text=f"{row.label}: {value}; {detail}",
        stops=tuple(ChartMark(style=style, start=place, end=place) for style, place in stops),
        dots=tuple(
            (scale.percent(sample), round(20 + 60 * (index * SPREAD_STEP % 1.0), 1))
            for index, sample in enumerate(_downsampled(samples))
        ),
    )


def _downsampled(samples: Sequence[float]) -> list[float]:
    """Keep at most `MOST_DOTS`, evenly by rank, the fastest and the slowest among them."""
    ordered = sorted(samples)
    if len(ordered) <= MOST_DOTS:
        return ordered
    return [ordered[round(index * (len(ordered) - 1) / (MOST_DOTS - 1))] for index in range(MOST_DOTS)]
