"""What a row's process does when asked, with a bundle of a few operators."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edgeseg.benchmark.row import RowKind
from edgeseg.benchmark.runners.spec import RunnerSpec
from edgeseg.benchmark.worker.__main__ import serve
from edgeseg.benchmark.worker.requests import (
    CallConcurrently,
    DetectInstances,
    ListScores,
    LoadRow,
    Memory,
    ReadMemory,
    TimeCalls,
)
from edgeseg.benchmark.worker.service import WorkerService
from edgeseg.errors import ArtifactError, InputError
from edgeseg.records import json_from_record
from tests.runtime.fake_bundle import SIZE_HW, make_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("onnxruntime")


@pytest.fixture
def frames(tmp_path: Path) -> str:
    path = tmp_path / "frames.npy"
    np.save(path, np.stack([np.full((1, *SIZE_HW, 3), level, np.uint8) for level in (0, 200)]))
    return str(path)


@pytest.fixture
def runner_spec(tmp_path: Path) -> RunnerSpec:
    make_bundle(tmp_path / "model")
    return RunnerSpec(
        kind=RowKind.BUNDLE,
        engine="onnxruntime",
        precision="fp32",
        model=str(tmp_path / "model"),
        threads=1,
    )


@pytest.fixture
def service(runner_spec: RunnerSpec, frames: str) -> Iterator[WorkerService]:
    service = WorkerService()
    loaded = service.load(LoadRow(runner_spec=runner_spec, frames=frames))
    assert loaded.description.startswith("ONNX Runtime ")
    assert loaded.load_ms > 0
    assert 0 < loaded.file_mb < 1
    yield service
    service.close()


def test_calls_are_timed_with_their_stages(service: WorkerService) -> None:
    measured = service.time_calls(TimeCalls(batch=0, threshold=0.5, calls=3))

    assert len(measured.times_ms) == len(measured.stages_ms) == 3
    assert measured.found == 3
    for whole, parts in zip(measured.times_ms, measured.stages_ms, strict=True):
        assert len(parts) == 3
        assert min(parts) >= 0
        assert sum(parts) == pytest.approx(whole, rel=1e-3)


def test_the_threshold_is_the_one_given(service: WorkerService) -> None:
    assert service.time_calls(TimeCalls(batch=0, threshold=0.65, calls=1)).found == 2
    found = service.list_scores(ListScores(batch=1))
    assert found.scores == pytest.approx((0.9, 0.7, 0.6, 0.3, 0.1))
    assert found.images == 1


def test_several_callers_at_once(service: WorkerService) -> None:
    request = CallConcurrently(callers=3, threshold=0.5, duration_s=0.05)
    assert service.call_concurrently(request).images_per_s > 0


def test_what_a_caller_raises_is_raised(service: WorkerService) -> None:
    service.close()
    with pytest.raises(ArtifactError, match="the model is closed"):
        service.call_concurrently(CallConcurrently(callers=2, threshold=0.5, duration_s=0.01))


def test_instances_of_an_image_file_in_its_own_pixels(service: WorkerService, tmp_path: Path) -> None:
    height, width = SIZE_HW
    cv2.imwrite(str(tmp_path / "large.png"), np.zeros((2 * height, 2 * width, 3), np.uint8))
    request = DetectInstances(path=str(tmp_path / "large.png"), image_id=7, threshold=0.5)
    results = service.detect(request).results

    assert [item["image_id"] for item in results] == [7, 7, 7]
    assert results[0]["bbox"] == pytest.approx([8, 12, 32, 48], abs=1)
    assert results[0]["segmentation"]["size"] == [2 * height, 2 * width]
    with pytest.raises(InputError, match="cannot read"):
        service.detect(replace(request, path=str(tmp_path / "absent.png")))


def test_memory_is_of_this_process(service: WorkerService) -> None:
    memory = service.answer(ReadMemory())

    assert isinstance(memory, Memory)
    assert memory.peak_rss_mib > 10
    assert memory.device_memory_mib is None


def test_lines_in_and_lines_out(runner_spec: RunnerSpec, frames: str) -> None:
    spec = json_from_record(runner_spec)
    requests = [
        {"do": "open", "runner_spec": spec, "frames": frames},
        {"do": "call", "batch": 0, "threshold": 0.5, "calls": 1},
        {"do": "open", "runner_spec": {**spec, "precision": "int8"}, "frames": frames},
        {"do": "nothing"},
        {"do": "close"},
        {"do": "memory"},
    ]
    responses = io.StringIO()
    serve(WorkerService(), io.StringIO("".join(json.dumps(line) + "\n" for line in requests)), responses)
    opened, called, refused, broken, closed = map(json.loads, responses.getvalue().splitlines())

    assert "ok" in opened
    assert called["ok"]["found"] == 3
    assert "edgeseg build-engine --int8 --target onnxruntime" in refused["error"]
    assert refused["ours"] is True
    assert broken["ours"] is False
    assert "'nothing'" in broken["error"]
    assert closed == {"ok": {}}
