"""Columns of the page's tables; one in which no row has a figure is left out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edgeseg.benchmark.row import Row

from .formatting import NOTHING, TIMES, interval, number, points, times

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        head: Its name.
        unit: Below the name; may be empty.
        cells: One for each row of the table.
    """

    head: str
    unit: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of the report and what is known of each."""

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]


Cell = tuple[str, str, "Callable[[Row], str]"]


def main_table(rows: Sequence[Row], baseline: str | None) -> Table:
    """Tabulate what decides between rows; all rows are in it.

    Args:
        rows: Of the report.
        baseline: Name of the row that ratios refer to.
    """
    return _table(
        rows,
        [
            ("Median", "ms", lambda row: number(row.latency.p50_ms if row.latency else None)),
            ("p90", "ms", lambda row: number(row.latency.p90_ms if row.latency else None)),
            ("p99", "ms", lambda row: number(row.latency.p99_ms if row.latency else None)),
            ("Times as fast", "95 % interval", partial(_speed, baseline)),
            ("Images", "a second", lambda row: number(row.images_per_s)),
            (
                "With callers",
                "images a second",
                lambda row: number(row.concurrent.images_per_s if row.concurrent else None),
            ),
            ("Box AP", "points", lambda row: points(row.accuracy.box_ap if row.accuracy else None)),
            ("Mask AP", "points", lambda row: points(row.accuracy.mask_ap if row.accuracy else None)),
            ("Cost", "per million", lambda row: number(row.cost_per_million)),
            ("Energy", "J an image", lambda row: number(row.energy_j)),
        ],
    )


def start_table(rows: Sequence[Row]) -> Table | None:
    """Tabulate what it takes to begin; None where nothing is known."""
    known = [row for row in rows if row.startup is not None]
    if not known:
        return None
    return _table(
        known,
        [
            ("Load", "ms", lambda row: number(row.startup.load_ms if row.startup else None)),
            ("First call", "ms", lambda row: number(row.startup.first_ms if row.startup else None)),
            (
                "GPU memory",
                "MiB",
                lambda row: number(row.startup.device_memory_mib if row.startup else None),
            ),
        ],
    )


def agreement_table(rows: Sequence[Row]) -> Table | None:
    """Tabulate how far rows find what the reference finds; None where nothing was compared."""
    known = [row for row in rows if row.agreement is not None]
    if not known:
        return None
    return _table(
        known,
        [
            ("Found too", "", _matched),
            ("Extra", "", lambda row: str(row.agreement.extra) if row.agreement else NOTHING),
            (
                "Box differs by",
                "px, median",
                lambda row: number(row.agreement.box_px if row.agreement else None),
            ),
            ("Mask IoU", "median", lambda row: _overlap(row.agreement.mask_iou if row.agreement else None)),
            (
                "Mask IoU",
                "5th percentile",
                lambda row: _overlap(row.agreement.mask_iou_p5 if row.agreement else None),
            ),
        ],
    )


def class_table(rows: Sequence[Row]) -> Table | None:
    """Tabulate mask AP by class; None with fewer than two classes, which the main table covers."""
    known = [row for row in rows if row.accuracy is not None]
    names = {name: None for row in known if row.accuracy for name in row.accuracy.mask_ap_by_class}
    if len(names) < 2:
        return None
    return _table(known, [(name, "", partial(_class_points, name)) for name in names])


def _class_points(name: str, row: Row) -> str:
    return points(row.accuracy.mask_ap_by_class.get(name) if row.accuracy else None)


def _speed(baseline: str | None, row: Row) -> str:
    if row.name == baseline:
        return f"1{TIMES}"
    ends = interval(row.ratio)
    return times(row.ratio) + (f" ({ends})" if ends else "")


def _matched(row: Row) -> str:
    return f"{row.agreement.matched} of {row.agreement.expected}" if row.agreement else NOTHING


def _overlap(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"


def _table(rows: Sequence[Row], cells: Sequence[Cell]) -> Table:
    columns = (Column(head=head, unit=unit, cells=tuple(map(cell, rows))) for head, unit, cell in cells)
    filled = tuple(column for column in columns if any(cell != NOTHING for cell in column.cells))
    return Table(rows=tuple(rows), columns=filled)
