"""Accuracy against latency, and which rows no other beats in both."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeseg.benchmark.row import Row

from .formatting import number, points, tick
from .label_layout import LabelPlacement, place_labels
from .scale import linear_scale, log_scale

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeseg.dataset.average_precision import AveragePrecision

HEIGHT_PX = 300
# What is left for a plot on a telephone 360 px wide, or for one of two on a printed page.
NARROWEST_PX = 265
# Differences below a tenth of a point are noise: an axis that shows less would make much of nothing.
LEAST_SPAN_POINTS = 1.0
LONGEST_NAME = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ScatterPoint:
    """One row in the plot.

    Attributes:
        x: In percent from the left.
        y: In pixels from the top.
        front: No other row is at least as fast and at least as accurate and better in one.
        name: The row's label, cut if it is long.
        text: Label, latency and accuracy in words.
    """

    row: Row
    x: float
    y: float
    front: bool
    name: str
    text: str
    place: LabelPlacement


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontSegment:
    """A part of the front; `x` in percent, `y` in pixels."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """One plot: median latency across, average precision up.

    Attributes:
        measure: What is upwards.
        x_ticks: Place in percent and text.
        y_ticks: Place in pixels and text.
        points: In the order of the report.
        front: From the fastest to the most accurate.
    """

    measure: str
    height_px: int
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    points: tuple[ScatterPoint, ...]
    front: tuple[FrontSegment, ...]


@dataclass(frozen=True, slots=True)
class _PlotEntry:
    row: Row
    ms: float
    points: float


def scatters(rows: Sequence[Row]) -> tuple[Scatter, ...]:
    """Plot mask and box average precision; nothing where no row has both latency and accuracy."""
    plots = (
        _scatter(rows, "mask AP", lambda accuracy: accuracy.mask_ap),
        _scatter(rows, "box AP", lambda accuracy: accuracy.box_ap),
    )
    return tuple(plot for plot in plots if plot is not None)


def pareto_front(latencies_ms: Sequence[float], accuracies: Sequence[float]) -> list[int]:
    """Find what no other beats: nothing is faster and as accurate, nor as fast and more accurate.

    Returns:
        Indices, the fastest first. Of equals, all are in.
    """
    order = sorted(range(len(latencies_ms)), key=lambda index: (latencies_ms[index], -accuracies[index]))
    front: list[int] = []
    for index in order:
        if front and accuracies[index] <= accuracies[front[-1]]:
            last = (latencies_ms[front[-1]], accuracies[front[-1]])
            if (latencies_ms[index], accuracies[index]) != last:
                continue
        front.append(index)
    return front


def _scatter(rows: Sequence[Row], measure: str, of: Callable[[AveragePrecision], float]) -> Scatter | None:
    entries = [
        _PlotEntry(row, row.latency.p50_ms, 100 * of(row.accuracy))
        for row in rows
        if row.latency is not None and row.accuracy is not None
    ]
    if not entries:
        return None
    across = log_scale([entry.ms for entry in entries], margin=1.25)
    lowest, highest = min(entry.points for entry in entries), max(entry.points for entry in entries)
    margin = max(LEAST_SPAN_POINTS - (highest - lowest), 0.3 * (highest - lowest)) / 2
    up = linear_scale(lowest - margin, highest + margin)

    def down(value: float) -> float:
        return round(HEIGHT_PX * (1 - up.percent(value) / 100), 1)

    front = pareto_front([entry.ms for entry in entries], [entry.points for entry in entries])
    positions_xy = [(across.percent(entry.ms), down(entry.points)) for entry in entries]
    return Scatter(
        measure=measure,
        height_px=HEIGHT_PX,
        x_ticks=tuple((across.percent(value), tick(value)) for value in across.ticks),
        y_ticks=tuple((down(value), tick(round(value, 3))) for value in up.ticks),
        points=_points(entries, positions_xy, front, measure),
        front=_steps([positions_xy[index] for index in front]),
    )


def _points(
    entries: Sequence[_PlotEntry],
    positions_xy: Sequence[tuple[float, float]],
    front: Sequence[int],
    measure: str,
) -> tuple[ScatterPoint, ...]:
    names = [_shortened(entry.row.label) for entry in entries]
    places = place_labels(
        [(_narrowest(x), y) for x, y in positions_xy],
        names,
        (NARROWEST_PX, HEIGHT_PX),
        [
            (_narrowest(line.x1), line.y1, _narrowest(line.x2), line.y2)
            for line in _steps([positions_xy[index] for index in front])
        ],
    )
    return tuple(
        ScatterPoint(
            row=entry.row,
            x=x,
            y=y,
            front=index in front,
            name=names[index],
            text=f"{entry.row.label}: {number(entry.ms)} ms, {measure} {points(entry.points / 100)}",
            place=places[index],
        )
        for index, (entry, (x, y)) in enumerate(zip(entries, positions_xy, strict=True))
    )


def _narrowest(percent: float) -> float:
    return percent / 100 * NARROWEST_PX


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _steps(front_xy: Sequence[tuple[float, float]]) -> tuple[FrontSegment, ...]:
    """Join the front as what can be had within a latency: level until the next better row, then up."""
    lines = []
    for (x1, y1), (x2, y2) in itertools.pairwise(front_xy):
        lines += [FrontSegment(x1=x1, y1=y1, x2=x2, y2=y1), FrontSegment(x1=x2, y1=y1, x2=x2, y2=y2)]
    x, y = front_xy[-1]
    return (*lines, FrontSegment(x1=x, y1=y, x2=100.0, y2=y))
