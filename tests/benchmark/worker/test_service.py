"""What a row's process does when asked, with a bundle of a few operators."""

from __future__ import annotations

import io
import json

import cv2
import numpy as np
import pytest

from edgeseg.benchmark.row import Kind
from edgeseg.benchmark.runners.spec import Recipe
from edgeseg.benchmark.worker.__main__ import serve
from edgeseg.benchmark.worker.service import Station
from edgeseg.errors import ArtifactError, InputError
from edgeseg.records import json_from_record
from tests.runtime.fake_bundle import SIZE_HW, make_bundle

pytest.importorskip("onnxruntime")


@pytest.fixture
def frames(tmp_path) -> str:
    path = tmp_path / "frames.npy"
    np.save(path, np.stack([np.full((1, *SIZE_HW, 3), level, np.uint8) for level in (0, 200)]))
    return str(path)


@pytest.fixture
def recipe(tmp_path) -> dict:
    make_bundle(tmp_path / "model")
    return json_from_record(
        Recipe(
            kind=Kind.BUNDLE,
            engine="onnxruntime",
            precision="fp32",
            model=str(tmp_path / "model"),
            threads=1,
        )
    )


@pytest.fixture
def station(recipe, frames):
    station = Station()
    told = station.open(recipe, frames)
    assert told["description"].startswith("ONNX Runtime ")
    assert told["load_ms"] > 0
    assert 0 < told["file_mb"] < 1
    yield station
    station.close()


def test_calls_are_timed_with_their_stages(station):
    told = station.call(batch=0, threshold=0.5, calls=3)

    assert len(told["times_ms"]) == len(told["stages_ms"]) == 3
    assert told["found"] == 3
    for whole, parts in zip(told["times_ms"], told["stages_ms"], strict=True):
        assert len(parts) == 3
        assert min(parts) >= 0
        assert sum(parts) == pytest.approx(whole, rel=1e-3)


def test_the_threshold_is_the_one_given(station):
    assert station.call(batch=0, threshold=0.65, calls=1)["found"] == 2
    told = station.scores(batch=1)
    assert told["scores"] == pytest.approx([0.9, 0.7, 0.6, 0.3, 0.1])
    assert told["images"] == 1


def test_several_callers_at_once(station):
    assert station.crowd(callers=3, threshold=0.5, duration_s=0.05)["images_per_s"] > 0


def test_what_a_caller_raises_is_raised(station):
    station.close()
    with pytest.raises(ArtifactError, match="the model is closed"):
        station.crowd(callers=2, threshold=0.5, duration_s=0.01)


def test_instances_of_an_image_file_in_its_own_pixels(station, tmp_path):
    height, width = SIZE_HW
    cv2.imwrite(str(tmp_path / "large.png"), np.zeros((2 * height, 2 * width, 3), np.uint8))
    results = station.detect(str(tmp_path / "large.png"), 7, 0.5)["results"]

    assert [item["image_id"] for item in results] == [7, 7, 7]
    assert results[0]["bbox"] == pytest.approx([8, 12, 32, 48], abs=1)
    assert results[0]["segmentation"]["size"] == [2 * height, 2 * width]
    with pytest.raises(InputError, match="cannot read"):
        station.detect(str(tmp_path / "absent.png"), 7, 0.5)


def test_memory_is_of_this_process(station):
    told = station.memory()

    assert told["peak_rss_mib"] > 10
    assert told["device_memory_mib"] is None


def test_lines_in_and_lines_out(recipe, frames):
    questions = [
        {"do": "open", "recipe": recipe, "frames": frames},
        {"do": "call", "batch": 0, "threshold": 0.5, "calls": 1},
        {"do": "open", "recipe": {**recipe, "precision": "int8"}, "frames": frames},
        {"do": "nothing"},
        {"do": "close"},
        {"do": "memory"},
    ]
    answers = io.StringIO()
    serve(Station(), io.StringIO("".join(json.dumps(line) + "\n" for line in questions)), answers)
    opened, called, refused, broken, closed = map(json.loads, answers.getvalue().splitlines())

    assert "ok" in opened
    assert called["ok"]["found"] == 3
    assert "edgeseg build-engine --int8 --target onnxruntime" in refused["error"]
    assert refused["ours"] is True
    assert broken["ours"] is False
    assert "'nothing'" in broken["error"]
    assert closed == {"ok": {}}
