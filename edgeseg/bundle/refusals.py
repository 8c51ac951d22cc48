"""Why an engine is not taken: what kind of reason it is, and what differs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from edgeseg.errors import ArtifactError, ConfigError, DependencyError

from .engines import Precision, Target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgeseg.errors import EdgeSegError

    from .engines import EngineRecord


class RefusalKind(str, Enum):
    """What kind of reason it is.

    Attributes:
        MISSING: There is a record and no file.
        UNREADABLE: The file system does not give the file.
        ALTERED: The file is not the one that was built.
        DIFFERENT: It was built from something else, or for another machine.
        BROKEN: Its record cannot be read, or the backend does not load it.
        UNSUPPORTED: The target, or this processor, does not compute in that precision.
        UNAVAILABLE: A package, a driver or the GPU is not here.
    """

    MISSING = "missing"
    UNREADABLE = "unreadable"
    ALTERED = "altered"
    DIFFERENT = "different"
    BROKEN = "broken"
    UNSUPPORTED = "unsupported"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that an engine was built from or for, and what is here instead.

    Attributes:
        subject: `graph`, `calibration`, `machine`, `processor`, `GPU` or `version of` its backend.
    """

    subject: str
    built: str
    here: str

    def __str__(self) -> str:
        return f"{self.subject} ({self.built}, here {self.here})"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRefusal:
    """An engine that was not taken.

    Attributes:
        precision: None where any would have done.
        reason: The whole sentence, for people.
        differences: Of an engine that was built from something else or for another machine.
    """

    target: Target
    precision: Precision | None
    kind: RefusalKind
    reason: str
    differences: tuple[Difference, ...] = ()


class UnfitEngineError(ArtifactError):
    """An engine is altered, stale or made for another machine; building it again mends that.

    Attributes:
        record: How it was built.
        kind: In what way it does not fit.
        differences: What it was built from or for, and what is here; empty where its file is at fault.
    """

    def __init__(
        self,
        message: str,
        record: EngineRecord,
        kind: RefusalKind,
        differences: tuple[Difference, ...] = (),
    ) -> None:
        self.record, self.kind, self.differences = record, kind, differences
        super().__init__(message)


def refusal_from_error(target: Target, precision: Precision, error: EdgeSegError) -> EngineRefusal:
    """Tell from the error that opening an engine raised why it is not taken."""
    kind = RefusalKind.BROKEN
    differences: tuple[Difference, ...] = ()
    if isinstance(error, UnfitEngineError):
        kind, differences = error.kind, error.differences
    elif isinstance(error, DependencyError):
        kind = RefusalKind.UNAVAILABLE
    elif isinstance(error, ConfigError):
        kind = RefusalKind.UNSUPPORTED
    return EngineRefusal(
        target=target, precision=precision, kind=kind, reason=str(error), differences=differences
    )


def distinct_reasons(refusals: Iterable[EngineRefusal]) -> tuple[str, ...]:
    """List the sentences, each once: two precisions of a target that is not installed have the same."""
    return tuple(dict.fromkeys(refusal.reason for refusal in refusals))
