"""Average precision of a bundle beside PyTorch, on photographs whose labels are what PyTorch finds."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch

from edgeseg.benchmark.evaluate import EvaluateConfig, evaluate_bundle
from edgeseg.bundle.manifest import Bundle, write_manifest
from edgeseg.dataset.average_precision import truth_from_detections
from edgeseg.errors import ConfigError, DependencyError, InputError
from edgeseg.exporter.model.eager import EagerBackend, eager_from_checkpoint
from edgeseg.runtime.choice import EngineChoice
from edgeseg.runtime.model import SizedBackend, load, open_model
from edgeseg.spec import Lowering
from tests.models import build

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torchvision.models.detection import MaskRCNN

    from edgeseg.runtime.contract import RawDetections
    from edgeseg.runtime.model import Model


@pytest.fixture(scope="module")
def bundle(exported_bundle: Bundle) -> Bundle:
    """One whose graph finds what PyTorch finds."""
    return exported_bundle


@pytest.fixture(scope="module", name="annotations")
def annotations_of_photographs(
    bundle: Bundle, checkpoint: Path, photographs: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Labels beside `images/` with the photographs in other sizes than the network's input."""
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "images").mkdir()
    model = eager_from_checkpoint(checkpoint, bundle.spec, threads=1)
    found = []
    for number, photograph in enumerate(photographs, start=1):
        frame = cv2.resize(photograph, (200 + 31 * number, 333))
        cv2.imwrite(str(folder / "images" / f"{number}.png"), frame)
        found.append((number, model(frame, bundle.spec.score_threshold)))
    truth = truth_from_detections(found, bundle.spec.score_threshold)
    for item in truth["images"]:
        item["file_name"] = f"{item['id']}.png"
    path = folder / "labels.json"
    path.write_text(json.dumps(truth), encoding="utf-8")
    return path


@pytest.fixture
def config(annotations: Path, bundle: Bundle) -> EvaluateConfig:
    return EvaluateConfig(annotations=annotations, model=bundle.path, engine=EngineChoice(threads=1))


def test_the_graph_scores_as_pytorch_does(config: EvaluateConfig, checkpoint: Path) -> None:
    lines: list[str] = []
    report = evaluate_bundle(replace(config, checkpoint=checkpoint), lines.append)

    pytorch, resizing, fp32 = report.rows
    assert (pytorch.name, resizing.name, fp32.name) == ("PyTorch", "PyTorch, own resizing", "FP32")
    assert pytorch.computed_by.startswith("torchvision ")
    assert fp32.computed_by.startswith("ONNX Runtime ")
    assert pytorch.scores.instances > 20
    assert pytorch.scores.mask_ap == pytest.approx(1)
    for name in ("box_ap", "box_ap50", "box_ap75", "mask_ap", "mask_ap50", "mask_ap75"):
        # 0.1 points are promised.
        assert abs(getattr(fp32.scores, name) - getattr(pytorch.scores, name)) <= 0.001
    assert lines[0] == "trying image 1 of 4"
    assert {line.partition(":")[0] for line in lines[4:]} == {"PyTorch", "PyTorch, own resizing", "FP32"}


class Backend:
    """A backend of one function."""

    description = "wrong on purpose"

    def __init__(self, compute: Callable[[np.ndarray, float], RawDetections]) -> None:
        self.compute = compute

    def __call__(self, images: np.ndarray, score_threshold: float) -> RawDetections:
        return self.compute(images, score_threshold)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "mistake",
    [
        lambda images: images[..., ::-1].copy(),
        lambda images: np.roll(images, 16, axis=2),
        lambda images: images // 2,
    ],
    ids=["channels swapped", "shifted", "scaled"],
)
def test_a_graph_given_other_pixels_scores_less(
    config: EvaluateConfig,
    monkeypatch: pytest.MonkeyPatch,
    mistake: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
) -> None:
    whole = evaluate_bundle(config).rows[0].scores

    def load_wrong(path: Path, choice: EngineChoice) -> Model:
        model = open_model(path, choice)
        (network,) = model._sized_backends
        compute = network.backend
        wrong = Backend(lambda images, threshold: compute(mistake(images), threshold))
        model._sized_backends = (SizedBackend(network.spec, wrong),)
        return model

    monkeypatch.setattr("edgeseg.benchmark.evaluate.open_model", load_wrong)
    scores = evaluate_bundle(config).rows[0].scores

    assert whole.mask_ap - scores.mask_ap > 0.003
    assert whole.box_ap - scores.box_ap > 0.003


def test_pytorch_behind_the_backends_contract(
    resnet18: MaskRCNN, bundle: Bundle, photographs: np.ndarray
) -> None:
    spec = bundle.spec
    backend = EagerBackend(resnet18, spec, threads=1)
    before = torch.get_num_threads()
    low, high = (backend(photographs[:1], threshold) for threshold in (spec.score_threshold, 0.5))

    assert torch.get_num_threads() == before
    assert low.boxes_xyxy.shape == (1, spec.max_detections, 4)
    assert low.counts[0] > high.counts[0]
    kept = high.counts[0]
    assert (low.scores[0, :kept] == high.scores[0, :kept]).all()
    assert not high.scores[0, kept:].any()
    assert not high.masks[0, kept:].any()
    assert backend(photographs[:1], 1.0).counts.tolist() == [0]


def test_pytorch_in_a_model_finds_what_the_engine_finds(
    checkpoint: Path, bundle: Bundle, photographs: np.ndarray
) -> None:
    frame = cv2.resize(photographs[0], (411, 300))
    expected = load(bundle.path, threads=1)(frame, 0.05)
    found = eager_from_checkpoint(checkpoint, bundle.spec)(frame, 0.05)

    np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=0.05)
    assert (found.labels == expected.labels).all()


def test_only_the_first_images(config: EvaluateConfig) -> None:
    report = evaluate_bundle(replace(config, max_images=2, precisions=("fp32", "fp32")))

    assert [row.scores.images for row in report.rows] == [2]
    assert report.images == str(config.annotations.parent / "images")


def test_images_are_looked_for_beside_the_annotations(config: EvaluateConfig, tmp_path: Path) -> None:
    alone = Path(shutil.copy(config.annotations, tmp_path))
    for path in (config.annotations.parent / "images").iterdir():
        shutil.copy(path, tmp_path)

    assert evaluate_bundle(replace(config, annotations=alone, max_images=1)).images == str(tmp_path)


def test_the_checkpoint_of_another_model(config: EvaluateConfig, tmp_path: Path) -> None:
    other = tmp_path / "other.pth"
    torch.save(build("resnet18", 5).state_dict(), other)

    with pytest.raises(InputError, match=r"from parts\.pth \(SHA-256 begins .*other\.pth is another"):
        evaluate_bundle(replace(config, checkpoint=other))
    with pytest.raises(InputError, match="no checkpoint at absent"):
        evaluate_bundle(replace(config, checkpoint=Path("absent")))


def test_a_precision_that_the_bundle_has_not(config: EvaluateConfig) -> None:
    with pytest.raises(ConfigError, match=r"must be one that .* has \(fp32.*\), got 'int2'"):
        evaluate_bundle(replace(config, precisions=("int2",)))


def test_a_factory_is_run_only_when_the_user_names_it(
    config: EvaluateConfig, bundle: Bundle, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(bundle.spec, architecture="tests.models:build")
    with pytest.raises(ConfigError, match=r"exported with --factory tests\.models:build; pass it here too"):
        eager_from_checkpoint(checkpoint, spec)
    with pytest.raises(ConfigError, match=r"--factory tests\.models:build failed"):
        eager_from_checkpoint(checkpoint, spec, factory="tests.models:build")
    folder = tmp_path / "bundle"
    folder.mkdir()
    shutil.copy(bundle.graph_path(Lowering.PORTABLE), folder)
    write_manifest(folder, spec, ["portable.onnx"])
    monkeypatch.setattr("tests.models.build", lambda: build("resnet18", 5))
    asked = replace(config, model=folder, checkpoint=checkpoint, factory="tests.models:build", max_images=1)
    assert evaluate_bundle(asked).rows[0].name == "PyTorch"


def test_torchvision_is_not_here(
    config: EvaluateConfig, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(DependencyError, match=r"score a checkpoint .*edgeseg\[export\]"):
        evaluate_bundle(replace(config, checkpoint=checkpoint))
