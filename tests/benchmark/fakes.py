"""A process that answers at once, and rows made of it."""

from __future__ import annotations

from typing import Any

from edgeseg.benchmark.row import Kind, Row, Startup
from edgeseg.benchmark.row_run import Lane
from edgeseg.benchmark.runners.spec import Recipe
from edgeseg.benchmark.worker.process import RowError

Calls = list[tuple[str, dict[str, Any]]]


class FakeProcess:
    """Calls take what `times_ms` says, over and over; after `lasts` questions it breaks."""

    def __init__(self, name: str, log: Calls, times_ms: list[float], lasts: int | None = None) -> None:
        self.name, self.log, self.times_ms, self.lasts = name, log, times_ms, lasts
        self.images = 1
        self.closed = False
        self.asked = 0

    def ask(self, do: str, *, timeout_s: float = 0.0, **facts: Any) -> dict[str, Any]:
        self.log.append((f"{self.name} {do}", facts))
        if (
            self.lasts is not None
            and len([1 for name, _ in self.log if name == f"{self.name} {do}"]) > self.lasts
        ):
            msg = "its process was ended by SIGKILL"
            raise RowError(msg)
        if do == "scores":
            return {"scores": [0.9, 0.8, 0.3, 0.2], "images": self.images}
        if do == "memory":
            return {"peak_rss_mib": 100.0, "device_memory_mib": None}
        if do == "crowd":
            return {"images_per_s": 50.0}
        if do == "detect":
            return {"results": []}
        times = [
            self.times_ms[(self.asked + number) % len(self.times_ms)] for number in range(facts["calls"])
        ]
        self.asked += facts["calls"]
        return {"times_ms": times, "stages_ms": [[1.0, time - 2.0, 1.0] for time in times], "found": 3}

    def close(self) -> None:
        self.closed = True


def make_lane(
    name: str, log: Calls, times_ms: list[float], *, lasts: int | None = None, warm_ms: float | None = None
) -> Lane:
    kind = Kind.PYTORCH if name.startswith("pytorch") else Kind.BUNDLE
    engine, _, precision = name.partition("-")
    recipe = Recipe(kind=kind, engine=engine, precision=precision, model="m", threads=1)
    return Lane(
        row=Row(name=name, label=name, kind=kind, engine=engine, precision=precision),
        recipe=recipe,
        process=FakeProcess(name, log, times_ms, lasts),
        thresholds=[0.5, 0.4],
        startup=Startup(load_ms=1.0),
        warm_ms=times_ms[0] if warm_ms is None else warm_ms,
        processes=1,
    )
