"""A whole search on graphs of a few operators: real processes, annotations and limits, no export."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edgeseg.benchmark.tune import measurer as bench_module
from edgeseg.benchmark.tune import tuner as module
from edgeseg.benchmark.tune.candidate import Candidate, CandidateState
from edgeseg.benchmark.tune.config import TuneConfig, TuneLimits
from edgeseg.benchmark.tune.engines import AvailableEngines
from edgeseg.benchmark.tune.measurer import MachineMeasurer, calibration_for
from edgeseg.benchmark.tune.tuner import open_tuner
from edgeseg.bundle.engines import Precision, Target
from edgeseg.bundle.manifest import Bundle, open_bundle, write_manifest
from edgeseg.errors import CalibrationError, ConfigError, EdgeSegError, InputError
from edgeseg.exporter.config import DetectionLimits as Counts
from edgeseg.runtime.choice import EngineChoice
from edgeseg.runtime.host.processors import Cpus
from edgeseg.spec import Lowering, ModelSpec
from tests.calibration.pictures import write_pictures
from tests.runtime.fake_bundle import NAMES, make_spec, write_graph

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeseg.benchmark.tune.search import Timing

SIZE_HW = (32, 64)
# Its shares are this size and a square.
SQUARE = (32, 32)


class FakeDrafts:
    """Writes graphs of a few operators, which find the same boxes in an input of any size."""

    def __init__(self, config: Any) -> None:
        self.model_limits = Counts(
            max_detections=5, max_proposals=50, score_threshold=0.05, nms_threshold=0.5
        )

    def spec(self, size_hw: tuple[int, int], max_proposals: int) -> ModelSpec:
        return make_spec(input_size_hw=size_hw, max_proposals=max_proposals)

    def write(
        self, folder: Path, size_hw: tuple[int, int], max_proposals: int, lowerings: Sequence[Lowering] = ()
    ) -> Bundle:
        folder.mkdir()
        spec = self.spec(size_hw, max_proposals)
        write_graph(folder / Lowering.PORTABLE.file_name, spec)
        write_manifest(folder, spec, [Lowering.PORTABLE.file_name])
        return open_bundle(folder)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "VariantWriter", FakeDrafts)
    # One engine, so that few processes start.
    engines = AvailableEngines(((Target.ONNXRUNTIME, Precision.FP32),), ())
    monkeypatch.setattr(module, "runnable_engines", lambda choice, int8: engines)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in (1, 2):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((*SIZE_HW, 3), 0, np.uint8))
    return folder


def config(photos: Path, **changes: Any) -> TuneConfig:
    facts = {
        "checkpoint": photos.parent / "ckpt.pth",
        "limits": TuneLimits(max_latency_ms=60_000),
        "images": photos,
        "size_hw": SIZE_HW,
        "engine": EngineChoice(threads=1),
        "turns": 1,
        "frames": 1,
    }
    return TuneConfig(**{**facts, **changes})


def annotate(folder: Path, names: Sequence[str] = ("1.png", "2.png")) -> Path:
    """Boxes where the fake graph finds them in an input of full size."""
    boxes = [(4.0, 6.0, 16.0, 24.0), (40.0, 10.0, 24.0, 22.0)]
    truth = {
        "images": [
            {"id": number, "file_name": name, "height": SIZE_HW[0], "width": SIZE_HW[1]}
            for number, name in enumerate(names, start=1)
        ],
        "categories": [{"id": label, "name": name} for label, name in enumerate(NAMES) if label],
        "annotations": [
            {
                "id": 10 * image + label,
                "image_id": image,
                "category_id": label,
                "bbox": list(box),
                "area": box[2] * box[3],
                "iscrowd": 0,
                "segmentation": [[box[0], box[1], box[0] + box[2], box[1], box[0], box[1] + box[3]]],
            }
            for image in range(1, len(names) + 1)
            for label, box in enumerate(boxes, start=1)
        ],
    }
    path = folder / "instances.json"
    path.write_text(json.dumps(truth))
    return path


def test_a_whole_search_with_annotations(photos: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    asked = config(photos, annotations=annotate(photos))
    with open_tuner(asked, lines.append) as tuner:
        report = tuner.run()
        folder = tuner.measurer.folder

    assert not report.ended
    assert report.reference is not None
    assert report.reference.candidate.shape.size_hw == SIZE_HW
    assert report.reference.lost == 0
    assert report.reference.box_ap is not None
    assert report.reference.box_ap > 50
    # The boxes of the square input come out at other places in the frame.
    (square,) = [item for item in report.points if item.candidate.shape.size_hw == SQUARE]
    assert square.state is CandidateState.MEASURED
    assert square.lost is not None
    assert square.lost > 10
    assert report.chosen == report.reference
    assert report.measured_on.endswith("instances.json")
    assert report.images == 2
    assert "--size 32 64" in report.command
    assert any("scoring" in line for line in lines)
    assert not folder.exists()


def test_without_annotations_the_reference_is_agreed_with(photos: Path) -> None:
    with open_tuner(config(photos, limits=TuneLimits(max_map_drop=1))) as tuner:
        report = tuner.run()

    assert report.reference is not None
    assert report.reference.box_ap == pytest.approx(100)
    assert report.measured_on == "agreement with FP32 at 32 x 64, 50 proposals"


def test_a_full_disk_ends_the_search_and_is_told(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    write = FakeDrafts.write

    def full(self: FakeDrafts, folder: Path, *rest: Any) -> Bundle:
        written.append(folder)
        if len(written) > 1:
            msg = "cannot write x: No space left on device"
            raise EdgeSegError(msg) from OSError(errno.ENOSPC, "No space left on device")
        return write(self, folder, *rest)

    monkeypatch.setattr(FakeDrafts, "write", full)
    with open_tuner(config(photos)) as tuner:
        report = tuner.run()

    assert report.failure == "cannot write x: No space left on device"
    assert report.reference is not None
    assert len(report.points) == 1


def test_ctrl_c_gives_a_report(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    time_candidates = bench_module.MachineMeasurer.time_candidates
    calls: list[int] = []

    def interrupted(
        self: MachineMeasurer, candidates: Sequence[Candidate], turns: int
    ) -> Mapping[Candidate, Timing]:
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return time_candidates(self, candidates, turns)

    monkeypatch.setattr(bench_module.MachineMeasurer, "time_candidates", interrupted)
    with open_tuner(config(photos)) as tuner:
        report = tuner.run()

    assert report.interrupted
    assert report.ended == "it was interrupted"
    assert report.chosen == report.reference


def test_ctrl_c_before_anything_was_measured(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: MachineMeasurer, candidate: Candidate) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_module.MachineMeasurer, "score", interrupted)
    with open_tuner(config(photos)) as tuner, pytest.raises(KeyboardInterrupt):
        tuner.run()


def test_time_that_is_over_at_once(photos: Path) -> None:
    with open_tuner(config(photos, minutes=1e-9)) as tuner:
        report = tuner.run()

    assert report.ended == "1e-09 minutes are over"
    assert report.chosen == report.reference


def test_no_images(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with (
        pytest.raises(InputError, match="found none in"),
        open_tuner(config(photos, images=tmp_path / "empty")),
    ):
        pass


def test_annotations_of_other_images(photos: Path) -> None:
    asked = config(photos, annotations=annotate(photos, names=("a.png", "b.png")))

    with pytest.raises(InputError, match=r"a\.png"), open_tuner(asked):
        pass


def test_images_that_cannot_calibrate_are_told_at_once(photos: Path) -> None:
    asked = config(photos, calib=photos, calib_images=20)

    with pytest.raises(CalibrationError, match="one flat colour"), open_tuner(asked):
        pass


def test_all_images_calibrate_where_there_are_few(photos: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    with open_tuner(config(photos, calib=write_pictures(tmp_path / "calib", 12)), note=notes.append) as tuner:
        asked = calibration_for(tuner.config, tmp_path / "calib", tmp_path)

    assert asked.images == 12
    assert [line.partition(" in ")[0] for line in notes if "calib" in line] == [
        "calibrating on all 12 usable images"
    ]


def test_something_is_at_the_output(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a bundle"), open_tuner(config(photos, output=photos)):
        pass


def test_nothing_is_written_where_nothing_was_chosen(photos: Path, tmp_path: Path) -> None:
    asked = config(photos, limits=TuneLimits(max_latency_ms=1e-6), output=tmp_path / "out")
    with open_tuner(asked) as tuner:
        report = tuner.run()
        with pytest.raises(ConfigError, match="where one was chosen"):
            tuner.write(report)

    assert report.chosen is None
    assert report.nearest is not None
    assert not (tmp_path / "out").exists()


def test_threads_that_are_tried_stay_within_the_quota_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    limited = Cpus(present=16, allowed=tuple(range(16)), quota=3.5)
    monkeypatch.setattr(module, "usable_cpus", lambda: limited)

    assert module._thread_counts(None) == (4, 2, 1)
    assert module._thread_counts(6) == (6,)
