"""A bundle for landscape and upright frames: as many objects as torchvision finds, through every step."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edgeseg.benchmark.evaluate import EvaluateConfig, evaluate_bundle
from edgeseg.builder.build import BuildConfig, build_engine
from edgeseg.bundle.engines import Precision, Target, engine_path
from edgeseg.bundle.manifest import CALIBRATION_FILE, open_bundle
from edgeseg.calibration.table import read_table
from edgeseg.dataset.average_precision import average_precision, truth_from_detections
from edgeseg.demo import checkpoint_path
from edgeseg.demo.conveyor import ConveyorScene
from edgeseg.errors import ArtifactError, ConfigError, ExportError
from edgeseg.exporter.config import ExportConfig
from edgeseg.exporter.export import export
from edgeseg.exporter.model.eager import ResizingDetector, torchvision_from_checkpoint
from edgeseg.quantisation.calibrate import CalibrateConfig, calibrate
from edgeseg.runtime.choice import EngineChoice
from edgeseg.runtime.model import load
from edgeseg.vision.images.reader import read_image
from tests.altered import sealed
from tests.built import built_once

from .short import without_half

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.vision.detections import Detections

LANDSCAPE, UPRIGHT = (192, 256), (256, 192)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Belt pictures, every second one turned upright."""
    folder = tmp_path_factory.mktemp("belt")
    for number in range(12):
        image = cv2.resize(ConveyorScene(seed=7000 + number).frame(0).image, (256, 192))
        turned = np.ascontiguousarray(np.rot90(image)) if number % 2 else image
        cv2.imwrite(str(folder / f"{number:02}.png"), turned)
    return folder


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Bundle:
    def write(folder: Path) -> None:
        asked = ExportConfig(
            checkpoint=checkpoint_path(),
            output=folder / "model",
            sizes_hw=(LANDSCAPE, UPRIGHT),
            check=pictures,
        )
        with without_half():
            export(asked)

    return open_bundle(built_once(tmp_path_factory, "both", write) / "model")


@pytest.fixture(scope="module")
def torchvision_found(both: Bundle, pictures: Path) -> list[tuple[int, Detections]]:
    model = torchvision_from_checkpoint(checkpoint_path(), both.spec)
    with ResizingDetector(model, [LANDSCAPE, UPRIGHT], both.spec, threads=1) as detector:
        return [
            (number, detector([read_image(path)], both.spec.score_threshold)[0])
            for number, path in enumerate(sorted(pictures.glob("*.png")))
        ]


def mask_ap(folder: Path, pictures: Path, truth: dict[str, Any]) -> float:
    with load(folder, backend="onnxruntime", precision="fp32", threads=1) as model:
        results = [
            result
            for number, path in enumerate(sorted(pictures.glob("*.png")))
            for result in model(read_image(path), 0.05).to_coco(number)
        ]
    return average_precision(truth, results).mask_ap


def test_upright_frames_are_found_as_torchvision_finds_them(
    both: Bundle, pictures: Path, torchvision_found: list[tuple[int, Detections]]
) -> None:
    truth = truth_from_detections(torchvision_found)
    assert len(truth["annotations"]) > 40
    assert mask_ap(both.path, pictures, truth) > 0.97


def test_one_size_loses_what_is_upright(
    both: Bundle, pictures: Path, torchvision_found: list[tuple[int, Detections]], tmp_path: Path
) -> None:
    alone = tmp_path / "landscape"
    shutil.copytree(both.path, alone)
    manifest = json.loads((alone / "model.json").read_text())
    del manifest["files"]["sizes/256x192/model.json"]
    (alone / "model.json").write_text(json.dumps(sealed(manifest)))
    assert mask_ap(alone, pictures, truth_from_detections(torchvision_found)) < 0.9


def test_each_size_has_passed_the_gate(both: Bundle) -> None:
    assert [each.spec.input_size_hw for each in both.sizes] == [LANDSCAPE, UPRIGHT]
    for each in both.sizes:
        assert each.spec.parity is not None
        assert each.spec.parity.passed
        assert each.spec.parity.rows[0].matched > 20


def test_evaluate_shows_what_letterboxing_costs(
    both: Bundle, pictures: Path, torchvision_found: list[tuple[int, Detections]], tmp_path: Path
) -> None:
    truth = truth_from_detections(torchvision_found)
    for item in truth["images"]:
        item["file_name"] = f"{item['id']:02}.png"
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(truth), encoding="utf-8")
    config = EvaluateConfig(
        annotations=path,
        images=pictures,
        model=both.path,
        checkpoint=checkpoint_path(),
        engine=EngineChoice(backend="onnxruntime", threads=1),
        max_images=4,
        precisions=("fp32",),
    )
    letterboxed, own, fp32 = evaluate_bundle(config).rows
    assert [row.name for row in (letterboxed, own, fp32)] == ["PyTorch", "PyTorch, own resizing", "FP32"]
    assert "its own resizing (192 to 256)" in own.computed_by
    # The labels are what it finds.
    assert own.scores.mask_ap == pytest.approx(1)
    assert fp32.scores.mask_ap == pytest.approx(letterboxed.scores.mask_ap, abs=0.001)


def test_one_table_and_an_engine_for_each_size(both: Bundle, pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(both.path, folder)
    notes: list[str] = []
    calibrate(CalibrateConfig(calib=pictures, model=folder, images=12, check=False), note=notes.append)
    tables = [read_table(each.path / CALIBRATION_FILE) for each in open_bundle(folder).sizes]
    assert tables[0].ranges == tables[1].ranges
    assert tables[0].graph_sha256 != tables[1].graph_sha256
    assert not [note for note in notes if "--size" in note]

    built = build_engine(BuildConfig(model=folder, target=Target.ONNXRUNTIME, precision=Precision.INT8))
    paths = [engine.path for engine in (built.engine, *built.other_sizes)]
    assert paths == [
        engine_path(each.path, Target.ONNXRUNTIME, Precision.INT8) for each in open_bundle(folder).sizes
    ]
    frame = read_image(pictures / "01.png")
    with load(folder, backend="onnxruntime", precision="int8", threads=1) as model:
        assert model.description.endswith("INT8")
        assert len(model(frame)) > 3

    paths[1].with_suffix(".json").unlink()
    with pytest.raises(ArtifactError, match=r"256x192.*build it with"):
        load(folder, backend="onnxruntime", precision="int8")
    with load(folder, backend="onnxruntime", threads=1) as model:
        # Never one precision for landscape and another for upright.
        assert "FP32, as no engine" in model.description


def test_images_suggest_the_size_that_is_missing(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: object) -> None:
        msg = "far enough"
        raise ExportError(msg)

    monkeypatch.setattr("edgeseg.exporter.export.write_graph", stop)
    notes: list[str] = []
    config = ExportConfig(
        checkpoint=checkpoint_path(), output=tmp_path / "model", sizes_hw=(LANDSCAPE,), check=pictures
    )
    with pytest.raises(ExportError, match="far enough"):
        export(config, note=notes.append)
    assert [note.partition(" images")[0] for note in notes] == ["4 of 8"]
    assert "`--size 192 256 --size 256 192`" in notes[0]


def test_sizes_must_differ() -> None:
    with pytest.raises(ConfigError, match="must differ from each other, got 192 256, 192 256"):
        ExportConfig(checkpoint=checkpoint_path(), sizes_hw=(LANDSCAPE, LANDSCAPE))
