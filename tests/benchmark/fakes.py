"""A process that answers at once, and rows made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeseg.benchmark.row import Row, RowKind, Startup
from edgeseg.benchmark.row_run import RowRun
from edgeseg.benchmark.runners.spec import RunnerSpec
from edgeseg.benchmark.worker.process import RowError
from edgeseg.benchmark.worker.requests import (
    CallConcurrently,
    CallTimes,
    CocoResults,
    DetectInstances,
    ListScores,
    Memory,
    ReadMemory,
    Scores,
    Throughput,
    TimeCalls,
)
from edgeseg.records import json_from_record

if TYPE_CHECKING:
    from edgeseg.benchmark.worker.requests import AnswerT, Request

Calls = list[tuple[str, dict[str, Any]]]


class FakeProcess:
    """Calls take what `times_ms` says, over and over; after `lasts` questions it breaks."""

    def __init__(self, name: str, log: Calls, times_ms: list[float], lasts: int | None = None) -> None:
        self.name, self.log, self.times_ms, self.lasts = name, log, times_ms, lasts
        self.images = 1
        self.closed = False
        self.asked = 0

    def ask(self, request: Request[AnswerT], *, timeout_s: float = 0.0) -> AnswerT:
        name = f"{self.name} {request.verb}"
        self.log.append((name, json_from_record(request)))
        if self.lasts is not None and [asked for asked, _ in self.log].count(name) > self.lasts:
            msg = "its process was ended by SIGKILL"
            raise RowError(msg)
        answer: AnswerT = self._answer(request)
        return answer

    def _answer(self, request: Request[Any]) -> Any:
        match request:
            case ListScores():
                return Scores(scores=(0.9, 0.8, 0.3, 0.2), images=self.images)
            case ReadMemory():
                return Memory(peak_rss_mib=100.0, device_memory_mib=None)
            case CallConcurrently():
                return Throughput(images_per_s=50.0)
            case DetectInstances():
                return CocoResults(results=())
            case TimeCalls():
                return self._time(request.calls)
        msg = f"nothing was prepared for {request}"
        raise AssertionError(msg)

    def _time(self, calls: int) -> CallTimes:
        times_ms = tuple(self.times_ms[(self.asked + number) % len(self.times_ms)] for number in range(calls))
        self.asked += calls
        stages_ms = tuple((1.0, time_ms - 2.0, 1.0) for time_ms in times_ms)
        return CallTimes(times_ms=times_ms, stages_ms=stages_ms, found=3)

    def close(self) -> None:
        self.closed = True


def make_row_run(
    name: str, log: Calls, times_ms: list[float], *, lasts: int | None = None, warm_ms: float | None = None
) -> RowRun:
    kind = RowKind.PYTORCH if name.startswith("pytorch") else RowKind.BUNDLE
    engine, _, precision = name.partition("-")
    runner_spec = RunnerSpec(kind=kind, engine=engine, precision=precision, model="m", threads=1)
    return RowRun(
        row=Row(name=name, label=name, kind=kind, engine=engine, precision=precision),
        runner_spec=runner_spec,
        process=FakeProcess(name, log, times_ms, lasts),
        thresholds=[0.5, 0.4],
        startup=Startup(load_ms=1.0),
        warm_ms=times_ms[0] if warm_ms is None else warm_ms,
        processes=1,
    )
