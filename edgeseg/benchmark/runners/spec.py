"""What a process is told to load, as a record that travels as JSON."""

from __future__ import annotations

from dataclasses import dataclass

from edgeseg.benchmark.row import RowKind


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerSpec:
    """How to open one row.

    Attributes:
        engine: As `Row.engine`.
        precision: As `Row.precision`.
        model: Path of the bundle.
        checkpoint: Path of the checkpoint; None for what needs none.
        factory: Function that builds the checkpoint's model, if it was exported with one.
        path: What `whole_model.py` wrote, for rows of that kind.
        channels_last: PyTorch keeps the channels of a pixel together.
        compiled: PyTorch compiles the network's parts.
        own_resizing: PyTorch finds instances with torchvision's own resizing, and not on letterboxed pixels.
        threads: Of one call.
        cores: Numbers of the processor's cores to stay on; empty for any.
    """

    kind: RowKind
    engine: str
    precision: str
    model: str
    checkpoint: str | None = None
    factory: str | None = None
    path: str = ""
    channels_last: bool = False
    compiled: bool = False
    own_resizing: bool = False
    threads: int
    cores: tuple[int, ...] = ()
