"""One way to run a model, and all that was measured of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from edgeseg.dataset.average_precision import AveragePrecision
from edgeseg.errors import ConfigError


class RowState(str, Enum):
    """How far a row came."""

    OK = "ok"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"


class RowKind(str, Enum):
    """Who made what a row runs."""

    PYTORCH = "pytorch"
    WHOLE_MODEL = "naive"
    BUNDLE = "bundle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Times of one call, frames in to masks out, in milliseconds.

    Attributes:
        samples_ms: Every measured call, in order.
        p50_ms: Median.
        p90_ms: As trtexec has it: the sample that a tenth of the samples, rounded down, lie above.
        p99_ms: The same of a hundredth; with fewer than 100 samples it is the slowest.
        std_ms: Standard deviation of the samples; 0 of a single one.
    """

    samples_ms: tuple[float, ...]
    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    min_ms: float
    max_ms: float
    std_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """Medians of the parts of a call, in milliseconds.

    Attributes:
        prepare_ms: Frames to the network's input.
        infer_ms: The network; for exports of a whole torchvision model its own resizing and pasting too.
        finish_ms: Its output to detections with masks in the frame.
    """

    prepare_ms: float
    infer_ms: float
    finish_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times as fast as the baseline.

    Attributes:
        value: Median over the turns of the baseline's time in a turn divided by the row's in the same turn.
        low: Lower end of its 95 % confidence interval, by bootstrap over processes and turns.
        high: Upper end.
        turns: How many turns both have finished.
        processes: How many processes of the row these were.
    """

    value: float
    low: float
    high: float
    turns: int
    processes: int = 1

    @property
    def margin(self) -> float:
        """How far the interval reaches from the value, as a share of it."""
        return max(self.high / self.value - 1, 1 - self.low / self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Startup:
    """What it takes to begin, in a process that runs this row and nothing else.

    Attributes:
        load_ms: From nothing but this package imported to a model that can be called.
        first_ms: The first call.
        peak_rss_mib: Most resident memory of the process, in MiB, after loading and the warm-up.
        device_memory_mib: Memory on the GPU; None where the row uses none or nobody tells.
    """

    load_ms: float
    first_ms: float | None = None
    peak_rss_mib: float | None = None
    device_memory_mib: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far a row finds what the reference finds, on the same images, above a score of 0.5.

    Attributes:
        reference: Name of the row compared with.
        images: How many.
        expected: Detections of the reference.
        matched: Those of them that the row has too: same class, boxes that overlap by half or more.
        extra: Detections of the row that match none.
        box_px: Median over the matched of the largest difference of a box's four sides; None without any.
        mask_iou: Median over the matched.
        mask_iou_p5: 5th percentile over the matched.
    """

    reference: str
    images: int
    expected: int
    matched: int
    extra: int
    box_px: float | None = None
    mask_iou: float | None = None
    mask_iou_p5: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """Multiply-adds against what the processor can do.

    Attributes:
        gmacs: Multiply-adds of one image, in billions, at the number of detections found.
        gmacs_per_s: Of the whole call.
        peak_gmacs_per_s: The best matrix product measured here in that precision; None if none was.
        share_of_peak: 0 to 1; above 1 where an algorithm saves multiply-adds, as Winograd's does.
    """

    gmacs: float
    gmacs_per_s: float
    peak_gmacs_per_s: float | None = None
    share_of_peak: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrent:
    """Throughput with several threads that call the same model.

    Attributes:
        callers: How many threads.
        images_per_s: All together.
    """

    callers: int
    images_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way to run the model.

    Attributes:
        name: Short and unique, such as `openvino-int8`; `--rows` takes it.
        label: For people, such as `OpenVINO INT8`.
        engine: What computes: `pytorch`, `onnxruntime`, `openvino`, `tensorrt` or `tensorrt-rtx`.
        precision: `fp32`, `bf16`, `fp16` or `int8`.
        state: `ok`; `partial` where it failed or was interrupted after some samples; else why below.
        reason: A sentence on any other state than `ok`; empty otherwise.
        description: Package, version and where it ran.
        notes: Sentences, such as the variants of PyTorch that were tried.
        file_mb: Size of what is loaded, in millions of bytes.
        found: Mean number of detections of a timed image.
        threshold: Score threshold of the timed calls, the mean of the frames.
        images_per_s: One call after the other.
        concurrent: With several callers; None unless asked for.
        accuracy: COCO average precision on the annotated images; None without annotations.
        agreement: With the reference; None for the reference itself.
        ratio: To `BenchmarkReport.baseline`.
        cost_per_million: Images, in the currency of the price; None without a price.
        energy_j: Of one image; None where the machine does not tell.
        detections: COCO results above 0.5 of the report's images, the label as `category_id`.
    """

    name: str
    label: str
    kind: RowKind
    engine: str
    precision: str
    state: RowState = RowState.OK
    reason: str = ""
    description: str = ""
    notes: tuple[str, ...] = ()
    file_mb: float | None = None
    found: float | None = None
    threshold: float | None = None
    latency: Latency | None = None
    stages: Stages | None = None
    startup: Startup | None = None
    images_per_s: float | None = None
    concurrent: Concurrent | None = None
    accuracy: AveragePrecision | None = None
    agreement: Agreement | None = None
    ratio: Ratio | None = None
    cost_per_million: float | None = None
    energy_j: float | None = None
    compute: Compute | None = None
    detections: tuple[dict[str, Any], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if (self.state is RowState.OK) == bool(self.reason):
            msg = f"a row says why unless it is ok; {self.name} is {self.state.value} with {self.reason!r}"
            raise ConfigError(msg)
