"""The inputs and outputs of a model's graphs: their names, types and shapes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from .spec import Lowering

if TYPE_CHECKING:
    from .spec import ModelSpec

IMAGES, SCORE_THRESHOLD = "images", "score_threshold"
OUTPUTS = ("num_detections", "boxes", "scores", "labels", "masks")
# Whether NMS converged on an image; only the graphs for TensorRT have this output.
NMS_CONVERGED = "nms_converged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input or output of a graph.

    Attributes:
        dtype: NumPy dtype name, such as `uint8`.
        shape: Size of each dimension, or a name if the size is only known at run time.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape as integers; only valid if no dimension is dynamic."""
        return tuple(map(int, self.shape))

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}[{', '.join(map(str, self.shape))}]"


class GraphPorts(NamedTuple):
    """Inputs and outputs of a graph, in the order in which they are exported."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def ports_from_spec(spec: ModelSpec, lowering: Lowering) -> GraphPorts:
    """List the inputs and outputs of one of a model's graphs.

    The score threshold is an input of the portable graph. The graphs for TensorRT have it built in, and an
    additional output that says whether their NMS converged.
    """
    built_in = lowering is not Lowering.PORTABLE
    return _ports(spec.batch, spec.input_size_hw, spec.max_detections, spec.mask_size, built_in)


@lru_cache(maxsize=16)
def _ports(
    batch: int, size_hw: tuple[int, int], max_detections: int, mask_size: int, threshold_built_in: bool
) -> GraphPorts:
    """Implement `ports_from_spec`; cached, since every call of a backend is checked against the result."""
    rows = (batch, max_detections)
    kinds: tuple[tuple[str, tuple[int, ...]], ...] = (
        ("int32", (batch,)),
        ("float32", (*rows, 4)),
        ("float32", rows),
        ("int32", rows),
        ("float32", (*rows, mask_size, mask_size)),
    )
    images = Port(name=IMAGES, dtype="uint8", shape=(batch, *size_hw, 3))
    outputs = tuple(
        Port(name=name, dtype=dtype, shape=shape) for name, (dtype, shape) in zip(OUTPUTS, kinds, strict=True)
    )
    if threshold_built_in:
        return GraphPorts((images,), (*outputs, Port(name=NMS_CONVERGED, dtype="int32", shape=(batch,))))
    return GraphPorts((images, Port(name=SCORE_THRESHOLD, dtype="float32", shape=())), outputs)
