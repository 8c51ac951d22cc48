"""`edgeseg demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeseg.demo.config import DemoConfig
from edgeseg.optional import require_extra
from edgeseg.records import json_from_record
from edgeseg.tools.console import print_json, print_pairs, print_table, progress_line
from edgeseg.tools.options import default_of, force_option, json_option
from edgeseg.tools.parity_table import print_parity

if TYPE_CHECKING:
    from edgeseg.demo.show import DemoReport


@click.command(epilog="\b\nExample:\n  edgeseg demo")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder for all that it makes. [default: edgeseg-demo, or edgeseg-demo-2 and so on where there are "
    "demos already]",
)
@click.option(
    "--frames",
    type=click.IntRange(1),
    default=default_of(DemoConfig, "frames"),
    show_default=True,
    help="Length of the clip.",
)
@click.option(
    "--scored",
    type=click.IntRange(1),
    default=default_of(DemoConfig, "scored"),
    show_default=True,
    help="Unseen scenes to measure on.",
)
@force_option
@json_option
def demo(output: Path | None, frames: int, scored: int, force: bool, as_json: bool) -> None:
    """Export and run a shipped model on a synthetic conveyor belt.

    Needs no network, no GPU and no data: the belt is rendered, its truth is exact, and the model was trained
    on other scenes of it. Writes the bundle, a clip, the clip with what was found, a picture, and prints how
    good it is.
    """
    for extra in ("export", "cpu"):
        require_extra(extra, purpose="run the demo")
    from edgeseg.demo.show import run_demo

    config = DemoConfig(output=output, frames=frames, scored=scored, force=force)
    with progress_line() as progress:
        bundle, report = run_demo(config, progress)
    if as_json:
        print_json({"parity": json_from_record(bundle.spec)["parity"], **json_from_record(report)})
        return
    if bundle.spec.parity is not None:
        print_parity(bundle.spec.parity)
    _print_scores(report)
    print_pairs(
        "",
        [
            ("bundle", str(bundle.path)),
            ("clip", f"{report.clip.frames} frames, {report.clip.stages_ms['infer']:.0f} ms each to compute"),
            ("computed by", report.clip.computed_by),
            *report.clip.outputs.items(),
            ("picture", report.picture),
        ],
    )


def _print_scores(report: DemoReport) -> None:
    rows = [(row.name, str(row.present), str(row.found), f"{row.mask_ap:.3f}") for row in report.classes]
    title = (
        f"{report.scored} unseen scenes: mask AP50 {report.mask_ap50:.3f}, mask AP {report.mask_ap:.3f}, "
        f"box AP {report.box_ap:.3f}"
    )
    print_table(title, ("class", "present", "found above 0.5", "mask AP"), rows)
