"""A report with every field filled, for tests of what reads one."""

from __future__ import annotations

from typing import Any

from edgeseg.benchmark.report import BenchmarkReport, Machine, Noise, Settings, ShownImage
from edgeseg.benchmark.row import (
    Agreement,
    Compute,
    Concurrent,
    Latency,
    Ratio,
    Row,
    RowKind,
    RowState,
    Stages,
    Startup,
)
from edgeseg.dataset.average_precision import AveragePrecision
from edgeseg.vision.frames import Skipped


def make_row(name: str = "openvino-int8", **changes: Any) -> Row:
    facts: dict[str, Any] = {
        "name": name,
        "label": "OpenVINO INT8",
        "kind": RowKind.BUNDLE,
        "engine": "openvino",
        "precision": "int8",
        "description": "OpenVINO 2026.4.1 on CPU, INT8",
        "notes": ("a note",),
        "file_mb": 45.5,
        "found": 9.5,
        "threshold": 0.5,
        "latency": Latency(
            samples_ms=(10.0, 12.0, 11.0),
            p50_ms=11.0,
            p90_ms=12.0,
            p99_ms=12.0,
            mean_ms=11.0,
            min_ms=10.0,
            max_ms=12.0,
            std_ms=0.816,
        ),
        "stages": Stages(prepare_ms=1.0, infer_ms=9.0, finish_ms=1.0),
        "startup": Startup(load_ms=900.0, first_ms=40.0, peak_rss_mib=540.0),
        "images_per_s": 90.9,
        "concurrent": Concurrent(callers=2, images_per_s=95.0),
        "accuracy": AveragePrecision(
            box_ap=0.34,
            box_ap50=0.5,
            box_ap75=0.3,
            mask_ap=0.33,
            mask_ap50=0.5,
            mask_ap75=0.3,
            images=2,
            instances=20,
            detections=30,
            box_ap_by_class={"nucleus": 0.34},
            mask_ap_by_class={"nucleus": 0.33},
        ),
        "agreement": Agreement(
            reference="pytorch-eager",
            images=2,
            expected=20,
            matched=19,
            extra=1,
            box_px=0.4,
            mask_iou=0.98,
            mask_iou_p5=0.9,
        ),
        "ratio": Ratio(value=5.0, low=4.8, high=5.2, turns=3),
        "cost_per_million": 3.2,
        "energy_j": 1.5,
        "compute": Compute(gmacs=265.0, gmacs_per_s=400.0, peak_gmacs_per_s=800.0, share_of_peak=0.5),
        "detections": (
            {
                "image_id": 1,
                "category_id": 1,
                "bbox": [1.0, 2.0, 3.0, 4.0],
                "score": 0.9,
                "segmentation": {"size": [8, 8], "counts": "04L0"},
            },
        ),
    }
    return Row(**{**facts, **changes})


def make_report(**changes: Any) -> BenchmarkReport:
    facts: dict[str, Any] = {
        "date": "2026-11-21T12:00:00+00:00",
        "command": "edgeseg benchmark",
        "edgeseg_version": "0.1.0",
        "architecture": "maskrcnn_resnet50_fpn",
        "class_names": ("__background__", "nucleus"),
        "machine": Machine(
            processor="Intel Xeon, INT8: amx_int8",
            cores=2,
            memory="24.0 GiB",
            gpu="no NVIDIA GPU",
            system="Linux 6.1 x86_64",
            python="3.11.7",
            versions={"torch": "2.11.0"},
        ),
        "settings": Settings(
            model="edgeseg-model",
            checkpoint="model.pth",
            images="photos",
            annotations=None,
            input_size_hw=(512, 640),
            frame_size_hw=(512, 640),
            batch=1,
            threads=2,
            score_threshold=0.5,
            boxes=None,
            warmup=1,
            turns=3,
            duration_s=12.5,
            concurrency=1,
            price_per_hour=0.1,
        ),
        "rows": (
            make_row(
                "pytorch-eager",
                label="PyTorch eager",
                kind=RowKind.PYTORCH,
                engine="pytorch",
                precision="fp32",
                agreement=None,
            ),
            make_row(),
            make_row(
                "tensorrt",
                label="TensorRT",
                engine="tensorrt",
                precision="fp16",
                state=RowState.SKIPPED,
                reason="no NVIDIA GPU here",
            ),
        ),
        "baseline": "pytorch-eager",
        "peaks_gmacs_per_s": {"fp32": 200.0},
        "noise": Noise(probe_ms=(5.0, 5.1), probe_spread=0.02, others_percent=1.0, warnings=("noisy",)),
        "images": (ShownImage(image_id=1, name="1.jpg", path="photos/1.jpg", size_hw=(8, 8)),),
        "skipped": (Skipped(name="2.jpg", reason="not an image"),),
        "remark": "",
        "interrupted": False,
    }
    return BenchmarkReport(**{**facts, **changes})
