"""`edgeseg build-engine`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.bundle.engines import EngineOptions, Precision, Target
from edgeseg.optional import require
from edgeseg.records import json_from_record
from edgeseg.runtime.choice import AUTO, BACKENDS
from edgeseg.tools.console import print_json, print_note, print_pairs, progress_line
from edgeseg.tools.options import force_option, json_option, model_option, record_from_options

from .calibrate import print_report, run_calibration, with_calibration_options

if TYPE_CHECKING:
    from edgeseg.builder.build import BuildConfig, BuildResult
    from edgeseg.bundle.engines import EngineRecord
    from edgeseg.quantisation.calibrate import CalibrationReport

PRECISIONS = tuple(precision.value for precision in reversed(Precision))


@click.command(
    epilog="\b\nExample:\n  edgeseg build-engine --int8 --calib photos/",
)
@click.option("--fp32", is_flag=True, help="Compute in single precision.")
@click.option("--bf16", is_flag=True, help="Compute in bfloat16, on processors that have it (OpenVINO).")
@click.option("--fp16", is_flag=True, help="Compute in half precision, on GPUs.")
@click.option("--int8", is_flag=True, help="Round to 8 bits; needs --calib, or a calibration in the bundle.")
@click.option(
    "--calib",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Calibrate first, on these images. [default: the bundle's calibration.json]",
)
@click.option(
    "--target",
    type=click.Choice(BACKENDS),
    default=AUTO,
    show_default=True,
    help="What is to run the engine; auto takes the fastest that runs here.",
)
@click.option(
    "--machine",
    type=click.Choice(("x86_64", "aarch64")),
    help="Processors that an engine of onnxruntime is for, any of that kind. [default: this one]",
)
@click.option(
    "--compute-capability",
    "compute_capabilities",
    multiple=True,
    metavar="SM",
    help="GPU that an engine of tensorrt-rtx is for, like SM86; may be repeated. [default: this one's]",
)
@click.option(
    "--workspace-mib",
    type=click.IntRange(1),
    metavar="N",
    help="Most GPU memory for the scratch of one layer. [default: half of what is free]",
)
@click.option("--dla", type=click.IntRange(0), metavar="N", help="Use DLA core N of a Jetson where it can.")
@click.option("--version-compatible", is_flag=True, help="Let later versions of TensorRT load the engine.")
@click.option("--hardware-compatible", is_flag=True, help="Let every GPU from Ampere on run the engine.")
@model_option
@with_calibration_options
@force_option
@json_option
def build_engine(as_json: bool, calib: Path | None, **settings: Any) -> None:
    """Build an engine for this machine, and say which and why.

    It goes into the bundle, and `edgeseg run` then takes it by itself. The options on images and accuracy are
    those of `edgeseg calibrate` and count with --calib only.
    """
    # Not the whole extra: a Jetson, which builds its own engines, has no torch.
    require("onnx", purpose="build an engine")
    from edgeseg.builder.build import build_engine as build
    from edgeseg.builder.build import check_build
    from edgeseg.runtime.targets import engine_weight_bits

    config = _config(settings)
    choice = check_build(config)
    calibration = None
    if calib is not None:
        if choice.precision.value != "int8":
            msg = f"--calib is for --int8, and {choice.precision.value} needs none"
            raise click.UsageError(msg)
        bits = engine_weight_bits(choice.target, config.options)
        calibration = run_calibration({**settings, "calib": calib, "weight_bits": bits}, as_json)
        if not as_json:
            print_report(calibration, as_json)
    with progress_line() as progress:
        built = build(config, progress)
    _print(built, calibration, as_json)


def _config(settings: dict[str, Any]) -> BuildConfig:
    """Take the options that concern the build; the rest is for a calibration."""
    from edgeseg.builder.build import BuildConfig

    chosen = [name for name in PRECISIONS if settings.pop(name)]
    if len(chosen) > 1:
        msg = f"give one of {', '.join(f'--{name}' for name in PRECISIONS)}, got {' '.join(chosen)}"
        raise click.UsageError(msg)
    target = settings.pop("target")
    machine = settings.pop("machine") or ""
    options = record_from_options(EngineOptions, settings, machine=machine)
    return BuildConfig(
        model=settings["model"],
        target=None if target == AUTO else Target(target),
        precision=Precision(chosen[0]) if chosen else None,
        options=options,
        force=settings["force"],
    )


def _print(built: BuildResult, calibration: CalibrationReport | None, as_json: bool) -> None:
    record = built.engine.record
    if record.not_on_dla:
        print_note(f"the GPU computes {len(record.not_on_dla)} layers for DLA; `edgeseg inspect` lists them")
    if as_json:
        data = {
            "engine": str(built.engine.path),
            "other_sizes": [str(engine.path) for engine in built.other_sizes],
            "reason": built.reason,
            **json_from_record(record),
        }
        if calibration is not None:
            data["calibration"] = json_from_record(calibration)
        print_json(data)
        return
    print_pairs("", _facts(built, record))


def _facts(built: BuildResult, record: EngineRecord) -> list[tuple[str, str]]:
    kind = f"{record.backend.value} {record.backend_version}, {record.precision.value.upper()}"
    gpus = record.gpu.name if record.gpu else " ".join(record.options.compute_capabilities)
    in_int8 = sum(kind == "int8" for kind in record.layers.values())
    size = f"{record.file.size / 1e6:.1f} MB" if record.file else "the bundle's graph as it is"
    facts = [
        *(("engine", str(engine.path)) for engine in (built.engine, *built.other_sizes)),
        ("for", f"{kind}, {gpus or record.options.processor}"),
        ("because", built.reason),
        ("size", size),
        ("in INT8", f"{in_int8} of {len(record.layers)} layers" if in_int8 else ""),
        ("built in", f"{record.build_s:.1f} s"),
    ]
    return [(name, value) for name, value in facts if value]
