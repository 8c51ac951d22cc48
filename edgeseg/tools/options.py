"""Options that several verbs share, so that they are called and described alike."""

from __future__ import annotations

from pathlib import Path

import click

from edgeseg.bundle.manifest import DEFAULT_PATH

model_option = click.option(
    "--model",
    type=click.Path(path_type=Path),
    default=DEFAULT_PATH,
    show_default=True,
    help="Bundle that `edgeseg export` wrote.",
)
# Written out, as importing the runtime would take longer than a help page may.
backend_option = click.option(
    "--backend",
    type=click.Choice(("auto", "tensorrt", "tensorrt-rtx", "openvino", "onnxruntime")),
    default="auto",
    show_default=True,
    help="What computes.",
)
bit_depth_option = click.option(
    "--bit-depth",
    type=click.IntRange(8, 16),
    metavar="N",
    help="Bit depth of the camera, for images of more than 8 bits. [default: found for each image]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
force_option = click.option("--force", is_flag=True, help="Replace what is already there.")
