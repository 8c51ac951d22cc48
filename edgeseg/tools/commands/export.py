"""`edgeseg export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.exporter.config import ExportConfig
from edgeseg.exporter.profiles import Profile
from edgeseg.optional import require_extra
from edgeseg.records import json_from_record
from edgeseg.tools.console import print_json, print_note, print_pairs, progress_line
from edgeseg.tools.options import default_of, force_option, json_option
from edgeseg.tools.parity_table import input_sizes, print_parity, print_parity_reports
from edgeseg.tools.settings_table import print_settings

if TYPE_CHECKING:
    from edgeseg.bundle.manifest import Bundle
    from edgeseg.spec import ParityReport


@click.command(
    epilog="\b\nExample:\n  edgeseg export model.pth --size 480 640 --classes names.txt --check photos/",
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=default_of(ExportConfig, "output"),
    show_default=True,
    help="Folder of the bundle.",
)
@click.option(
    "--profile",
    type=click.Choice([profile.value for profile in Profile]),
    default=default_of(ExportConfig, "profile").value,
    show_default=True,
    help="Size, proposals and detections by one name: accurate is torchvision's own; balanced takes fewer "
    "proposals, which is hardly less accurate; fast a smaller input and fewer detections too, which costs "
    "accuracy where objects are small. What is given besides wins.",
)
@click.option(
    "--size",
    "sizes_hw",
    type=(int, int),
    multiple=True,
    metavar="H W",
    help="Input height and width, multiples of 32; frames are letterboxed into it. It must hold images at "
    "the scale of training. May be repeated, for instance once for landscape and once for upright frames: "
    "each frame is then computed at the size that shows it largest. [default: what the checkpoint says, else "
    "800 1344; the profile's share of it]",
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=default_of(ExportConfig, "batch"),
    show_default=True,
    help="Images a call; fixed in the graph.",
)
@click.option(
    "--classes",
    type=click.Path(path_type=Path),
    help="Class names: text, one a line, or JSON. [default: the checkpoint's own, COCO's, or class_N]",
)
@click.option(
    "--detections",
    "max_detections",
    type=click.IntRange(1),
    help="Most detections an image. [default: the model's, 100, or the profile's]",
)
@click.option(
    "--proposals",
    "max_proposals",
    type=click.IntRange(1),
    help="Boxes the second stage looks at. [default: the model's, 1000, or the profile's]",
)
@click.option(
    "--score-threshold",
    type=click.FloatRange(0, 1),
    help="Lowest score that leaves the graph. [default: the model's, 0.05]",
)
@click.option(
    "--nms-threshold",
    type=click.FloatRange(0, 1),
    help="Overlap above which the weaker box goes. [default: the model's, 0.5]",
)
@click.option(
    "--settings",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="JSON file with settings that neither tensors nor the checkpoint show, such as image_mean or "
    "anchor_sizes; docs/checkpoints.md lists them. [default: the checkpoint's, else torchvision's]",
)
@click.option("--factory", metavar="MODULE:FUNCTION", help="Function that builds the model.")
@click.option(
    "--check",
    type=click.Path(path_type=Path),
    help="Folder of images for the parity gate. [default: built-in photographs]",
)
@click.option(
    "--parity/--no-parity",
    default=default_of(ExportConfig, "parity"),
    show_default=True,
    help="Prove the graphs equal to PyTorch.",
)
@force_option
@json_option
def export(as_json: bool, **settings: Any) -> None:
    """Turn a trained checkpoint into a bundle, proven equal to PyTorch.

    CHECKPOINT is a file with the weights of a torchvision Mask R-CNN, best one that
    `edgeseg.save_checkpoint` wrote. Architecture and number of classes are read from the shapes of its
    tensors, other settings from what the file says; what it does not say is assumed and listed. Exit code 3:
    a graph finds something else than PyTorch does.
    """
    for extra in ("export", "cpu"):
        require_extra(extra, purpose="export a checkpoint")
    from edgeseg.exporter.export import export as export_checkpoint
    from edgeseg.exporter.parity.check import GraphParityError

    config = ExportConfig(**{**settings, "profile": Profile(settings["profile"])})
    try:
        with progress_line() as progress:
            bundle = export_checkpoint(config, progress, print_note)
    except GraphParityError as failure:
        _print_failure(failure.report, as_json)
        raise
    _print_bundle(bundle, as_json)


def _print_failure(report: ParityReport, as_json: bool) -> None:
    if as_json:
        print_json({"bundle": None, "parity": json_from_record(report)})
    else:
        print_parity(report)


def _print_bundle(bundle: Bundle, as_json: bool) -> None:
    spec = bundle.spec
    if as_json:
        others = [json_from_record(each.spec) for each in bundle.other_sizes]
        print_json({"bundle": str(bundle.path), **json_from_record(spec), "other_sizes": others})
        return
    print_settings(spec, all_of_them=False)
    print_parity_reports(bundle)
    facts = [
        ("bundle", str(bundle.path)),
        ("architecture", spec.architecture),
        ("classes", ", ".join(spec.class_names[1:6]) + (", ..." if len(spec.class_names) > 6 else "")),
        ("input", f"{spec.batch} x {input_sizes(bundle)}"),
        *(
            (name, f"{record.size / 1e6:.1f} MB")
            for name, record in bundle.files.items()
            if name.endswith(".onnx")
        ),
    ]
    print_pairs("", facts)
