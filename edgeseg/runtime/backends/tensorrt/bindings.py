"""The inputs and outputs of an engine, and their places in memory."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from edgeseg.spec import ModelSpec

# What TensorRT asks of an address.
ALIGNMENT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """An input or output, and its place in a block of memory that holds all of them.

    Attributes:
        offset: In bytes from the start of the block; a multiple of what TensorRT asks for.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
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
    """Place the tensors of a model's engine one behind the other.

    The counts and scores, which say what else must be copied, come first and lie together.
    """
    rows = (spec.batch, spec.max_detections)
    kinds: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "num_detections": (np.int32, (spec.batch,)),
        "nms_converged": (np.int32, (spec.batch,)),
        "scores": (np.float32, rows),
        "boxes": (np.float32, (*rows, 4)),
        "labels": (np.int32, rows),
        "masks": (np.float32, (*rows, spec.mask_size, spec.mask_size)),
        "images": (np.uint8, (spec.batch, *spec.input_size_hw, 3)),
    }
    sizes = [_aligned(int(np.prod(shape)) * np.dtype(kind).itemsize) for kind, shape in kinds.values()]
    offsets = accumulate(sizes[:-1], initial=0)
    return {
        name: Binding(name=name, dtype=np.dtype(kind), shape=shape, offset=offset)
        for (name, (kind, shape)), offset in zip(kinds.items(), offsets, strict=True)
    }


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
