"""`edgeseg inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgeseg.tools.options import json_option, model_option

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.bundle.engines import EngineRecord
    from edgeseg.graphs.contents import BundleInfo, GraphInfo
    from edgeseg.runtime.engine_report import EngineInfo
    from edgeseg.spec import ModelSpec

NAMES_SHOWN = 8
OPERATORS_SHOWN = 8
KERNELS_SHOWN = 16


@click.command(epilog="\b\nExample:\n  edgeseg inspect --model edgeseg-model")
@model_option
@click.option("--engine", metavar="NAME", help="Show this engine of the bundle, such as tensorrt-int8.")
@json_option
def inspect(model: Path, engine: str | None, as_json: bool) -> None:
    """Show what a bundle contains, how it was proven, and its engines.

    Every file is checked against the hash that it was exported with. Inputs, outputs and operators of the
    graphs are shown where the package onnx is installed; with ONNX Runtime alone, inputs and outputs.
    """
    from edgeseg.bundle.manifest import open_bundle
    from edgeseg.errors import ArtifactError
    from edgeseg.graphs.contents import read_bundle
    from edgeseg.records import json_from_record
    from edgeseg.runtime.engine_report import engine_names, read_engine
    from edgeseg.tools.console import print_json, print_note
    from edgeseg.tools.parity_table import input_sizes, print_parity_reports

    bundle = open_bundle(model)
    if engine is not None:
        found = read_engine(bundle, engine)
        if as_json:
            print_json(json_from_record(found))
        else:
            _print_engine(found)
        return
    info = read_bundle(bundle)
    engines = []
    for name in engine_names(model):
        try:
            engines.append(read_engine(bundle, name))
        except ArtifactError as exc:
            print_note(str(exc))
    if as_json:
        print_json(
            {
                **json_from_record(info),
                "other_sizes": [json_from_record(each.spec) for each in bundle.other_sizes],
                "engines": [json_from_record(item) for item in engines],
            }
        )
    else:
        _print(info, input_sizes(bundle))
        print_parity_reports(bundle)
        _print_engines(engines)


def _print(info: BundleInfo, sizes: str) -> None:
    from edgeseg.tools.console import print_note, print_pairs, print_table
    from edgeseg.tools.settings_table import print_settings

    print_pairs(info.path, _facts(info.spec, sizes))
    files = [(name, f"{record.size / 1e6:.1f} MB", record.sha256[:12]) for name, record in info.files.items()]
    print_table("Files, whole and unaltered", ("file", "size", "SHA-256 begins"), files)
    for name, graph in info.graphs.items():
        print_pairs(name, _graph_facts(graph))
    if info.unread is not None:
        print_note(f"graphs are not shown: {info.unread}")
    print_settings(info.spec, all_of_them=True)


def _facts(spec: ModelSpec, sizes: str) -> list[tuple[str, str]]:
    names = spec.class_names[1:]
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return [
        ("architecture", spec.architecture),
        ("checkpoint", f"{spec.checkpoint} (SHA-256 {spec.checkpoint_sha256[:12]})"),
        ("classes", f"{len(names)}: {', '.join(names[:NAMES_SHOWN])}{more}"),
        ("input", f"{sizes}, batch {spec.batch}"),
        ("detections", f"at most {spec.max_detections} an image, score above {spec.score_threshold}"),
        ("overlap in NMS", str(spec.nms_threshold)),
        ("proposals", f"{spec.max_proposals}, then at most {spec.max_candidates} candidates in the last NMS"),
        ("normalisation", _normalisation(spec)),
        ("made with", ", ".join(f"{name} {version}" for name, version in spec.versions.items())),
    ]


def _normalisation(spec: ModelSpec) -> str:
    preprocess = spec.preprocess
    if preprocess.gray:
        return f"mean {preprocess.mean_rgb[0]}, std {preprocess.std_rgb[0]} of brightness in [0, 1]"
    return f"mean {preprocess.mean_rgb}, std {preprocess.std_rgb} of RGB in [0, 1]"


def _graph_facts(graph: GraphInfo) -> list[tuple[str, str]]:
    facts = [("input", str(port)) for port in graph.inputs] + [
        ("output", str(port)) for port in graph.outputs
    ]
    if graph.operators is None:
        return [*facts, ("operators", "not counted: onnx is not installed")]
    most = [f"{count} {name}" for name, count in list(graph.operators.items())[:OPERATORS_SHOWN]]
    more = ", ..." if len(graph.operators) > OPERATORS_SHOWN else ""
    return [
        *facts,
        ("opset", str(graph.opset)),
        ("nodes", f"{graph.nodes}, of {len(graph.operators)} operators: {', '.join(most)}{more}"),
    ]


def _print_engines(engines: list[EngineInfo]) -> None:
    from edgeseg.tools.console import print_table

    if engines:
        rows = [(item.name, _size(item.record), "yes" if not item.unfit else item.unfit) for item in engines]
        print_table("Engines", ("engine", "size", "runs here"), rows)


def _print_engine(info: EngineInfo) -> None:
    from edgeseg.tools.console import print_note, print_pairs, print_table

    print_pairs(info.path, _engine_facts(info))
    if info.kernels:
        rows = [(item.kind, item.reads, str(item.count)) for item in info.kernels[:KERNELS_SHOWN]]
        print_table("Kernels", ("kind", "reads", "number"), rows)
        if (more := len(info.kernels) - KERNELS_SHOWN) > 0:
            print_note(f"and {more} more kinds; --json lists every kernel")


def _engine_facts(info: EngineInfo) -> list[tuple[str, str]]:
    record, options = info.record, info.record.options
    built_for = record.gpu.name if record.gpu else " ".join(options.compute_capabilities)
    settings = [
        f"workspace {options.workspace_mib} MiB" if options.workspace_mib else "",
        f"DLA core {options.dla}" if options.dla is not None else "",
        "version compatible" if options.version_compatible else "",
        "hardware compatible" if options.hardware_compatible else "",
    ]
    layers = ", ".join(f"{count} in {kind}" for kind, count in info.layers_by_type.items())
    facts = [
        ("runs here", info.unfit or "yes"),
        ("backend", f"{record.backend.value} {record.backend_version}, {record.precision.value.upper()}"),
        ("built for", f"{options.processor} {built_for}".strip()),
        ("driver", record.gpu.driver if record.gpu else ""),
        ("settings", ", ".join(filter(None, settings))),
        ("size", _size(record)),
        ("built in", f"{record.build_s:.1f} s"),
        ("graph", f"{record.graph} (SHA-256 {record.graph_sha256[:12]})"),
        ("calibration", f"SHA-256 {record.calibration_sha256[:12]}" if record.calibration_sha256 else ""),
        ("layers", layers),
        ("not in INT8", ", ".join(info.not_int8)),
        ("of these spared", ", ".join(record.float_layers)),
        ("only rounding", f"{info.rounding} kernels" if info.rounding else ""),
        ("not on DLA", ", ".join(record.not_on_dla)),
    ]
    return [(name, value) for name, value in facts if value]


def _size(record: EngineRecord) -> str:
    return f"{record.file.size / 1e6:.1f} MB" if record.file else f"{record.graph} as it is"
