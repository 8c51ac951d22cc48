"""A process that answers at once, and rows made of it."""

from __future__ import annotations

from typing import Any

from edgeseg.benchmark.row import Row, RowKind, Startup
from edgeseg.benchmark.row_run import RowRun
from edgeseg.benchmark.runners.spec import RunnerSpec
from edgeseg.benchmark.worker.process import RowError

Calls = list[tuple[str, dict[str, Any]]]


class FakeProcess:
    """Calls take what `times_ms` says, over and over; after `lasts` questions it breaks."""

    def __init__(self, name: str, log: Calls, times_ms: list[float], lasts: int | None = None) -> None:
        self.name, self.log, self.times_ms, self.lasts = name, log, times_ms, lasts
        self.images = 1
        self.closed = False
        self.asked = 0

    def ask(self, method: str, *, timeout_s: float = 0.0, **arguments: Any) -> dict[str, Any]:
        self.log.append((f"{self.name} {method}", arguments))
        if (
            self.lasts is not None
            and len([1 for name, _ in self.log if name == f"{self.name} {method}"]) > self.lasts
        ):
            msg = "its process was ended by SIGKILL"
            raise RowError(msg)
        if method == "scores":
            return {"scores": [0.9, 0.8, 0.3, 0.2], "images": self.images}
        if method == "memory":
            return {"peak_rss_mib": 100.0, "device_memory_mib": None}
        if method == "crowd":
            return {"images_per_s": 50.0}
        if method == "detect":
            return {"results": []}
        times = [
            self.times_ms[(self.asked + number) % len(self.times_ms)] for number in range(arguments["calls"])
        ]
        self.asked += arguments["calls"]
        return {"times_ms": times, "stages_ms": [[1.0, time - 2.0, 1.0] for time in times], "found": 3}

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
