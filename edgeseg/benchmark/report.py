"""The results of a benchmark, as the records behind the table, the JSON file and the HTML page."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeseg.files.records import read_record, write_atomically
from edgeseg.records import json_from_record
from edgeseg.vision.frames import Skipped

from .row import Row

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownImage:
    """An image whose detections the rows hold.

    Attributes:
        image_id: As in `Row.detections`.
        name: Path below the folder.
        path: Where it was read.
        size_hw: Height and width, in pixels.
    """

    image_id: int
    name: str
    path: str
    size_hw: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where it ran.

    Attributes:
        processor: Its name and what it has for INT8.
        cores: Processor cores that this process may use.
        gpu: Name of each, or that there is none.
        system: Kernel and family, such as `Linux 6.1 x86_64`.
        versions: Package to version.
    """

    processor: str
    cores: int
    memory: str
    gpu: str
    system: str
    python: str
    versions: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What was asked for and what followed from it.

    Attributes:
        boxes: Detections that the threshold leaves on each timed image, in the mean of a batch; None for
            `score_threshold`.
        frame_size_hw: Height and width that the timed images were scaled to, in pixels.
        batch: Images of one call.
        threads: Number of threads of one call.
        turns: Through all rows.
        duration_s: Total time of all turns, in seconds.
    """

    model: str
    checkpoint: str | None
    images: str
    annotations: str | None
    input_size_hw: tuple[int, int]
    frame_size_hw: tuple[int, int]
    batch: int
    threads: int
    score_threshold: float
    boxes: int | None
    warmup: int
    turns: int
    duration_s: float
    concurrency: int
    price_per_hour: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How quiet the machine was during the turns.

    Attributes:
        probe_ms: A fixed piece of work, once a turn.
        probe_spread: Its 90th percentile over its least, less 1.
        others_percent: Processor time that other programs took, of all cores.
        steal_percent: What the hypervisor gave to other machines.
        load_before: Load average of one minute at the beginning.
        warnings: Sentences; none if it was quiet.
    """

    probe_ms: tuple[float, ...] = ()
    probe_spread: float | None = None
    others_percent: float | None = None
    steal_percent: float | None = None
    load_before: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkReport:
    """All rows of one run.

    Attributes:
        date: ISO 8601, with the offset from UTC.
        command: Command that repeats the benchmark.
        edgeseg_version: Version of this package.
        class_names: Index is the label.
        rows: In the order of the table; whatever cannot run is there and says why.
        baseline: Name of the row that ratios refer to; None where none ran.
        peaks_gmacs_per_s: Precision to the best matrix product measured.
        images: The first few, whose detections the rows hold.
        skipped: Images that could not be used.
        remark: On the classes of the annotations; empty if nothing.
        interrupted: Stopped before the end; rows hold what was measured until then.
    """

    format: int = FORMAT
    date: str
    command: str
    edgeseg_version: str
    architecture: str
    class_names: tuple[str, ...]
    machine: Machine
    settings: Settings
    rows: tuple[Row, ...]
    baseline: str | None
    peaks_gmacs_per_s: dict[str, float] = field(default_factory=dict)
    noise: Noise = field(default_factory=Noise)
    images: tuple[ShownImage, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    remark: str = ""
    interrupted: bool = False

    def row(self, name: str) -> Row | None:
        """Find a row by its name."""
        return next((row for row in self.rows if row.name == name), None)


def write_report(path: Path, report: BenchmarkReport) -> None:
    """Write a report as JSON, whole or not at all; a file that is there is replaced.

    Raises:
        EdgeSegError: It could not be written.
    """
    # Not indented: thousands of samples, one a line, are no easier to read.
    text = json.dumps(json_from_record(report), ensure_ascii=False) + "\n"
    write_atomically(path, text.encode(errors="backslashreplace"))


# Thousands of samples of each row.
MOST_BYTES = 64 << 20


def read_report(path: Path) -> BenchmarkReport:
    """Read what `write_report` wrote.

    Raises:
        ArtifactError: None there, or not a report of this format.
    """
    return read_record(
        BenchmarkReport,
        path,
        version=FORMAT,
        missing_message=f"no report at {path}; make one with `edgeseg benchmark -o {path}`",
        remedy="run `edgeseg benchmark` again",
        max_bytes=MOST_BYTES,
    )
