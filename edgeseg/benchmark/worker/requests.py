"""What a row's process can be asked, and what it answers: records that travel as lines of JSON."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from edgeseg.benchmark.runners.spec import RunnerSpec
from edgeseg.records import json_from_record, record_from_json

AnswerT = TypeVar("AnswerT")


class Request(Generic[AnswerT]):
    """A question that is answered with a record of type `AnswerT`.

    Attributes:
        verb: Its name in JSON.
    """

    __slots__ = ()
    verb: ClassVar[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """It was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no answer.

    Attributes:
        error: Sentence.
        ours: It was one of `EdgeSegError`.
    """

    error: str
    ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRow:
    """A row that can be called.

    Attributes:
        description: As `Row.description`.
        file_mb: As `Row.file_mb`.
        load_ms: As `Startup.load_ms`.
    """

    description: str
    file_mb: float
    load_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRow(Request[LoadedRow]):
    """Load a row.

    Attributes:
        frames: File with `uint8[F, B, H, W, 3]` BGR: F batches to time.
    """

    verb = "open"
    runner_spec: RunnerSpec
    frames: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteWholeModel(Request[Done]):
    """Write what a row of `RowKind.WHOLE_MODEL` loads.

    Attributes:
        frames: As in `LoadRow`.
    """

    verb = "export"
    runner_spec: RunnerSpec
    frames: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RebatchBundle(Request[Done]):
    """Export a bundle anew for another batch; see `rebatch_bundle`."""

    verb = "draft"
    model: str
    folder: str
    batch: int
    checkpoint: str
    factory: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRebatchedEngine(Request[Done]):
    """Build the engine of a row for such a bundle; see `build_rebatched_engine`."""

    verb = "build"
    runner_spec: RunnerSpec
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """The best matrix products of this machine.

    Attributes:
        gmacs_per_s: Precision to billions of multiply-adds a second.
    """

    gmacs_per_s: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureRoofline(Request[Roofline]):
    """Measure matrix products; see `measure_roofline`."""

    verb = "peaks"
    threads: int
    cores: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTimes:
    """What calls took.

    Attributes:
        times_ms: Of each call.
        stages_ms: Of each call: before, in and after the network.
        found: Detections of the last call.
    """

    times_ms: tuple[float, ...]
    stages_ms: tuple[tuple[float, float, float], ...]
    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeCalls(Request[CallTimes]):
    """Time calls with one batch, one after the other."""

    verb = "call"
    batch: int
    threshold: float
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What is found in one batch without a threshold.

    Attributes:
        scores: Descending, of all images.
        images: How many the batch has.
    """

    scores: tuple[float, ...]
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListScores(Request[Scores]):
    """Score all that is found in one batch without a threshold."""

    verb = "scores"
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Most memory so far; the attributes are those of `Startup`."""

    peak_rss_mib: float
    device_memory_mib: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadMemory(Request[Memory]):
    """Say how much memory the process has taken."""

    verb = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Images a second of all callers together."""

    images_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallConcurrently(Request[Throughput]):
    """Call from several threads at once, each at least once, for a while."""

    verb = "crowd"
    callers: int
    threshold: float
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoResults:
    """COCO results of one image, the label as `category_id`."""

    results: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectInstances(Request[CocoResults]):
    """Find instances in an image file."""

    verb = "detect"
    path: str
    image_id: int
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Close(Request[Done]):
    """Release the row; the process ends by itself."""

    verb = "close"


# All that can be asked.
AnyRequest = (
    LoadRow
    | WriteWholeModel
    | RebatchBundle
    | BuildRebatchedEngine
    | MeasureRoofline
    | TimeCalls
    | ListScores
    | ReadMemory
    | CallConcurrently
    | DetectInstances
    | Close
)
Answer = Done | LoadedRow | Roofline | CallTimes | Scores | Memory | Throughput | CocoResults
REQUESTS: dict[str, type[AnyRequest]] = {kind.verb: kind for kind in typing.get_args(AnyRequest)}


def answer_type(request: type[Request[AnswerT]]) -> type[AnswerT]:
    """Look up what answers a request: `CallTimes` for `TimeCalls`, which is a `Request[CallTimes]`."""
    base = next(base for base in request.__orig_bases__ if typing.get_origin(base) is Request)  # type: ignore[attr-defined]
    kind: type[AnswerT] = typing.get_args(base)[0]
    return kind


def json_from_request(request: Request[Any]) -> dict[str, Any]:
    """Write a request: `{"do": "scores", "batch": 0}`."""
    return {"do": request.verb, **json_from_record(request)}


def request_from_json(data: dict[str, Any]) -> AnyRequest:
    """Read what `json_from_request` has written.

    Raises:
        ArtifactError: A field is unknown, missing or of another type.
        KeyError: There is no such request.
    """
    fields = {name: value for name, value in data.items() if name != "do"}
    return record_from_json(REQUESTS[data["do"]], fields, source=data["do"])


def json_from_answer(answer: Answer | Failure) -> dict[str, Any]:
    """Write an answer: `{"ok": ...}`, or the failure."""
    data = json_from_record(answer)
    return data if isinstance(answer, Failure) else {"ok": data}


def answer_from_json(request: Request[AnswerT], data: dict[str, Any]) -> AnswerT | Failure:
    """Read what `json_from_answer` has written.

    Raises:
        ArtifactError: It is no answer to that request.
    """
    source = f"the answer to {request.verb}"
    if "ok" not in data:
        return record_from_json(Failure, data, source=source)
    return record_from_json(answer_type(type(request)), data["ok"], source=source)
