"""`edgeseg build-engine`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..optional import require_extra
from ..record import json_from_record
from .calibrate import print_report, run_calibration, with_calibration_options
from .console import print_json, print_pairs, progress_line
from .options import force_option, json_option, model_option

if TYPE_CHECKING:
    from ..engines import Engine


@click.command(
    epilog="\b\nExample:\n  edgeseg build-engine --int8 --calib photos/",
)
@click.option("--int8", is_flag=True, required=True, help="Round to 8 bits.")
@click.option(
    "--calib",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Calibrate first, on these images. [default: the bundle's calibration.json]",
)
@click.option(
    "--machine",
    type=click.Choice(("x86_64", "aarch64")),
    help="Processor that the engine is for. [default: this machine's]",
)
@model_option
@with_calibration_options
@force_option
@json_option
def build_engine(int8: bool, calib: Path | None, machine: str | None, as_json: bool, **settings: Any) -> None:
    """Build the INT8 engine of ONNX Runtime for this machine.

    It goes into the bundle, and `edgeseg run` then takes it by itself. The options on images and accuracy are
    those of `edgeseg calibrate` and count with --calib only.
    """
    for extra in ("export", "cpu"):
        require_extra(extra, purpose="build an engine")
    from ..exporter.build import BuildConfig, check_engine_target
    from ..exporter.build import build_engine as build

    config = BuildConfig(model=settings["model"], machine=machine, force=settings["force"])
    check_engine_target(config)
    if calib is not None:
        report = run_calibration({**settings, "calib": calib}, as_json)
        if not as_json:
            print_report(report, as_json)
    with progress_line() as progress:
        engine = build(config, progress)
    _print(engine, as_json)


def _print(engine: Engine, as_json: bool) -> None:
    record = engine.record
    if as_json:
        print_json({"engine": str(engine.path), **json_from_record(record)})
        return
    print_pairs(
        "",
        [
            ("engine", str(engine.path)),
            ("for", f"ONNX Runtime on {record.machine}, {record.precision.upper()}"),
            ("size", f"{record.file.size / 1e6:.1f} MB"),
            ("built in", f"{record.build_s:.1f} s"),
        ],
    )
