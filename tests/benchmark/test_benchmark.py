"""Whole runs, with processes of their own: a bundle of a few operators, and a small Mask R-CNN in PyTorch."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgeseg.benchmark import benchmark as module
from edgeseg.benchmark import rounds
from edgeseg.benchmark import row_run as lane
from edgeseg.benchmark.benchmark import benchmark
from edgeseg.benchmark.config import BenchmarkConfig
from edgeseg.benchmark.row import RowState
from edgeseg.benchmark.row_run import measure_round
from edgeseg.benchmark.worker.process import RowError
from edgeseg.dataset.average_precision import truth_from_detections
from edgeseg.exporter.model.eager import eager_from_checkpoint, torchvision_from_checkpoint
from edgeseg.runtime.choice import EngineChoice
from edgeseg.runtime.model import load
from edgeseg.vision.images.reader import read_image
from tests.runtime.fake_bundle import make_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.benchmark.row_run import RowRun
    from edgeseg.bundle.manifest import Bundle

pytest.importorskip("onnxruntime")

WITHOUT_TORCH = """
import sys
for name in ("torch", "torchvision"):
    sys.modules[name] = None
from pathlib import Path
from edgeseg.benchmark import benchmark as module
from edgeseg.benchmark.config import BenchmarkConfig
rows = ("onnxruntime-fp32", "onnxruntime-int8")
config = BenchmarkConfig(model=Path(sys.argv[1]), rows=rows, turns=1, margin_percent=0)
report = module.benchmark(config)
print(*(row.state.value for row in report.rows), report.baseline)
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BenchmarkConfig:
    """A bundle of a few operators on four images; no matrix products."""
    monkeypatch.setattr(module.BenchmarkRun, "_measure_roofline", lambda run: None)
    make_bundle(tmp_path / "model")
    (tmp_path / "photos").mkdir()
    for number in range(1, 5):
        cv2.imwrite(str(tmp_path / f"photos/{number}.png"), np.full((64, 96, 3), 20 * number, np.uint8))
    return BenchmarkConfig(
        model=tmp_path / "model",
        images=tmp_path / "photos",
        rows=("onnxruntime-*",),
        engine=EngineChoice(threads=1),
        turns=2,
        margin_percent=0,
        price_per_hour=0.1,
    )


def test_a_run_of_a_bundle_alone(config: BenchmarkConfig) -> None:
    lines: list[str] = []
    report = benchmark(
        replace(config, concurrency=2), command=("edgeseg", "benchmark", "my photos"), progress=lines.append
    )

    fp32, int8 = report.rows
    assert (fp32.state, fp32.reason, report.baseline) == (RowState.OK, "", "onnxruntime-fp32")
    assert fp32.latency is not None
    assert len(fp32.latency.samples_ms) == 12
    assert fp32.ratio is not None
    assert (fp32.ratio.value, fp32.ratio.turns) == (1, 2)
    assert fp32.startup is not None
    assert fp32.startup.first_ms is not None
    assert fp32.startup.peak_rss_mib is not None
    assert fp32.startup.peak_rss_mib > 10
    assert fp32.concurrent is not None
    assert (fp32.concurrent.callers, fp32.found) == (2, 3)
    assert fp32.cost_per_million is not None
    assert fp32.cost_per_million > 0
    assert {item["image_id"] for item in fp32.detections} == {1, 2, 3, 4}
    assert [image.name for image in report.images] == ["1.png", "2.png", "3.png", "4.png"]
    assert int8.state is RowState.SKIPPED
    assert "`edgeseg build-engine --int8 --target onnxruntime --model" in int8.reason
    assert report.command == "edgeseg benchmark 'my photos'"
    assert (report.settings.turns, report.settings.threads, report.interrupted) == (2, 1, False)
    assert len(report.noise.probe_ms) == 2
    assert "turn 1 of 2" in lines


def test_processes_give_way_to_others(config: BenchmarkConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "MEASURING_TO_STARTUP_RATIO", 0)
    report = benchmark(replace(config, rows=("onnxruntime-fp32",), turns=3, boxes=2))

    (row,) = report.rows
    assert row.ratio is not None
    assert (row.state, row.ratio.processes, row.ratio.turns) == (RowState.OK, 3, 3)
    assert row.found == 2
    assert row.startup is not None
    assert row.startup.load_ms > 0


def test_a_ratio_that_stays_vague_is_told(config: BenchmarkConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"OpenVINO INT8": 0.061, "OpenVINO FP32": 0.02, "OpenVINO BF16": math.inf}
    monkeypatch.setattr(module, "ratio_margins", lambda row_runs: found)
    report = benchmark(replace(config, rows=("onnxruntime-fp32",), margin_percent=2.5, most_s=0))

    took = f"{report.settings.duration_s:.0f} s"
    told = (
        f"{took} were too few to know every ratio within 2.5 %: OpenVINO INT8 6.1 %, "
        "OpenVINO BF16 unknown, with fewer than 3 processes"
    )
    assert told in report.noise.warnings


def test_thresholds_that_leave_so_many(config: BenchmarkConfig) -> None:
    report = benchmark(replace(config, rows=("onnxruntime-fp32",), boxes=2))

    assert (report.rows[0].found, report.settings.boxes) == (2, 2)
    threshold = report.rows[0].threshold
    assert threshold is not None
    assert 0.6 < threshold < 0.7


def test_average_precision_of_a_row(config: BenchmarkConfig, tmp_path: Path) -> None:
    with load(config.model, threads=1) as model:
        found = [(number, model(read_image(tmp_path / f"photos/{number}.png"), 0.5)) for number in (1, 2)]
    truth = truth_from_detections(found, 0.5)
    for item in truth["images"]:
        item["file_name"] = f"{item['id']}.png"
    # Not the labels, which the results have.
    for item in truth["annotations"]:
        item["category_id"] += 10
    for item in truth["categories"]:
        item["id"] += 10
    (tmp_path / "labels.json").write_text(json.dumps(truth))
    report = benchmark(
        replace(config, rows=("onnxruntime-fp32",), annotations=tmp_path / "labels.json", turns=1)
    )

    scores = report.rows[0].accuracy
    assert scores is not None
    assert (scores.images, scores.instances) == (2, 6)
    assert scores.box_ap == pytest.approx(1)


def test_a_row_that_breaks_half_way(config: BenchmarkConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_second(lane: RowRun, turn: int, batch: int, **rest: Any) -> None:
        if turn == 1:
            msg = "its process was ended by SIGKILL"
            raise RowError(msg)
        as_is(lane, turn, batch, **rest)

    as_is = measure_round
    monkeypatch.setattr(rounds, "measure_round", break_second)
    row = benchmark(config).rows[0]

    assert (row.state, row.reason) == (RowState.PARTIAL, "its process was ended by SIGKILL")
    assert row.latency is not None


@pytest.mark.parametrize(
    ("where", "state"),
    [
        ("run_rounds", RowState.SKIPPED),
        ("measure_accuracy", RowState.PARTIAL),
        ("start_row", RowState.SKIPPED),
    ],
)
def test_ctrl_c_gives_a_report_of_what_there_is(
    config: BenchmarkConfig, monkeypatch: pytest.MonkeyPatch, where: str, state: RowState
) -> None:
    def interrupt(*args: Any, **rest: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, where, interrupt)
    report = benchmark(config)

    assert report.interrupted
    assert report.rows[0].state is state
    assert report.rows[0].reason.startswith("interrupted")


def test_torch_is_not_here(tmp_path: Path) -> None:
    make_bundle(tmp_path / "model")
    command = [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path / "model")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.stdout == "ok skipped onnxruntime-fp32\n", done.stderr


@pytest.fixture(scope="module")
def labelled(
    bundle: Bundle, checkpoint: Path, photographs: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Photographs of the input's size; labels are what PyTorch finds, some moved, some left out."""
    folder = tmp_path_factory.mktemp("labelled")
    model = eager_from_checkpoint(checkpoint, bundle.spec, threads=1)
    found = [(number, model(frame, 0.1)) for number, frame in enumerate(photographs, start=1)]
    truth = truth_from_detections(found, 0.1)
    for item in truth["images"]:
        item["file_name"] = f"{item['id']}.png"
        cv2.imwrite(str(folder / item["file_name"]), photographs[item["id"] - 1])
    kept = [item for number, item in enumerate(truth["annotations"]) if number % 4]
    for number, item in enumerate(kept):
        item["bbox"][0] += number % 5
    (folder / "labels.json").write_text(json.dumps({**truth, "annotations": kept}))
    return folder


def independent_ap(folder: Path, bundle: Any, checkpoint: Path) -> list[float]:
    """AP of boxes and of masks, by torchvision's and pycocotools' documented calls."""
    model = torchvision_from_checkpoint(checkpoint, bundle.spec).eval()
    height, width = bundle.spec.input_size_hw
    model.transform.min_size, model.transform.max_size = (min(height, width),), max(height, width)
    content = json.loads((folder / "labels.json").read_text())
    results = []
    for image in content["images"]:
        frame = read_image(folder / image["file_name"])
        tensor = torch.from_numpy(frame[..., ::-1].copy()).permute(2, 0, 1).float() / 255
        with torch.inference_mode():
            found = model([tensor])[0]
        for index in range(len(found["scores"])):
            x1, y1, x2, y2 = found["boxes"][index].tolist()
            dense = np.asfortranarray((found["masks"][index, 0].numpy() >= 0.5).astype(np.uint8))
            results.append(
                {
                    "image_id": image["id"],
                    "category_id": int(found["labels"][index]),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": float(found["scores"][index]),
                    "segmentation": mask.encode(dense),
                }
            )
    truth = COCO()
    truth.dataset = {
        **content,
        "annotations": [
            {**item, "id": number, "iscrowd": 0, "area": item["bbox"][2] * item["bbox"][3]}
            for number, item in enumerate(content["annotations"], start=1)
        ],
    }
    truth.createIndex()
    scores = []
    for kind in ("bbox", "segm"):
        evaluation = COCOeval(truth, truth.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        scores.append(float(evaluation.stats[0]))
    return scores


def test_pytorchs_average_precision_is_that_of_pycocotools(
    bundle: Bundle, checkpoint: Path, labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.BenchmarkRun, "_measure_roofline", lambda run: None)
    report = benchmark(
        BenchmarkConfig(
            model=bundle.path,
            checkpoint=checkpoint,
            annotations=labelled / "labels.json",
            rows=("pytorch-eager",),
            turns=1,
            margin_percent=0,
            frames=1,
            engine=EngineChoice(threads=1),
        )
    )

    (row,) = report.rows
    assert (row.state, row.reason, report.baseline) == (RowState.OK, "", "pytorch-eager")
    box_ap, mask_ap = independent_ap(labelled, bundle, checkpoint)
    assert 0.2 < mask_ap < 0.99
    assert row.accuracy is not None
    assert row.accuracy.box_ap == pytest.approx(box_ap, abs=1e-3)
    assert row.accuracy.mask_ap == pytest.approx(mask_ap, abs=1e-3)
    assert row.stages is not None
    assert min(row.stages.prepare_ms, row.stages.infer_ms, row.stages.finish_ms) > 0
    assert row.description.endswith(" on CPU, eager FP32")


@pytest.mark.slow
def test_what_users_have_today_finds_what_pytorch_finds(
    bundle: Bundle, checkpoint: Path, photographs: np.ndarray, tmp_path: Path
) -> None:
    """Minutes: torch.compile, torchvision's ONNX export and OpenVINO's conversion of the whole model."""
    for number, frame in enumerate(photographs):
        cv2.imwrite(str(tmp_path / f"{number}.png"), frame)
    report = benchmark(
        BenchmarkConfig(
            model=bundle.path,
            checkpoint=checkpoint,
            images=tmp_path,
            rows=("pytorch-*", "naive-*"),
            turns=2,
            margin_percent=0,
        )
    )

    assert [row.reason for row in report.rows] == [""] * 4
    _, best, onnx, openvino = report.rows
    assert len(best.notes) == 3
    for row in (onnx, openvino):
        assert row.agreement is not None
        assert row.agreement.matched >= 0.9 * row.agreement.expected
    assert report.peaks_gmacs_per_s["fp32"] > 1
