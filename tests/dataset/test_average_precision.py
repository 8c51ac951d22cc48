from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgeseg.dataset.annotations import read_annotations
from edgeseg.dataset.average_precision import (
    MAX_DETECTIONS,
    AveragePrecision,
    Detector,
    average_precision,
    evaluate,
    truth_from_detections,
)
from edgeseg.dataset.labelled import labelled_images
from edgeseg.errors import ArtifactError, InputError
from tests.vision.found import NAMES, make_detections

from .labels import category, coco, image, square, write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import NoReturn

    from numpy.typing import NDArray

    from edgeseg.dataset.labelled import LabelledImages
    from edgeseg.vision.detections import Detections


def result(left: int = 10, score: float = 0.9, **changes: Any) -> dict[str, Any]:
    """Detect the square of `labels.square` there."""
    made = square(left=left, **changes)
    return {**{key: made[key] for key in ("image_id", "category_id", "bbox", "segmentation")}, "score": score}


def two_classes() -> dict[str, Any]:
    return coco(
        images=[image(1), image(2)],
        annotations=[square(1), square(1, left=50, category_id=2), square(2), square(2, left=40)],
        categories=[category(), category(2, "nut"), category(3, "cam")],
    )


def perfect(truth: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {key: item[key] for key in ("image_id", "category_id", "bbox", "segmentation")} | {"score": 0.9}
        for item in truth["annotations"]
    ]


def by_the_book(truth: dict[str, Any], results: list[dict[str, Any]], kind: str) -> list[float]:
    """Score as COCO's own example does: AP, AP50, AP75."""
    reference = COCO()
    reference.dataset = copy.deepcopy(truth)
    reference.createIndex()
    evaluation = COCOeval(reference, reference.loadRes(copy.deepcopy(results)), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return list(evaluation.stats[:3])


def test_all_found_is_1_and_what_no_image_shows_is_left_out() -> None:
    scores = average_precision(two_classes(), perfect(two_classes()))

    assert (scores.box_ap, scores.mask_ap) == pytest.approx((1, 1))
    assert (scores.images, scores.instances, scores.detections) == (2, 4, 4)
    assert scores.box_ap_by_class == scores.mask_ap_by_class == pytest.approx({"bolt": 1, "nut": 1})


def test_nothing_found_is_0() -> None:
    scores = average_precision(two_classes(), [])

    assert (scores.box_ap, scores.box_ap75, scores.mask_ap50, scores.detections) == (0, 0, 0, 0)
    assert scores.mask_ap_by_class == {"bolt": 0, "nut": 0}


def test_as_cocos_own_example_scores_it() -> None:
    random = np.random.default_rng(3)
    truth = coco(
        images=[image(number) for number in range(1, 6)],
        annotations=[
            square(number, left=int(left), category_id=int(random.integers(1, 3)))
            for number in range(1, 6)
            for left in random.choice(76, 4, replace=False)
        ],
        categories=[category(), category(2, "nut")],
    )
    results = [
        result(
            int(np.clip(item["bbox"][0] + random.integers(-8, 9), 0, 76)),
            float(random.random()),
            image_id=item["image_id"],
            category_id=item["category_id"] if random.random() < 0.8 else 1,
        )
        for item in truth["annotations"] * 3
    ]
    scores = average_precision(truth, results)

    box = [scores.box_ap, scores.box_ap50, scores.box_ap75]
    mask = [scores.mask_ap, scores.mask_ap50, scores.mask_ap75]
    assert box == pytest.approx(by_the_book(truth, results, "bbox"))
    assert mask == pytest.approx(by_the_book(truth, results, "segm"))
    assert 0.1 < scores.box_ap < scores.box_ap50 < 0.99
    assert np.mean(list(scores.box_ap_by_class.values())) == pytest.approx(scores.box_ap)


def test_a_shifted_box_costs_box_ap_and_not_mask_ap() -> None:
    shifted = [{**item, "bbox": [item["bbox"][0] + 5, *item["bbox"][1:]]} for item in perfect(two_classes())]
    scores = average_precision(two_classes(), shifted)

    # 15 of 25 columns overlap: enough at 0.5, 0.55 and 0.6 of ten thresholds.
    assert scores.box_ap == pytest.approx(0.3)
    assert scores.box_ap50 == pytest.approx(1)
    assert scores.box_ap75 == 0
    assert scores.mask_ap == pytest.approx(1)


def test_a_wrong_class_is_not_found() -> None:
    swapped = [{**item, "category_id": 3 - item["category_id"]} for item in perfect(two_classes())]

    assert average_precision(two_classes(), swapped).mask_ap50 == 0


def test_every_kind_of_segmentation_scores_alike(tmp_path: Path) -> None:
    truth = two_classes()
    read = read_annotations(write(tmp_path / "a.json", truth)).truth([1, 2])
    runs = {"size": [64, 96], "counts": [64 * 10 + 10, *[20, 44] * 19, 20, 64 * 66 + 34]}
    mixed = copy.deepcopy(truth)
    mixed["annotations"][0]["segmentation"] = runs

    for expected in (truth, read, mixed):
        for found in (truth, read, mixed):
            assert average_precision(expected, perfect(found)).mask_ap == pytest.approx(1)


def test_a_detection_on_a_crowd_counts_neither_way() -> None:
    truth = coco(annotations=[square(), square(left=50, iscrowd=1)])
    alone = average_precision(truth, [result(10, 0.5)])
    scores = average_precision(truth, [result(10, 0.5), result(50, 0.9), result(50, 0.8)])

    assert scores.box_ap == alone.box_ap == pytest.approx(1)
    assert scores.instances == 1
    assert average_precision(coco(), [result(10, 0.5), result(50, 0.9)]).box_ap == pytest.approx(0.5)


def test_annotations_numbered_from_0_or_not_at_all() -> None:
    for ids in ({"id": 0}, {}):
        bare = {key: value for key, value in square().items() if key not in ("id", "area", "iscrowd")}
        assert average_precision(coco(annotations=[bare | ids]), [result()]).box_ap == pytest.approx(1)


def test_the_best_100_of_an_image_are_scored() -> None:
    wrong = [result(60, 0.9) for _ in range(MAX_DETECTIONS)]

    assert average_precision(coco(), [*wrong[1:], result(10, 0.1)]).box_ap50 > 0
    assert average_precision(coco(), [*wrong, result(10, 0.1)]).box_ap50 == 0


def test_it_neither_prints_nor_changes_what_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    truth = two_classes()
    results = perfect(truth)
    before = copy.deepcopy((truth, results))
    average_precision(truth, results)

    assert (truth, results) == before
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("truth", "results", "words"),
    [
        (coco(annotations=[]), [], "must be an annotated instance to score against, the 1 images have none"),
        (coco(annotations=[square(iscrowd=1)]), [], "images have none"),
        (coco(), [result(image_id=9)], "must be of annotated images, got one of image 9"),
    ],
    ids=[
        "no annotation",
        "crowds only",
        "a result of an unknown image",
    ],
)
def test_what_cannot_be_scored(truth: dict[str, Any], results: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(InputError, match=words):
        average_precision(truth, results)


def test_agreement_with_detections() -> None:
    found = [(3, make_detections(4)), (8, make_detections(0))]
    results = [item for image_id, one in found for item in one.to_coco(image_id)]
    truth = truth_from_detections(found)
    scores = average_precision(truth, results)

    assert (scores.box_ap, scores.mask_ap) == pytest.approx((1, 1))
    assert (scores.images, scores.instances) == (2, 4)
    # Scores are 0.9 to 0.6.
    assert len(truth_from_detections(found, score_threshold=0.75)["annotations"]) == 2
    assert average_precision(truth, results[:1]).mask_ap < 0.6
    with pytest.raises(InputError, match="at least one image"):
        truth_from_detections([])
    with pytest.raises(InputError, match="images have none"):
        average_precision(truth_from_detections(found[1:]), [])


class FakeDetector:
    """Finds as many squares as the frame's brightness says, and remembers its calls."""

    def __init__(self, batch: int) -> None:
        from tests.runtime.fake_bundle import make_spec

        self.spec = make_spec(class_names=NAMES, batch=batch, score_threshold=0.03)
        self.calls: list[tuple[int, float]] = []

    def __call__(self, frames: Sequence[NDArray[np.uint8]], score_threshold: float) -> list[Detections]:
        self.calls.append((len(frames), score_threshold))
        return [make_detections(int(frame[0, 0, 0]), frame.shape[:2]) for frame in frames]


@pytest.fixture
def labelled(tmp_path: Path) -> LabelledImages:
    """Five images, image i with i instances, annotated as the detector finds them."""
    found = []
    for number in range(1, 6):
        Image.fromarray(np.full((40, 70, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
        found.append((number, make_detections(number, (40, 70))))
    truth = truth_from_detections(found)
    for item in truth["images"]:
        item["file_name"] = f"{item['id']}.png"
    return labelled_images(read_annotations(write(tmp_path / "a.json", truth)), tmp_path, NAMES)


@pytest.mark.parametrize(("batch", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (8, [5])])
def test_a_detector_gets_batches_and_each_image_its_own_result(
    labelled: LabelledImages, batch: int, sizes: list[int]
) -> None:
    detector = FakeDetector(batch)
    lines: list[str] = []
    scores = evaluate(detector, labelled, progress=lines.append)

    assert isinstance(scores, AveragePrecision)
    assert scores.mask_ap == pytest.approx(1)
    assert (scores.images, scores.instances, scores.detections) == (5, 15, 15)
    assert detector.calls == [(size, 0.03) for size in sizes]
    assert lines[0] == "image 1 of 5"
    assert len(lines) == len(sizes)


def test_a_detector_that_mixes_up_images_scores_less(labelled: LabelledImages) -> None:
    detector = FakeDetector(5)
    in_order = detector.__call__
    mixed = type("Mixed", (), {"spec": detector.spec, "__call__": lambda _, *args: in_order(*args)[::-1]})()

    assert evaluate(mixed, labelled).mask_ap < 0.8


def test_a_detector_that_fails(labelled: LabelledImages) -> None:
    class Failing(Detector):
        spec = FakeDetector(1).spec

        def __call__(self, frames: Sequence[np.ndarray], score_threshold: float) -> NoReturn:
            msg = "the graph broke"
            raise ArtifactError(msg)

    with pytest.raises(ArtifactError, match="the graph broke"):
        evaluate(Failing(), labelled)


@pytest.mark.parametrize(("level", "bit_depth"), [(5 << 4, 12), (5 << 6, 14)])
def test_a_detector_gets_images_of_the_bit_depth_that_was_given(
    tmp_path: Path, level: int, bit_depth: int
) -> None:
    Image.fromarray(np.full((40, 70), level, np.uint16)).save(tmp_path / "1.png")
    truth = truth_from_detections([(1, make_detections(5, (40, 70)))])
    truth["images"][0]["file_name"] = "1.png"
    annotations = read_annotations(write(tmp_path / "a.json", truth))
    labelled = labelled_images(annotations, tmp_path, NAMES, bit_depth=bit_depth)

    assert evaluate(FakeDetector(1), labelled).mask_ap == pytest.approx(1)
