"""The page as a whole: what goes into the template, and the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeseg.files.records import write_atomically
from edgeseg.optional import require

from . import charts, columns, facts, formatting, strips
from .images import MOST_NAMED, galleries, read_images
from .scatter import scatters

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from edgeseg.benchmark.report import BenchmarkReport

TEMPLATE = "page.html.jinja"
# A folder of thousands of broken images is told by its first.
MOST_SKIPPED = 20


def write_page(
    report: BenchmarkReport, path: Path, *, images: Mapping[int, NDArray[np.uint8]] | None = None
) -> None:
    """Write a report as one HTML file, whole or not at all; a file that is there is replaced.

    Args:
        report: What was measured.
        path: File to write; its folder is made.
        images: `ShownImage.image_id` to `uint8[H, W, 3]` BGR; one that is not among them is named on the page
            and not shown. None for what `read_images` finds where the benchmark read them.

    Raises:
        DependencyError: jinja2 is not installed.
        InputError: An image is of another size than the one that was measured.
        ArtifactError: A row's detections cannot be drawn.
        EdgeSegError: The file could not be written.
    """
    text = page_from_report(report, read_images(report) if images is None else images)
    # A file name may hold bytes that are no text.
    write_atomically(path, text.encode(errors="backslashreplace"))


def page_from_report(report: BenchmarkReport, images: Mapping[int, NDArray[np.uint8]]) -> str:
    """Render the page; see `write_page`."""
    jinja2 = require("jinja2", purpose="write the page of a benchmark")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=formatting.number, plain=formatting.tick, size=formatting.size)
    return str(environment.get_template(TEMPLATE).render(_content(report, images)))


def _content(report: BenchmarkReport, images: Mapping[int, NDArray[np.uint8]]) -> dict[str, Any]:
    rows = report.rows
    return {
        "report": report,
        "date": facts.format_date(report.date),
        "most_dots": strips.MOST_DOTS,
        "most_named": MOST_NAMED,
        "most_skipped": MOST_SKIPPED,
        "baseline": report.row(report.baseline) if report.baseline else None,
        "findings": facts.findings(report),
        "absent": facts.absent_labels(report),
        "settings": facts.settings(report),
        "machine": facts.machine(report),
        "quiet": facts.quiet(report),
        "table": columns.main_table(rows, report.baseline),
        "starts": columns.start_table(rows),
        "agreements": columns.agreement_table(rows),
        "classes": columns.class_table(rows),
        "ratios": charts.ratio_chart(report),
        "latencies": strips.latency_chart(rows),
        "spreads": strips.spread_chart(rows),
        "stages": charts.stage_chart(rows),
        "memories": charts.memory_chart(rows),
        "files": charts.file_chart(rows),
        "compute": charts.compute_chart(rows),
        "scatters": scatters(rows),
        "counted": next((row.accuracy for row in rows if row.accuracy), None),
        "reference_label": facts.reference_label(report),
        "galleries": galleries(report, images),
    }
