"""The parity report as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeseg.spec import BUILT_IN

from .console import print_note, print_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.spec import ModelSpec, ParityReport

# Of objects that are annotated beside the images, PyTorch must find a few for its settings to be plausible.
MIN_ANNOTATED = 5
MIN_FOUND_SHARE = 0.2
WRONG_SETTING_HINT = (
    "a setting is probably not as in training; `edgeseg inspect` lists those that were assumed"
)
COLUMNS = ("graph", "images", "PyTorch found", "matched", "missing", "extra", "box px", "score", "mask IoU")


def print_parity_reports(bundle: Bundle) -> None:
    """Print the parity report of each input size, and what makes it worth less than it looks."""
    for each in bundle.sizes:
        if each.spec.parity is not None:
            height, width = each.spec.input_size_hw
            print_parity(each.spec.parity, f" at {height}x{width}" if bundle.other_sizes else "")
    for remark in dict.fromkeys(remark for each in bundle.sizes for remark in parity_remarks(each.spec)):
        print_note(remark)


def input_sizes(bundle: Bundle) -> str:
    """Write the input sizes of a bundle for people: `800 x 1344 and 1344 x 800`."""
    return " and ".join("{} x {}".format(*each.spec.input_size_hw) for each in bundle.sizes)


def print_parity(report: ParityReport, at: str = "") -> None:
    """Print one row a graph: what PyTorch found on real images, and how far the graph is from it."""
    rows = [
        (
            row.lowering.file_name,
            str(row.images),
            str(row.reference_detections),
            str(row.matched),
            str(row.missing),
            str(row.extra),
            f"{row.max_box_error_px:.4f}",
            f"{row.max_score_error:.6f}",
            f"{row.min_mask_iou:.4f}",
        )
        for row in report.rows
    ]
    verdict = "passed" if report.passed else "FAILED"
    title = f"Parity with PyTorch{at} above a score of {report.score_threshold}: {verdict}"
    print_table(title, COLUMNS, rows)


def parity_remarks(spec: ModelSpec) -> Iterator[str]:
    """Say what is odd about the checkpoint, and what makes a passed gate worth less."""
    yield from spec.remarks
    report = spec.parity
    if report is None:
        yield "the graphs were not compared with PyTorch (--no-parity)"
        return
    if not report.rows[0].reference_detections:
        yield "PyTorch found nothing on these images, so little was proven: pass --check with images of yours"
    elif report.confident == 0 and report.image_source != BUILT_IN:
        yield (
            f"PyTorch is sure of nothing (no score above 0.5) on the images in {report.image_source}: if "
            f"they show what the model was trained to find, {WRONG_SETTING_HINT}"
        )
    if report.annotated >= MIN_ANNOTATED and report.annotated_found < MIN_FOUND_SHARE * report.annotated:
        yield (
            f"PyTorch finds {report.annotated_found} of {report.annotated} objects that are annotated in "
            f"{report.image_source}: {WRONG_SETTING_HINT}"
        )
    if report.most_candidates > spec.max_candidates:
        yield (
            f"one image had {report.most_candidates} candidates above the threshold and the graph takes "
            f"{spec.max_candidates}; raise --score-threshold if detections are missing"
        )
