"""`edgeseg inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import json_option, model_option

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.exporter.graphinfo import BundleInfo, GraphInfo
    from edgeseg.spec import ModelSpec

NAMES_SHOWN = 8
OPERATORS_SHOWN = 8


@click.command(epilog="\b\nExample:\n  edgeseg inspect --model edgeseg-model")
@model_option
@json_option
def inspect(model: Path, as_json: bool) -> None:
    """Show what a bundle contains and how it was proven.

    Every file is checked against the hash that it was exported with. Inputs, outputs and operators of the
    graphs are shown where the package onnx is installed; with ONNX Runtime alone, inputs and outputs.
    """
    from edgeseg.bundle import open_bundle
    from edgeseg.exporter.graphinfo import read_bundle
    from edgeseg.record import json_from_record

    from .console import print_json

    info = read_bundle(open_bundle(model))
    if as_json:
        print_json(json_from_record(info))
    else:
        _print(info)


def _print(info: BundleInfo) -> None:
    from .console import print_note, print_pairs, print_table
    from .parity import print_parity, print_remarks

    print_pairs(info.path, _facts(info.spec))
    sizes = [(name, f"{record.size / 1e6:.1f} MB", record.sha256[:12]) for name, record in info.files.items()]
    print_table("Files, whole and unaltered", ("file", "size", "SHA-256 begins"), sizes)
    for name, graph in info.graphs.items():
        print_pairs(name, _graph_facts(graph))
    if info.unread is not None:
        print_note(f"graphs are not shown: {info.unread}")
    if info.spec.parity is not None:
        print_parity(info.spec.parity)
    print_remarks(info.spec)


def _facts(spec: ModelSpec) -> list[tuple[str, str]]:
    names = spec.class_names[1:]
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    height, width = spec.input_size_hw
    return [
        ("architecture", spec.architecture),
        ("checkpoint", f"{spec.checkpoint} (SHA-256 {spec.checkpoint_sha256[:12]})"),
        ("classes", f"{len(names)}: {', '.join(names[:NAMES_SHOWN])}{more}"),
        ("input", f"{height} x {width}, batch {spec.batch}"),
        ("detections", f"at most {spec.max_detections} an image, score above {spec.score_threshold}"),
        ("overlap in NMS", str(spec.nms_threshold)),
        ("proposals", f"{spec.max_proposals}, then at most {spec.max_candidates} candidates in the last NMS"),
        ("normalisation", f"mean {spec.preprocess.mean_rgb}, std {spec.preprocess.std_rgb} of RGB in [0, 1]"),
        ("made with", ", ".join(f"{name} {version}" for name, version in spec.versions.items())),
    ]


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
