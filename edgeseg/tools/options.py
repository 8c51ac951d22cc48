"""Options that several verbs share, so that they are called and described alike."""

from __future__ import annotations

from pathlib import Path

import click

from edgeseg.bundle import DEFAULT_PATH

model_option = click.option(
    "--model",
    type=click.Path(path_type=Path),
    default=DEFAULT_PATH,
    show_default=True,
    help="Bundle that `edgeseg export` wrote.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
force_option = click.option("--force", is_flag=True, help="Replace what is already there.")
