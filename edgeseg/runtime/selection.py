"""Which engine of a bundle runs on this machine: the fastest that fits, or the one that was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from edgeseg.bundle.compatibility import Engine, open_engine
from edgeseg.bundle.engines import (
    FULL_WEIGHTS,
    NARROW_WEIGHTS,
    PRECISIONS_OF,
    Precision,
    Target,
    engines_of,
    rebuild_command,
)
from edgeseg.errors import ArtifactError, ConfigError, DependencyError, EdgeSegError
from edgeseg.optional import require
from edgeseg.spec import Lowering

from .backends.onnxruntime import OnnxRuntimeBackend, Provider, resolved
from .backends.openvino import OpenVinoBackend
from .backends.tensorrt.backend import TensorRTBackend
from .backends.tensorrt.library import load_library
from .device import FLAVOURS, here_for
from .host.machine import Host, weight_bits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeseg.bundle.manifest import Bundle

    from .contract import Backend

AUTO = "auto"
BACKENDS = (AUTO, *(target.value for target in Target))
PRECISIONS = (AUTO, *(precision.value for precision in Precision))
PROVIDERS = tuple(provider.value for provider in Provider)
# What runs the exported graph as it is, without a build, the most exact first.
AS_EXPORTED = (
    (Target.ONNXRUNTIME, Precision.FP32),
    (Target.OPENVINO, Precision.FP32),
    (Target.OPENVINO, Precision.BF16),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for.

    Attributes:
        backend: A `Target` by name, or `auto`.
        precision: A `Precision` by name, or `auto`.
        provider: Where ONNX Runtime computes; `auto` is CUDA where it has it, else the CPU.
        threads: Of one inference on a CPU; None for one a core.
    """

    backend: str = AUTO
    precision: str = AUTO
    provider: str = AUTO
    threads: int | None = None

    def __post_init__(self) -> None:
        choices = {"backend": BACKENDS, "precision": PRECISIONS, "provider": PROVIDERS}
        for name, known in choices.items():
            if (value := getattr(self, name)) not in known:
                msg = f"{name} must be one of {', '.join(known)}, got {value!r}"
                raise ConfigError(msg)
        if self.threads is not None and self.threads < 1:
            msg = f"threads must be at least 1, got {self.threads}"
            raise ConfigError(msg)
        if self.provider != AUTO and self.backend not in (AUTO, Target.ONNXRUNTIME.value):
            msg = f"provider is a choice of the backend onnxruntime, got backend {self.backend}"
            raise ConfigError(msg)

    def takes(self, target: Target, precision: Precision) -> bool:
        """Whether an engine of that kind is what was asked for."""
        if self.provider != AUTO and target is not Target.ONNXRUNTIME:
            return False
        return self.backend in (AUTO, target.value) and self.precision in (AUTO, precision.value)


class Opened(NamedTuple):
    """Backends that have loaded an engine, one for each input size of a bundle, and what to tell of them."""

    backends: tuple[Backend, ...]
    remark: str


def open_backend(bundle: Bundle, wanted: Wanted) -> Opened:
    """Open the fastest engine that was asked for and fits, of one kind for every input size.

    What does not fit is passed over only where `wanted` leaves a choice, and is told in the remark.

    Raises:
        ArtifactError: Nothing that was asked for fits; the message says why, one by one.
        ConfigError: The backend does not compute in that precision.
        DependencyError: A package, or a GPU, is missing.
    """
    refusals: list[EdgeSegError] = []
    for candidate in candidates(bundle, wanted):
        try:
            engines = [
                fitting_engine(each, *candidate[:2]) if candidate.built else None for each in bundle.sizes
            ]
            backends = _open_sizes(bundle, candidate, engines, wanted)
        except (ArtifactError, ConfigError, DependencyError) as exc:
            refusals.append(exc)
            continue
        passed = "".join(f", as {reason}" for reason in dict.fromkeys(map(str, refusals)))
        return Opened(backends, f"{candidate.precision.value.upper()}{_narrower(engines[0])}{passed}")
    if not refusals:
        raise ArtifactError(_nothing(bundle, wanted))
    if len(refusals) == 1:
        raise refusals[0]
    kind = DependencyError if isinstance(refusals[-1], DependencyError) else ArtifactError
    raise kind("; ".join(dict.fromkeys(map(str, refusals)))) from refusals[-1]


class Candidate(NamedTuple):
    """Something that may be opened: an engine that was built, or the graph as it was exported."""

    target: Target
    precision: Precision
    built: bool


def candidates(bundle: Bundle, wanted: Wanted) -> Iterator[Candidate]:
    """Name what may be opened, the fastest first: engines that were built, then the exported graph."""
    yield from (Candidate(*pair, built=True) for pair in engines_of(bundle.path) if wanted.takes(*pair))
    yield from (Candidate(*pair, built=False) for pair in AS_EXPORTED if wanted.takes(*pair))


def computable(bundle: Bundle, backend: str = AUTO) -> tuple[tuple[Target, Precision], ...]:
    """Name what a bundle offers to compute with, the most exact first: the exported graph, then engines."""
    there = tuple(candidates(bundle, Wanted(backend=backend)))
    graph = [(item.target, item.precision) for item in there if not item.built][:1]
    engines = [(item.target, item.precision) for item in reversed(there) if item.built]
    return tuple(dict.fromkeys((*graph, *engines)))


def fitting_engine(bundle: Bundle, target: Target, precision: Precision) -> Engine:
    """Open an engine that this machine can run; it is not loaded yet.

    Raises:
        ArtifactError: There is none, or it does not fit this machine or the bundle.
        DependencyError: What runs it is not installed.
    """
    engine = open_engine(bundle, target, precision, here_for(target))
    if target.needs_gpu:
        load_library(FLAVOURS[target], purpose="run an engine")
    else:
        require(target.value, purpose="run an engine")
    return engine


def _nothing(bundle: Bundle, wanted: Wanted) -> str:
    if wanted.backend != AUTO and wanted.precision != AUTO:
        computes = PRECISIONS_OF[Target(wanted.backend)]
        if Precision(wanted.precision) not in computes:
            names = ", ".join(precision.value for precision in computes)
            msg = f"{wanted.backend} computes in {names}; got {wanted.precision}"
            raise ConfigError(msg)
    words = ["edgeseg build-engine"]
    words += [f"--{wanted.precision}"] if wanted.precision != AUTO else []
    words += [f"--target {wanted.backend}"] if wanted.backend != AUTO else []
    kind = " ".join(word for word in (wanted.backend, wanted.precision) if word != AUTO)
    return f"{bundle.path} has no engine of {kind}; build it with `{' '.join(words)} --model {bundle.path}`"


def _narrower(engine: Engine | None) -> str:
    """Say of an engine with narrower weights than this processor needs that it has them."""
    narrow = engine is not None and engine.record.options.weight_bits == NARROW_WEIGHTS
    return f" with {NARROW_WEIGHTS}-bit weights" if narrow and weight_bits(Host()) == FULL_WEIGHTS else ""


def _open_sizes(
    bundle: Bundle, candidate: Candidate, engines: Sequence[Engine | None], wanted: Wanted
) -> tuple[Backend, ...]:
    backends: list[Backend] = []
    try:
        for each, engine in zip(bundle.sizes, engines, strict=True):
            backends.append(_open(each, candidate, engine, wanted))
    except BaseException:
        for backend in backends:
            backend.close()
        raise
    return tuple(backends)


def _open(bundle: Bundle, candidate: Candidate, engine: Engine | None, wanted: Wanted) -> Backend:
    target, precision, _ = candidate
    if engine is None:
        return _open_graph(bundle, target, precision, wanted)
    if target.needs_gpu:
        return TensorRTBackend(
            engine.path,
            bundle.spec,
            flavour=FLAVOURS[target],
            version_compatible=engine.record.options.version_compatible,
            dla=engine.record.options.dla,
            again=rebuild_command(bundle.path, engine.record),
        )
    if target is Target.OPENVINO:
        return OpenVinoBackend(engine.path, bundle.spec, precision=precision.value, threads=wanted.threads)
    if precision is Precision.INT8:
        provider = Provider.CPU if wanted.provider == AUTO else Provider(wanted.provider)
        return OnnxRuntimeBackend(engine.path, bundle.spec, threads=wanted.threads, provider=provider)
    # It is laid out for the processor; a GPU takes the graph as it was exported.
    if resolved(Provider(wanted.provider)) is Provider.CPU:
        return OnnxRuntimeBackend(engine.path, bundle.spec, threads=wanted.threads, provider=Provider.CPU)
    return _open_graph(bundle, target, precision, wanted)


def _open_graph(bundle: Bundle, target: Target, precision: Precision, wanted: Wanted) -> Backend:
    if target is Target.OPENVINO:
        graph = bundle.graph_path(Lowering.PORTABLE)
        return OpenVinoBackend(graph, bundle.spec, precision=precision.value, threads=wanted.threads)
    provider = Provider(wanted.provider)
    # TensorRT's provider takes a graph whole only where no shape depends on data.
    lowering = Lowering.TENSORRT if provider is Provider.TENSORRT else Lowering.PORTABLE
    graph = bundle.graph_path(lowering)
    return OnnxRuntimeBackend(graph, bundle.spec, threads=wanted.threads, provider=provider)
