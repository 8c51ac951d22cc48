"""What the builders of all backends give back."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeseg.bundle.engines import Gpu, Kernel
from edgeseg.spec import Lowering


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltEngine:
    """What only a builder knows of its engine; `EngineRecord` has the rest.

    Attributes:
        backend_version: Version of the package that built it.
        lowering: Which of the bundle's graphs it was built from.
        graph_sha256: SHA-256 of that graph.
        gpu: GPU that it was built on; None if it needs none.
        layers: Convolutions and dense layers of the network by name, with the type they compute in.
        kernels: What it computes with, where the backend tells.
        not_on_dla: Layers that the GPU computes for DLA.
    """

    backend_version: str
    lowering: Lowering
    graph_sha256: str
    gpu: Gpu | None = None
    layers: dict[str, str] = field(default_factory=dict)
    kernels: tuple[Kernel, ...] = ()
    not_on_dla: tuple[str, ...] = ()
