"""The parity gate must say no when it should: every check is seen red."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgeseg.errors import InputError, ParityError
from edgeseg.exporter.model.reference import ImageDetections
from edgeseg.exporter.parity.check import GraphParityError, ParityImages, check_parity, read_parity_images
from edgeseg.exporter.parity.comparison import ParityComparison, Tolerances, match_detections
from edgeseg.spec import Lowering, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torchvision.models.detection import MaskRCNN

    from edgeseg.bundle.manifest import Bundle

SIZE_HW = (256, 320)
ONE_IMAGE = ParityImages(source="built-in", images=read_parity_images(None).images[:1])


def found(count: int = 5, seed: int = 0) -> ImageDetections:
    rng = np.random.default_rng(seed)
    corner = np.stack((np.arange(count) * 60.0, rng.uniform(0, 150, count)), 1)
    side = rng.uniform(30, 50, (count, 2))
    y, x = np.mgrid[:28, :28] - 13.5
    disc = (1 / (1 + np.exp(np.hypot(x, y) - 10))).astype(np.float32)
    return ImageDetections(
        boxes_xyxy=np.concatenate((corner, corner + side), 1).astype(np.float32),
        scores=np.linspace(0.9, 0.3, count).astype(np.float32),
        labels=np.arange(count) % 2 + 1,
        masks=np.repeat(disc[None], count, 0),
    )


def agreement(max_detections: int = 100) -> ParityComparison:
    return ParityComparison(
        lowering=Lowering.PORTABLE,
        tolerances=Tolerances(),
        max_detections=max_detections,
        score_threshold=0.05,
        size_hw=SIZE_HW,
    )


def verdict(reference: ImageDetections, other: ImageDetections, **settings: int) -> ParityComparison:
    result = agreement(**settings)
    result.add(reference, other)
    return result


def without(result: ImageDetections, index: int) -> ImageDetections:
    rows = np.arange(len(result.scores)) != index
    return ImageDetections(
        boxes_xyxy=result.boxes_xyxy[rows],
        scores=result.scores[rows],
        labels=result.labels[rows],
        masks=result.masks[rows],
    )


def test_equal_passes() -> None:
    assert verdict(found(), found()).passed()
    assert verdict(found(0), found(0)).passed()


def test_order_does_not_matter() -> None:
    result = found()
    turned = ImageDetections(**{name: getattr(result, name)[::-1] for name in ImageDetections.__slots__})
    assert match_detections(result, turned) == [(0, 4), (1, 3), (2, 2), (3, 1), (4, 0)]
    assert verdict(result, turned).passed()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"boxes_xyxy": found().boxes_xyxy + np.float32(0.6)}, "max_box_error_px"),
        ({"scores": found().scores - np.float32(0.006)}, "max_score_error"),
        ({"masks": np.roll(found().masks, 1, axis=2)}, "min_mask_iou"),
    ],
)
def test_a_difference_beyond_its_bound_fails(change: dict[str, Any], field: str) -> None:
    result = verdict(found(), replace(found(), **change))
    assert result.matched == 5
    assert not result.passed()
    assert getattr(result.row(), field) != getattr(verdict(found(), found()).row(), field)


def test_missing_extra_and_wrong_label_fail() -> None:
    assert verdict(found(), without(found(), 2)).row().missing == 1
    assert verdict(without(found(), 2), found()).row().extra == 1
    relabelled = replace(found(), labels=3 - found().labels)
    assert (verdict(found(), relabelled).row().missing, verdict(found(), relabelled).row().extra) == (5, 5)
    assert not verdict(found(), without(found(), 2)).passed()
    assert not verdict(without(found(), 2), found()).passed()


def test_unsettled_nms_fails() -> None:
    result = verdict(found(), found())
    result.unsettled = 1
    assert not result.passed()


def test_scores_at_the_threshold_may_fall_either_way() -> None:
    at_threshold = replace(found(), scores=np.array([0.9, 0.8, 0.7, 0.6, 0.052], np.float32))
    assert verdict(at_threshold, without(at_threshold, 4)).passed()
    above = replace(found(), scores=np.array([0.9, 0.8, 0.7, 0.6, 0.06], np.float32))
    assert not verdict(above, without(above, 4)).passed()


def test_last_place_of_a_full_list_may_fall_either_way() -> None:
    one, other = without(found(6), 5), without(found(6), 4)
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.501], np.float32)
    assert verdict(replace(one, scores=scores), replace(other, scores=scores), max_detections=5).passed()
    assert not verdict(replace(one, scores=scores), replace(other, scores=scores), max_detections=6).passed()


def test_one_pixel_of_a_tiny_mask_is_let_pass_and_two_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeseg.exporter.parity import comparison

    whole = np.ones((2, 4, 4), bool)
    for off, passes in ((1, True), (2, False)):
        pasted = whole.copy()
        pasted[1, 0, :off] = False
        monkeypatch.setattr(comparison, "paste_masks", lambda *arguments, pasted=pasted: pasted)
        assert verdict(found(1), found(1)).passed() is passes


def test_half_a_tiny_mask_fails() -> None:
    box = np.array([[100.0, 100.0, 104.0, 104.0]], np.float32)
    masks = np.ones((1, 28, 28), np.float32)
    tiny = ImageDetections(boxes_xyxy=box, scores=np.array([0.9]), labels=np.array([1]), masks=masks)
    cut = masks.copy()
    cut[:, :, :14] = 0
    assert not verdict(tiny, replace(tiny, masks=cut)).passed()


class Wrong:
    """PyTorch's model with one thing changed, as an exporter's bug would."""

    def __init__(
        self, model: MaskRCNN, bundle: Bundle, progress: Callable[[str], None] = lambda stage: None
    ) -> None:
        self.model, self.bundle, self.progress = model, bundle, progress

    def run(self, **changes: Any) -> ModelSpec:
        spec = replace(self.bundle.spec, **changes)
        return check_parity(self.model, spec, self.bundle.path, ONE_IMAGE, self.progress)


def test_gate_passes_on_the_exported_model(resnet18: MaskRCNN, bundle: Bundle) -> None:
    report = Wrong(resnet18, bundle).run().parity
    assert report is not None
    assert report.passed
    assert report.rows[0].reference_detections > 10
    assert report.most_candidates > 0


@pytest.mark.parametrize(
    "preprocess",
    [
        {"mean_rgb": (0.406, 0.456, 0.485), "std_rgb": (0.225, 0.224, 0.229)},
        {"mean_rgb": (0.0, 0.0, 0.0)},
        {"std_rgb": (1.0, 1.0, 1.0)},
    ],
    ids=["swapped channels", "no mean", "wrong scale"],
)
def test_gate_refuses_wrong_preprocessing(
    resnet18: MaskRCNN, bundle: Bundle, preprocess: dict[str, Any]
) -> None:
    wrong = replace(bundle.spec.preprocess, **preprocess)
    with pytest.raises(GraphParityError, match="must find what PyTorch finds") as caught:
        Wrong(resnet18, bundle).run(preprocess=wrong)
    assert not caught.value.report.passed


def test_gate_refuses_other_weights(resnet18: MaskRCNN, bundle: Bundle) -> None:
    layer = resnet18.roi_heads.box_predictor.bbox_pred
    before = layer.bias.data.clone()
    layer.bias.data += 0.2
    try:
        with pytest.raises(ParityError, match="must find what PyTorch finds"):
            Wrong(resnet18, bundle).run()
    finally:
        layer.bias.data = before


def test_check_folder_must_hold_readable_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found none"):
        read_parity_images(tmp_path)
    with pytest.raises(InputError, match="no folder at"):
        read_parity_images(tmp_path / "absent")
    (tmp_path / "broken.jpg").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"broken\.jpg"):
        read_parity_images(tmp_path)
