"""The kernels of a built engine, from what each backend reports about it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from edgeseg.bundle.engines import Kernel
from edgeseg.graphs.layers import LayerGraph

if TYPE_CHECKING:
    from collections.abc import Iterable

# How the builder's message begins, and how a line of it reads, in TensorRT for RTX 1.7.
LIST_PREFIX = "Layers:"
LINE_PATTERN = re.compile(
    r"Name: (?P<name>.+?), LayerType: (?P<kind>\w+), Inputs: (?P<inputs>\[.*?\]), "
    r"(?:Constants: (?P<constants>\[.*?\]), )?Outputs: (?P<outputs>\[.*?\]), TacticName: .*?"
    r"(?:Metadata: (?P<nodes>.*))?$"
)
TYPE_PATTERN = re.compile(r"Datatype: (\w+)")
NODE_PATTERN = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
TYPE_WORD_PATTERN = re.compile(r"\b(U?Int(8|32|64)|FP(8|16|32)|BF16|Half|Float|Bool)\b", re.IGNORECASE)
# TensorRT's words for types, in its list and in the format of its inspector.
TYPE_NAMES = {"half": "float16", "fp16": "float16", "float": "float32", "fp32": "float32", "bf16": "bfloat16"}
INT8 = ("int8", "uint8")


def multiplies_int8(kernel: Kernel) -> bool:
    """Whether it takes 8-bit values and 8-bit weights: a product of integers."""
    return any(kind in INT8 for kind in kernel.inputs) and any(kind in INT8 for kind in kernel.constants)


def int8_nodes(kernels: Iterable[Kernel]) -> frozenset[str]:
    """Name the ONNX nodes that are computed as products of 8-bit integers."""
    return frozenset(node for kernel in kernels if multiplies_int8(kernel) for node in kernel.nodes)


def layer_types(model: Any, kernels: Iterable[Kernel], default_precision: str) -> dict[str, str]:
    """Say of each convolution and dense layer of a graph what it computes in.

    Args:
        model: The ONNX graph before it was built.
        kernels: What was built from it; none says nothing.
        default_precision: Precision of what is not `int8`.
    """
    kernels = tuple(kernels)
    if not kernels:
        return {}
    int8_nodes_found = int8_nodes(kernels)
    named = {layer.name: {layer.node.name, f"{layer.name}.sums"} for layer in LayerGraph(model).layers}
    return {name: "int8" if nodes & int8_nodes_found else default_precision for name, nodes in named.items()}


def kernels_from_log(messages: Iterable[str]) -> tuple[Kernel, ...]:
    """Read the list of kernels out of the messages of TensorRT for RTX; empty where it gave none."""
    lines = [line for message in messages if message.startswith(LIST_PREFIX) for line in message.splitlines()]
    return tuple(_from_line(found) for found in map(LINE_PATTERN.match, lines) if found)


def kernels_from_inspector(information: str) -> tuple[Kernel, ...]:
    """Read what TensorRT's engine inspector tells as JSON; empty where it was built without detail."""
    layers = json.loads(information).get("Layers", [])
    return tuple(_from_layer(layer) for layer in layers if isinstance(layer, dict))


def _from_line(found: re.Match[str]) -> Kernel:
    types = {
        key: _types(TYPE_PATTERN.findall(found[key] or "")) for key in ("inputs", "constants", "outputs")
    }
    nodes = tuple(NODE_PATTERN.findall(found["nodes"] or ""))
    return Kernel(name=found["name"], kind=found["kind"], nodes=nodes, **types)


def _from_layer(layer: dict[str, Any]) -> Kernel:
    inputs, outputs = (_types(map(_type_of, layer.get(key, []))) for key in ("Inputs", "Outputs"))
    weights = layer.get("Weights", {})
    constants = _types([weights["Type"]]) if isinstance(weights, dict) and "Type" in weights else ()
    return Kernel(
        name=str(layer.get("Name", "")),
        kind=str(layer.get("LayerType", "unknown")),
        inputs=inputs,
        constants=constants,
        outputs=outputs,
        nodes=tuple(NODE_PATTERN.findall(str(layer.get("Metadata", "")))),
    )


def _type_of(port: dict[str, Any]) -> str:
    # Such as "Row major Int8 format" or "Channel major FP16 format where channel % 8 == 0".
    found = TYPE_WORD_PATTERN.search(str(port.get("Format/Datatype", port.get("Datatype", ""))))
    return found[0] if found else "unknown"


def _types(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(TYPE_NAMES.get(word.lower(), word.lower()) for word in words)
