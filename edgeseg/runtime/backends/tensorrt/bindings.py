"""The inputs and outputs of an engine, and their places in memory."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.ports import IMAGES, NMS_CONVERGED, ports_from_spec
from edgeseg.spec import Lowering

if TYPE_CHECKING:
    from edgeseg.ports import Port
    from edgeseg.spec import ModelSpec

# What TensorRT asks of an address.
ALIGNMENT = 256
# The counts and scores, which say what else must be copied, come first and lie together.
MEMORY_ORDER = ("num_detections", NMS_CONVERGED, "scores", "boxes", "labels", "masks", IMAGES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """An input or output, and its place in a block of memory that holds all of them.

    Attributes:
        is_input: Else it is an output.
        offset: In bytes from the start of the block; a multiple of what TensorRT asks for.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_input: bool
    offset: int

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def end(self) -> int:
        """Where it ends in the block."""
        return self.offset + self.nbytes

    @property
    def row_nbytes(self) -> int:
        """Size of one detection's row of a `[B, K, ...]` tensor."""
        return self.nbytes // (self.shape[0] * self.shape[1])


def bindings_from_spec(spec: ModelSpec) -> dict[str, Binding]:
    """Place the tensors of a model's engine one behind the other."""
    inputs, outputs = ports_from_spec(spec, Lowering.TENSORRT)
    ports = {port.name: port for port in (*inputs, *outputs)}
    sizes = [_aligned(_nbytes(ports[name])) for name in MEMORY_ORDER]
    offsets = accumulate(sizes[:-1], initial=0)
    return {
        name: Binding(
            name=name,
            dtype=np.dtype(ports[name].dtype),
            shape=ports[name].sizes,
            is_input=ports[name] in inputs,
            offset=offset,
        )
        for name, offset in zip(MEMORY_ORDER, offsets, strict=True)
    }


def _nbytes(port: Port) -> int:
    return int(np.prod(port.sizes)) * np.dtype(port.dtype).itemsize


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
