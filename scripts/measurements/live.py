"""A camera faster than the model, for minutes: how old frames are, what is dropped, and whether memory grows.

    python scripts/measurements/live.py --model edgeseg-model --minutes 10

serves H.264 over RTSP on loopback (needs Debian's gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-ugly and
python3-gi) with the time of its making in each picture, runs the bundle on it with tracking, and half-way
kills the server for five seconds. Prints JSON; ages are from the picture's making to its results.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import psutil

import edgeseg
from edgeseg.tools.memory import limit_library_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

SERVER = Path(__file__).parents[2] / "tests" / "streaming" / "sources" / "live" / "rtsp_server.py"
BITS, CELL = 20, 16
OUTAGE_S = 5.0


def serve(port: int, fps: int) -> subprocess.Popen[str]:
    """Start the camera and wait until it can be reached."""
    command = ["/usr/bin/python3", str(SERVER), "--port", str(port), "--size", "640x480", "--fps", str(fps)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if server.stdout is None or server.stdout.readline().strip() != "ready":
        msg = f"the camera did not start: {' '.join(command)}"
        raise click.ClickException(msg)
    return server


def age_ms(image: NDArray[Any]) -> float:
    """Read from a picture's first row of cells how long ago it was made."""
    cells = image[CELL // 2, CELL // 2 : BITS * CELL : CELL].mean(-1) > 127
    made_ms = sum(1 << bit for bit, white in enumerate(cells) if white)
    return (1000 * time.monotonic() - made_ms) % (1 << BITS)


def summarise(values: list[float]) -> dict[str, float]:
    """Median, 99th percentile and highest of some values."""
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 1),
        "p99": round(ordered[int(0.99 * (len(ordered) - 1))], 1),
        "max": round(ordered[-1], 1),
    }


class StreamStatistics:
    """What is seen while the stream runs."""

    def __init__(self) -> None:
        self.started_s = time.monotonic()
        self.ages_ms: list[float] = []
        self.bounds_ms: list[float] = []
        self.infer_ms: list[float] = []
        self.times_s: list[float] = []
        self.memory_mib: list[tuple[float, float]] = []
        self._process = psutil.Process()

    def add(self, result: Any) -> None:
        """Look at one frame."""
        now_s = time.monotonic() - self.started_s
        self.ages_ms.append(age_ms(result.frame.image))
        self.infer_ms.append(result.stages_ms["infer"])
        # This frame waited for the inference before it, then for its own.
        self.bounds_ms.append(sum(self.infer_ms[-2:]) if len(self.infer_ms) > 1 else 2 * self.infer_ms[-1])
        self.times_s.append(now_s)
        if not self.memory_mib or now_s > self.memory_mib[-1][0] + 30:
            self.memory_mib.append((round(now_s, 1), round(self._process.memory_info().rss / 2**20, 1)))

    def report(self) -> dict[str, Any]:
        """Put it together."""
        gaps = [later - sooner for sooner, later in zip(self.times_s, self.times_s[1:], strict=False)]
        late = [moment for moment, is_late in zip(self.times_s, self._late(), strict=True) if is_late]
        return {
            "frames": len(self.ages_ms),
            "infer_ms": summarise(self.infer_ms),
            "age_ms": summarise(self.ages_ms),
            "age_in_median_inferences": round(
                statistics.median(self.ages_ms) / statistics.median(self.infer_ms), 2
            ),
            "older_than_two_inferences_at_s": [round(moment, 1) for moment in late],
            "longest_gap_s": round(max(gaps), 2),
            "memory_mib_by_half_minute": [mib for _, mib in self.memory_mib],
        }

    def _late(self) -> list[bool]:
        return [age > bound for age, bound in zip(self.ages_ms, self.bounds_ms, strict=True)]


@click.command()
@click.option("--model", "bundle", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--backend", default="auto", show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--fps", default=30, show_default=True)
@click.option("--port", default=8556, show_default=True)
def main(bundle: Path, backend: str, precision: str, minutes: float, fps: int, port: int) -> None:
    """Run, and print what was seen."""
    # As `edgeseg run` does.
    limit_library_memory()
    servers = [serve(port, fps)]
    notes: list[str] = []
    deadline_s = time.monotonic() + 60 * minutes

    def interrupt_server() -> None:
        time.sleep(30 * minutes)
        servers[-1].kill()
        time.sleep(OUTAGE_S)
        servers.append(serve(port, fps))

    threading.Thread(target=interrupt_server, daemon=True).start()
    try:
        with edgeseg.load(bundle, backend=backend, precision=precision) as model:
            stream = edgeseg.stream(model, f"rtsp://127.0.0.1:{port}/clock", track=True, note=notes.append)
            seen = StreamStatistics()
            for result in stream.results():
                seen.add(result)
                if time.monotonic() > deadline_s:
                    stream.controls.stopping.set()
            elapsed_s = time.monotonic() - seen.started_s
            facts = {
                "model": model.description,
                "elapsed_s": round(elapsed_s, 1),
                **seen.report(),
                "dropped": sum(stream.dropped.values()),
                "sent_about": round(fps * (elapsed_s - max(0.0, seen.report()["longest_gap_s"]))),
                "notes": notes,
            }
    finally:
        servers[-1].kill()
    click.echo(json.dumps(facts, indent=2))
    sys.exit(0)


if __name__ == "__main__":
    main()
