"""What an engine of a bundle is, whether it fits this machine, and what was left in higher precision."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeseg.bundle.engines import (
    PRECISIONS_OF,
    EngineRecord,
    Precision,
    Target,
    loaded_path,
    read_engine_record,
    recorded_engines,
)
from edgeseg.errors import ArtifactError

from .selection import engine_refusal

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle

# Kernels of ONNX Runtime that only round: what was not fused into those around it.
QUANTISE_KERNELS = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCount:
    """How many kernels are of a kind and read the same types."""

    kind: str
    reads: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """One engine.

    Attributes:
        name: Such as `tensorrt-int8`.
        path: What the backend loads.
        unfit: Why it cannot be used here; empty if it can.
        layers_by_type: Type to how many convolutions and dense layers compute in it.
        not_int8: Layers of an 8-bit engine that compute in another type.
        kernels: Those that there are most of first; empty where the backend does not tell.
        rounding: Kernels that only quantise or convert, fused with nothing.
    """

    name: str
    path: str
    record: EngineRecord
    unfit: str
    layers_by_type: dict[str, int] = field(default_factory=dict)
    not_int8: tuple[str, ...] = ()
    kernels: tuple[KernelCount, ...] = ()
    rounding: int = 0


def engine_names(bundle: Path) -> tuple[str, ...]:
    """Name the engines of a bundle, the fastest first."""
    return tuple(f"{target.value}-{precision.value}" for target, precision in recorded_engines(bundle))


def read_engine(bundle: Bundle, name: str) -> EngineInfo:
    """Read what an engine is, whether or not it can run here.

    Args:
        bundle: Opened.
        name: As `engine_names` has it.

    Raises:
        ArtifactError: There is no such engine, or its record is broken.
    """
    target, precision = _engine_from_name(bundle, name)
    record = read_engine_record(bundle.path, target, precision)
    counts = Counter((kernel.kind, ", ".join(dict.fromkeys(kernel.inputs))) for kernel in record.kernels)
    types = Counter(record.layers.values())
    int8 = precision is Precision.INT8
    refusal = engine_refusal(bundle, target, precision)
    return EngineInfo(
        name=name,
        path=str(loaded_path(bundle.path, record)),
        record=record,
        unfit=refusal.reason if refusal else "",
        layers_by_type=dict(types.most_common()),
        not_int8=tuple(layer for layer, kind in record.layers.items() if int8 and kind != "int8"),
        kernels=tuple(
            KernelCount(kind=kind, reads=reads, count=count) for (kind, reads), count in counts.most_common()
        ),
        rounding=sum(kernel.kind in QUANTISE_KERNELS for kernel in record.kernels),
    )


def _engine_from_name(bundle: Bundle, name: str) -> tuple[Target, Precision]:
    known = {
        f"{target.value}-{precision.value}": (target, precision)
        for target in Target
        for precision in PRECISIONS_OF[target]
    }
    if name not in engine_names(bundle.path) or name not in known:
        there = ", ".join(engine_names(bundle.path)) or "none; build one with `edgeseg build-engine`"
        msg = f"{bundle.path} has no engine {name!r}; it has {there}"
        raise ArtifactError(msg)
    return known[name]
