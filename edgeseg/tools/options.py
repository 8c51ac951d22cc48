"""Options that several verbs share, so that they are called and described alike."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from edgeseg.bundle.manifest import DEFAULT_PATH
from edgeseg.runtime.choice import BACKENDS, EngineChoice

RecordT = TypeVar("RecordT")


def default_of(record: type[Any], name: str) -> Any:
    """Give the default of a record's field, so that its option has the same.

    Only for records whose modules import nothing heavy: a help page must be fast. For others the option
    repeats the default, and a test compares the two.
    """
    return next(field.default for field in fields(record) if field.name == name)


def record_from_options(kind: type[RecordT], settings: dict[str, Any], **given: Any) -> RecordT:
    """Take what belongs to a record out of the options, and make it.

    Args:
        kind: The record; its fields are called as the options are.
        settings: Values of options; those that it takes are removed.
        given: Fields that are no option as they are.
    """
    names = [field.name for field in fields(kind) if field.name in settings]  # type: ignore[arg-type]
    return kind(**{name: settings.pop(name) for name in names}, **given)


model_option = click.option(
    "--model",
    type=click.Path(path_type=Path),
    default=DEFAULT_PATH,
    show_default=True,
    help="Bundle that `edgeseg export` wrote.",
)
backend_option = click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default=default_of(EngineChoice, "backend"),
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
