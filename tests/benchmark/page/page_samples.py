"""A report as a long run gives it; most latencies and sizes are those of docs/openvino.md."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from edgeseg.benchmark.report import BenchmarkReport, Noise, ShownImage
from edgeseg.benchmark.row import Agreement, Compute, Latency, Ratio, Row, RowKind, RowState, Stages, Startup
from edgeseg.dataset.average_precision import AveragePrecision
from edgeseg.vision.frames import Skipped
from tests.benchmark.samples import make_report, make_row
from tests.vision.found import make_detections

CLASS_NAMES = ("__background__", "bolt", "nut")
SIZE_HW = (120, 160)
GMACS = 219.0
PEAKS = {"fp32": 204.0, "bf16": 790.0, "int8": 1600.0}
BASELINE_MS = 2650.0
# name, label, kind, engine, precision, median ms, MiB, MB, mask AP
MEASURED = (
    ("pytorch-eager", "PyTorch eager", RowKind.PYTORCH, "pytorch", "fp32", 2650.0, 1410.0, 178.0, 0.2888),
    (
        "pytorch-best",
        "PyTorch compiled, BF16",
        RowKind.PYTORCH,
        "pytorch",
        "bf16",
        1190.0,
        1620.0,
        178.0,
        0.2879,
    ),
    (
        "naive-onnx",
        "torchvision's ONNX export",
        RowKind.WHOLE_MODEL,
        "onnxruntime",
        "fp32",
        2610.0,
        1533.0,
        178.4,
        0.2888,
    ),
    (
        "naive-openvino",
        "OpenVINO's own conversion",
        RowKind.WHOLE_MODEL,
        "openvino",
        "fp32",
        3180.0,
        1710.0,
        178.9,
        0.2888,
    ),
    (
        "onnxruntime-fp32",
        "ONNX Runtime FP32",
        RowKind.BUNDLE,
        "onnxruntime",
        "fp32",
        1460.0,
        959.0,
        178.1,
        0.2888,
    ),
    (
        "onnxruntime-int8",
        "ONNX Runtime INT8",
        RowKind.BUNDLE,
        "onnxruntime",
        "int8",
        500.0,
        542.0,
        45.5,
        0.2861,
    ),
    ("openvino-fp32", "OpenVINO FP32", RowKind.BUNDLE, "openvino", "fp32", 1480.0, 1057.0, 178.1, 0.2888),
    ("openvino-bf16", "OpenVINO BF16", RowKind.BUNDLE, "openvino", "bf16", 269.0, 715.0, 178.1, 0.2884),
    ("openvino-int8", "OpenVINO INT8", RowKind.BUNDLE, "openvino", "int8", 193.0, 554.0, 45.9, 0.2867),
)
ABSENT = (
    ("tensorrt-fp16", "TensorRT FP16", "tensorrt", RowState.SKIPPED, "there is no NVIDIA GPU here"),
    (
        "tensorrt-rtx-int8",
        "TensorRT for RTX INT8",
        "tensorrt-rtx",
        RowState.FAILED,
        "no engine for this GPU; run `edgeseg build-engine --int8`",
    ),
)


def make_latency(median_ms: float, calls: int = 40, seed: int = 0) -> Latency:
    """Times as a machine gives them: close together, with a tail upwards."""
    rng = np.random.default_rng(seed)
    samples = median_ms * (0.97 + 0.03 * rng.gamma(1.6, 1.0, calls))
    ordered = np.sort(samples)
    return Latency(
        samples_ms=tuple(samples.round(3).tolist()),
        p50_ms=float(np.median(samples)),
        p90_ms=float(ordered[calls - 1 - math.floor(0.1 * calls)]),
        p99_ms=float(ordered[calls - 1 - math.floor(0.01 * calls)]),
        mean_ms=float(samples.mean()),
        min_ms=float(ordered[0]),
        max_ms=float(ordered[-1]),
        std_ms=float(samples.std()),
    )


def make_accuracy(mask_ap: float, **changes: Any) -> AveragePrecision:
    facts: dict[str, Any] = {
        "box_ap": mask_ap + 0.0009,
        "box_ap50": 0.51,
        "box_ap75": 0.29,
        "mask_ap": mask_ap,
        "mask_ap50": 0.5,
        "mask_ap75": 0.28,
        "images": 60,
        "instances": 3291,
        "detections": 5200,
        "box_ap_by_class": {"bolt": mask_ap + 0.05, "nut": mask_ap - 0.05},
        "mask_ap_by_class": {"bolt": mask_ap + 0.06, "nut": mask_ap - 0.06},
    }
    return AveragePrecision(**{**facts, **changes})


def make_results(
    image_id: int, count: int = 3, size_hw: tuple[int, int] = SIZE_HW
) -> tuple[dict[str, Any], ...]:
    return tuple(make_detections(count, size_hw).to_coco(image_id))


def make_measured(
    name: str, label: str, kind: RowKind, engine: str, precision: str, *figures: float, **changes: Any
) -> Row:
    median_ms, memory_mib, file_mb, mask_ap = figures
    latency = make_latency(median_ms, seed=len(name))
    ratio, rate = BASELINE_MS / median_ms, GMACS / latency.p50_ms * 1e3
    first = kind is RowKind.PYTORCH and precision == "fp32"
    low, high = (1.0, 1.0) if first else (0.93, 1.04)
    facts: dict[str, Any] = {
        "label": label,
        "kind": kind,
        "engine": engine,
        "precision": precision,
        "latency": latency,
        "stages": Stages(prepare_ms=3.1, infer_ms=0.985 * median_ms - 3.1, finish_ms=0.015 * median_ms),
        "startup": Startup(load_ms=2.9 * memory_mib, first_ms=1.4 * median_ms, peak_rss_mib=memory_mib),
        "file_mb": file_mb,
        "images_per_s": 1e3 / latency.mean_ms,
        "concurrent": None,
        "accuracy": make_accuracy(mask_ap),
        "ratio": Ratio(value=ratio, low=low * ratio, high=high * ratio, turns=20),
        "agreement": None if first else make_agreement(),
        "cost_per_million": 0.1 * latency.mean_ms / 3.6,
        "energy_j": None,
        "compute": Compute(
            gmacs=GMACS,
            gmacs_per_s=rate,
            peak_gmacs_per_s=PEAKS[precision],
            share_of_peak=rate / PEAKS[precision],
        ),
        "notes": ("channels_last, bfloat16 autocast and torch.compile",) if name == "pytorch-best" else (),
        "detections": make_results(1) + make_results(2, count=2),
    }
    return make_row(name, **{**facts, **changes})


def make_agreement() -> Agreement:
    return Agreement(
        reference="pytorch-eager",
        images=60,
        expected=2204,
        matched=2187,
        extra=19,
        box_px=0.41,
        mask_iou=0.981,
        mask_iou_p5=0.902,
    )


def make_absent(name: str, label: str, engine: str, state: RowState, reason: str) -> Row:
    return Row(
        name=name,
        label=label,
        kind=RowKind.BUNDLE,
        engine=engine,
        precision="fp16",
        state=state,
        reason=reason,
    )


def make_image(image_id: int, name: str, size_hw: tuple[int, int] = SIZE_HW) -> ShownImage:
    return ShownImage(image_id=image_id, name=name, path=f"photos/{name}", size_hw=size_hw)


def make_long_report(**changes: Any) -> BenchmarkReport:
    facts: dict[str, Any] = {
        "architecture": "maskrcnn_resnet50_fpn",
        "command": "edgeseg benchmark --checkpoint r50.pth --images photos --html report.html",
        "class_names": CLASS_NAMES,
        "rows": tuple(make_measured(*row) for row in MEASURED) + tuple(make_absent(*row) for row in ABSENT),
        "peaks_gmacs_per_s": PEAKS,
        "noise": Noise(
            probe_ms=(5.0, 5.1, 5.6),
            probe_spread=0.034,
            others_percent=1.2,
            steal_percent=0.0,
            load_before=0.4,
        ),
        "images": (make_image(1, "belt/1.jpg"), make_image(2, "belt/2.jpg")),
        "skipped": (Skipped(name="thumbs.db", reason="not an image"),),
    }
    return make_report(**{**facts, **changes})


def make_pictures(report: BenchmarkReport) -> dict[int, np.ndarray]:
    """A smooth gradient of each image's size."""
    pictures = {}
    for image in report.images:
        ramp = np.linspace(40, 200, image.size_hw[1], dtype=np.uint8)
        pictures[image.image_id] = cv2.merge([np.tile(ramp, (image.size_hw[0], 1))] * 3)
    return pictures
