"""Which engine of a bundle runs on this machine: the fastest that fits, or the one that was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from edgeseg.bundle.compatibility import Engine, open_engine
from edgeseg.bundle.engines import (
    FULL_WEIGHT_BITS,
    NARROW_WEIGHT_BITS,
    PRECISIONS_OF,
    Precision,
    Target,
    rebuild_command,
    recorded_engines,
)
from edgeseg.bundle.refusals import EngineRefusal, distinct_reasons, refusal_from_error
from edgeseg.errors import ArtifactError, ConfigError, DependencyError, EdgeSegError
from edgeseg.optional import require
from edgeseg.spec import Lowering

from .backends.onnxruntime import OnnxRuntimeBackend, resolve_provider
from .backends.openvino import OpenVinoBackend
from .backends.tensorrt.backend import TensorRTBackend
from .backends.tensorrt.library import load_library
from .choice import AUTO, EngineChoice, Provider
from .contract import Backend
from .device import TENSORRT_KINDS, read_device_info
from .host.machine import Host, weight_bits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeseg.bundle.manifest import Bundle

# What runs the exported graph as it is, without a build, the most exact first.
RUNNABLE_AS_EXPORTED = (
    (Target.ONNXRUNTIME, Precision.FP32),
    (Target.OPENVINO, Precision.FP32),
    (Target.OPENVINO, Precision.BF16),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSelection:
    """Backends that have loaded an engine, one for each input size of a bundle, and what to tell of them.

    Attributes:
        has_narrow_weights: Fewer bits than this processor could compute with.
        refusals: What is faster and was not taken.
    """

    backends: tuple[Backend, ...]
    precision: Precision
    has_narrow_weights: bool
    refusals: tuple[EngineRefusal, ...]

    @property
    def remark(self) -> str:
        """Precision, and why it is not another, for people."""
        weights = f" with {NARROW_WEIGHT_BITS}-bit weights" if self.has_narrow_weights else ""
        skipped = "".join(f", as {reason}" for reason in distinct_reasons(self.refusals))
        return f"{self.precision.value.upper()}{weights}{skipped}"


def open_backend(bundle: Bundle, choice: EngineChoice) -> EngineSelection:
    """Open the fastest engine that was asked for and fits, of one kind for every input size.

    What does not fit is passed over only where `choice` leaves a choice, and is told in the remark.

    Raises:
        ArtifactError: Nothing that was asked for fits; the message says why, one by one.
        ConfigError: The backend does not compute in that precision.
        DependencyError: A package, or a GPU, is missing.
    """
    errors: list[EdgeSegError] = []
    refusals: list[EngineRefusal] = []
    for candidate in engine_candidates(bundle, choice):
        try:
            engines = [
                open_fitting_engine(sized_bundle, *candidate[:2]) if candidate.built else None
                for sized_bundle in bundle.sizes
            ]
            backends = _open_sizes(bundle, candidate, engines, choice)
        except (ArtifactError, ConfigError, DependencyError) as exc:
            errors.append(exc)
            refusals.append(refusal_from_error(candidate.target, candidate.precision, exc))
            continue
        return EngineSelection(
            backends=backends,
            precision=candidate.precision,
            has_narrow_weights=_has_narrow_weights(engines[0]),
            refusals=tuple(refusals),
        )
    if not errors:
        raise ArtifactError(_no_engine_message(bundle, choice))
    if len(errors) == 1:
        raise errors[0]
    kind = DependencyError if isinstance(errors[-1], DependencyError) else ArtifactError
    raise kind("; ".join(distinct_reasons(refusals))) from errors[-1]


class EngineCandidate(NamedTuple):
    """Something that may be opened: an engine that was built, or the graph as it was exported."""

    target: Target
    precision: Precision
    built: bool


def engine_candidates(bundle: Bundle, choice: EngineChoice) -> Iterator[EngineCandidate]:
    """Name what may be opened, the fastest first: engines that were built, then the exported graph."""
    yield from (
        EngineCandidate(*pair, built=True) for pair in recorded_engines(bundle.path) if choice.accepts(*pair)
    )
    yield from (EngineCandidate(*pair, built=False) for pair in RUNNABLE_AS_EXPORTED if choice.accepts(*pair))


def available_engines(bundle: Bundle, choice: EngineChoice) -> tuple[tuple[Target, Precision], ...]:
    """Name what a bundle offers to compute with, the most exact first: the exported graph, then engines."""
    found = tuple(engine_candidates(bundle, choice))
    graph = [(item.target, item.precision) for item in found if not item.built][:1]
    engines = [(item.target, item.precision) for item in reversed(found) if item.built]
    return tuple(dict.fromkeys((*graph, *engines)))


def open_fitting_engine(bundle: Bundle, target: Target, precision: Precision) -> Engine:
    """Open an engine that this machine can run; it is not loaded yet.

    Raises:
        ArtifactError: There is none, or it does not fit this machine or the bundle.
        DependencyError: What runs it is not installed.
    """
    engine = open_engine(bundle, target, precision, read_device_info(target))
    if target.needs_gpu:
        load_library(TENSORRT_KINDS[target], purpose="run an engine")
    else:
        require(target.value, purpose="run an engine")
    return engine


def engine_refusal(bundle: Bundle, target: Target, precision: Precision) -> EngineRefusal | None:
    """Say why an engine cannot be used here; None if it can."""
    try:
        open_fitting_engine(bundle, target, precision)
    except (ArtifactError, DependencyError) as exc:
        return refusal_from_error(target, precision, exc)
    return None


def _no_engine_message(bundle: Bundle, choice: EngineChoice) -> str:
    if choice.backend != AUTO and choice.precision != AUTO:
        computes = PRECISIONS_OF[Target(choice.backend)]
        if Precision(choice.precision) not in computes:
            names = ", ".join(precision.value for precision in computes)
            msg = f"{choice.backend} computes in {names}; got {choice.precision}"
            raise ConfigError(msg)
    words = ["edgeseg build-engine"]
    words += [f"--{choice.precision}"] if choice.precision != AUTO else []
    words += [f"--target {choice.backend}"] if choice.backend != AUTO else []
    kind = " ".join(word for word in (choice.backend, choice.precision) if word != AUTO)
    return f"{bundle.path} has no engine of {kind}; build it with `{' '.join(words)} --model {bundle.path}`"


def _has_narrow_weights(engine: Engine | None) -> bool:
    """Whether an engine has narrower weights than this processor needs."""
    narrow = engine is not None and engine.record.options.weight_bits == NARROW_WEIGHT_BITS
    return narrow and weight_bits(Host()) == FULL_WEIGHT_BITS


def _open_sizes(
    bundle: Bundle, candidate: EngineCandidate, engines: Sequence[Engine | None], choice: EngineChoice
) -> tuple[Backend, ...]:
    backends: list[Backend] = []
    try:
        for sized_bundle, engine in zip(bundle.sizes, engines, strict=True):
            backends.append(_open(sized_bundle, candidate, engine, choice))
    except BaseException:
        for backend in backends:
            backend.close()
        raise
    return tuple(backends)


def _open(bundle: Bundle, candidate: EngineCandidate, engine: Engine | None, choice: EngineChoice) -> Backend:
    target, precision, _ = candidate
    if engine is None:
        return _open_graph(bundle, target, precision, choice)
    if target.needs_gpu:
        return TensorRTBackend(
            engine.path,
            bundle.spec,
            tensorrt_kind=TENSORRT_KINDS[target],
            options=engine.record.options,
            rebuild_command=rebuild_command(bundle.path, engine.record),
        )
    if target is Target.OPENVINO:
        return OpenVinoBackend(engine.path, bundle.spec, precision=precision.value, threads=choice.threads)
    if precision is Precision.INT8:
        provider = Provider.CPU if choice.provider == AUTO else Provider(choice.provider)
        return OnnxRuntimeBackend(engine.path, bundle.spec, threads=choice.threads, provider=provider)
    # It is laid out for the processor; a GPU takes the graph as it was exported.
    if resolve_provider(Provider(choice.provider)) is Provider.CPU:
        return OnnxRuntimeBackend(engine.path, bundle.spec, threads=choice.threads, provider=Provider.CPU)
    return _open_graph(bundle, target, precision, choice)


def _open_graph(bundle: Bundle, target: Target, precision: Precision, choice: EngineChoice) -> Backend:
    if target is Target.OPENVINO:
        graph = bundle.graph_path(Lowering.PORTABLE)
        return OpenVinoBackend(graph, bundle.spec, precision=precision.value, threads=choice.threads)
    provider = Provider(choice.provider)
    # TensorRT's provider takes a graph whole only where no shape depends on data.
    lowering = Lowering.TENSORRT if provider is Provider.TENSORRT else Lowering.PORTABLE
    graph = bundle.graph_path(lowering)
    return OnnxRuntimeBackend(graph, bundle.spec, threads=choice.threads, provider=provider)
