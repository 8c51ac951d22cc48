"""What OpenVINO computes a graph with, as the graph that it compiled tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeseg.bundle.engines import Kernel
from edgeseg.runtime.backends.openvino import OpenVinoBackend

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.spec import ModelSpec

CONSTANT = "Const"
# What holds values and computes nothing.
PORTS = (CONSTANT, "Input", "Output")
TYPES = {"bf": "bfloat", "f": "float", "i": "int", "u": "uint"}


def openvino_kernels(graph: Path, spec: ModelSpec, precision: str) -> tuple[Kernel, ...]:
    """Compile a graph as the runtime does, and list the kernels.

    Args:
        graph: Portable graph or 8-bit engine.
        spec: What the graph must look like.
        precision: `fp32`, `bf16` or `int8`.

    Raises:
        ArtifactError: The graph cannot be compiled.
        DependencyError: OpenVINO is not installed.
    """
    backend = OpenVinoBackend(graph, spec, precision=precision)
    nodes = backend.execution_graph().get_ordered_ops()
    kernels = tuple(_kernel(node) for node in nodes if _rt_info(node, "layerType") not in PORTS)
    backend.close()
    return kernels


def _kernel(node: Any) -> Kernel:
    sources = [port.get_source_output() for port in node.inputs()]
    is_constant = [_rt_info(source.get_node(), "layerType") == CONSTANT for source in sources]
    input_types = [_type_of(source) for source in sources]
    return Kernel(
        name=node.get_friendly_name(),
        kind=_rt_info(node, "layerType"),
        inputs=tuple(kind for kind, constant in zip(input_types, is_constant, strict=True) if not constant),
        constants=tuple(kind for kind, constant in zip(input_types, is_constant, strict=True) if constant),
        outputs=tuple(_type_of(port) for port in node.outputs()),
        # A convolution is taken apart from its bias before it is compiled.
        nodes=tuple(
            name.removesuffix("/WithoutBiases") for name in _rt_info(node, "originalLayersNames").split(",")
        ),
    )


def _rt_info(node: Any, name: str) -> str:
    rt_info = node.get_rt_info()
    return str(rt_info[name].astype(str)) if name in rt_info else ""


def _type_of(port: Any) -> str:
    """Name a type as the other backends do: OpenVINO has `u8` and `bf16`."""
    name = str(port.get_element_type().get_type_name())
    prefix = next((short for short in TYPES if name.startswith(short)), "")
    return f"{TYPES[prefix]}{name.removeprefix(prefix)}" if prefix else name
