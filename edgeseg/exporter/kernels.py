"""What a built engine computes with: the kernels that TensorRT for RTX lists when it has built one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# How the message of the builder begins, and how a line of it reads, in TensorRT for RTX 1.7.
LIST = "Layers:"
LINE = re.compile(
    r"Name: (?P<name>.+?), LayerType: (?P<kind>\w+), Inputs: (?P<inputs>\[.*?\]), "
    r"(?:Constants: (?P<constants>\[.*?\]), )?Outputs: (?P<outputs>\[.*?\]), TacticName: .*?"
    r"(?:Metadata: (?P<nodes>.*))?$"
)
TYPE = re.compile(r"Datatype: (\w+)")
NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
INT8 = "Int8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One kernel of an engine.

    Attributes:
        kind: Such as `correlation`, which is a convolution, or `kgen`, which is generated code.
        inputs: Types that it reads, such as `Int8` or `Half`.
        constants: Types of its weights, scales and biases.
        outputs: Types that it writes.
        nodes: Names of the ONNX nodes that it computes, or a part of.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[str, ...]

    @property
    def multiplies_int8(self) -> bool:
        """Whether it takes 8-bit values and 8-bit weights: a product of integers."""
        return INT8 in self.inputs and INT8 in self.constants


def kernels_from_log(messages: Iterable[str]) -> tuple[Kernel, ...]:
    """Read the list of kernels out of the builder's messages; empty where it gave none."""
    lines = [line for message in messages if message.startswith(LIST) for line in message.splitlines()]
    return tuple(_kernel(found) for found in map(LINE.match, lines) if found)


def int8_nodes(kernels: Iterable[Kernel]) -> frozenset[str]:
    """Name the ONNX nodes that are computed as products of 8-bit integers."""
    return frozenset(node for kernel in kernels if kernel.multiplies_int8 for node in kernel.nodes)


def _kernel(found: re.Match[str]) -> Kernel:
    types = {key: tuple(TYPE.findall(found[key] or "")) for key in ("inputs", "constants", "outputs")}
    nodes = tuple(NODE.findall(found["nodes"] or ""))
    return Kernel(name=found["name"], kind=found["kind"], nodes=nodes, **types)
