"""COCO average precision (AP) of detections, computed by COCO's own evaluator."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from edgeseg.errors import InputError
from edgeseg.vision.images.reader import read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edgeseg.spec import ModelSpec
    from edgeseg.vision.detections import Detections

    from .labelled import LabelledImages

# COCO's own setting: only this many detections of an image and a class are scored, the best ones.
MAX_DETECTIONS = 100
# Indices of 0.5 and 0.75 in COCO's IoU thresholds 0.5, 0.55, ... 0.95.
AP50_INDEX, AP75_INDEX = 0, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragePrecision:
    """COCO average precision of detections, from 0 to 1.

    `box_ap` and `mask_ap` are means over the classes that have instances and over IoU thresholds from 0.5 to
    0.95; those that end in `50` and `75` are at IoU 0.5 and 0.75. The best 100 detections of an image and a
    class are scored, whatever their size.

    Attributes:
        images: Number of images.
        instances: Number of annotated instances in them, without crowds.
        detections: Number of detections, whatever their score.
        box_ap_by_class: AP of boxes by category name, without categories that have no instance.
        mask_ap_by_class: AP of masks by category name, without categories that have no instance.
    """

    box_ap: float
    box_ap50: float
    box_ap75: float
    mask_ap: float
    mask_ap50: float
    mask_ap75: float
    images: int
    instances: int
    detections: int
    box_ap_by_class: dict[str, float] = field(default_factory=dict)
    mask_ap_by_class: dict[str, float] = field(default_factory=dict)


class Detector(Protocol):
    """Something that can be scored: a `Model`, or anything that is called in the same way."""

    @property
    def spec(self) -> ModelSpec:
        """Spec of the model, of which `batch` and `score_threshold` are used."""

    def __call__(self, frames: Sequence[NDArray[np.uint8]], score_threshold: float, /) -> list[Detections]:
        """Find instances in each of several frames `uint8[H, W, 3]`, BGR."""


def evaluate(
    detector: Detector, labelled: LabelledImages, *, progress: Callable[[str], None] = lambda line: None
) -> AveragePrecision:
    """Score a detector on annotated images, at the score threshold of its spec.

    One batch of images is in memory at a time, and the run lengths of all masks found so far.

    Args:
        detector: A loaded model.
        labelled: Images from `labelled_images`.
        progress: Called with a line before each batch.

    Raises:
        InputError: The images hold no instance, or an image can no longer be read.
        ArtifactError: The model failed.

    Example:
        >>> import edgeseg
        >>> from pathlib import Path
        >>> from edgeseg.dataset.annotations import read_annotations
        >>> from edgeseg.dataset.labelled import labelled_images
        >>> model, annotations = edgeseg.load("edgeseg-model"), read_annotations(Path("annotations.json"))
        >>> labelled = labelled_images(annotations, Path(), model.spec.class_names)
        >>> ap = evaluate(model, labelled)
        >>> ap.images, ap.instances, round(ap.box_ap, 3)
        (1, 1, 1.0)
    """
    results: list[dict[str, Any]] = []
    items, size = list(labelled.paths.items()), detector.spec.batch
    for start in range(0, len(items), size):
        progress(f"image {start + 1} of {len(items)}")
        chunk = items[start : start + size]
        frames = [read_image(path, bit_depth=labelled.bit_depth) for _, path in chunk]
        found = detector(frames, detector.spec.score_threshold)
        for (image_id, _), detections in zip(chunk, found, strict=True):
            results += labelled.results(detections, image_id)
    return average_precision(labelled.truth, results)


def average_precision(truth: dict[str, Any], results: Sequence[dict[str, Any]]) -> AveragePrecision:
    """Score COCO results against COCO annotations; neither is changed.

    Args:
        truth: A COCO dataset: `images`, `annotations` with `bbox` and `segmentation`, and `categories`.
            Detections on a crowd are neither right nor wrong.
        results: Results as from `Detections.to_coco`; an empty list scores 0.

    Raises:
        InputError: The truth has no instance except crowds, or a result belongs to an unknown image.

    Example:
        >>> import cv2, edgeseg
        >>> detections = edgeseg.load("edgeseg-model")(cv2.imread("parts.png"))
        >>> truth = truth_from_detections([(1, detections)])
        >>> ap = average_precision(truth, detections[:2].to_coco(image_id=1))
        >>> ap.instances, ap.detections, round(ap.mask_ap, 3), ap.mask_ap_by_class["washer"]
        (3, 2, 0.667, 0.0)
    """
    instances = sum(not item.get("iscrowd") for item in truth["annotations"])
    known = {image["id"] for image in truth["images"]}
    if not instances:
        msg = f"there must be an annotated instance to score against, the {len(known)} images have none"
        raise InputError(msg)
    if unknown := sorted({result["image_id"] for result in results} - known):
        msg = f"results must be of annotated images, got one of image {unknown[0]}, which is none"
        raise InputError(msg)
    # COCO's evaluator prints its progress.
    with contextlib.redirect_stdout(io.StringIO()):
        expected, found = _coco_index(truth, truth["annotations"]), _coco_index(truth, results)
        boxes, masks = (_precision(expected, found, kind) for kind in ("bbox", "segm"))
    return AveragePrecision(
        box_ap=_mean(boxes),
        box_ap50=_mean(boxes[AP50_INDEX]),
        box_ap75=_mean(boxes[AP75_INDEX]),
        mask_ap=_mean(masks),
        mask_ap50=_mean(masks[AP50_INDEX]),
        mask_ap75=_mean(masks[AP75_INDEX]),
        images=len(known),
        instances=instances,
        detections=len(results),
        box_ap_by_class=_by_class(boxes, truth),
        mask_ap_by_class=_by_class(masks, truth),
    )


def truth_from_detections(
    found: Sequence[tuple[int, Detections]], score_threshold: float = 0.5
) -> dict[str, Any]:
    """Turn detections into annotations: AP against them is the agreement with the model that made them.

    Args:
        found: Image id and detections of each image, all from one model.
        score_threshold: Only detections that score above it become annotations.

    Returns:
        A COCO dataset whose category ids are the labels, as in `Detections.to_coco`.

    Raises:
        InputError: There are no images.

    Example:
        >>> import cv2, edgeseg
        >>> detections = edgeseg.load("edgeseg-model")(cv2.imread("parts.png"))
        >>> truth = truth_from_detections([(1, detections)], score_threshold=0.65)
        >>> [(item["image_id"], item["category_id"]) for item in truth["annotations"]]
        [(1, 1), (1, 2)]
    """
    if not found:
        msg = "detections of at least one image are needed to score against, got none"
        raise InputError(msg)
    images, annotations = [], []
    for image_id, detections in found:
        height, width = detections.frame_size_hw
        images.append({"id": image_id, "file_name": "", "height": height, "width": width})
        annotations += detections[detections.scores > score_threshold].to_coco(image_id)
    names = found[0][1].class_names
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": label, "name": name} for label, name in enumerate(names) if label],
    }


def _coco_index(truth: dict[str, Any], items: Sequence[dict[str, Any]]) -> Any:
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        **{key: truth[key] for key in ("images", "categories")},
        # The evaluator writes into annotations, so these are copies. Ids start from 1, because it takes a
        # match with id 0 for no match.
        "annotations": [
            {
                "iscrowd": 0,
                **item,
                "id": number,
                "area": item["bbox"][2] * item["bbox"][3],
            }
            for number, item in enumerate(items, start=1)
        ],
    }
    coco.createIndex()
    return coco


def _precision(truth: Any, found: Any, kind: str) -> NDArray[np.float64]:
    """Compute precision by IoU threshold, recall and category (by id); -1 if a category has no instance."""
    from pycocotools.cocoeval import COCOeval

    evaluation = COCOeval(truth, found, kind)
    # COCO also measures by object size and with fewer detections, which would take four times as long.
    evaluation.params.maxDets = [MAX_DETECTIONS]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
    evaluation.evaluate()
    evaluation.accumulate()
    precision: NDArray[np.float64] = evaluation.eval["precision"][..., 0, 0]
    return precision


def _mean(precision: NDArray[np.float64]) -> float:
    return float(precision[precision > -1].mean())


def _by_class(precision: NDArray[np.float64], truth: dict[str, Any]) -> dict[str, float]:
    named = sorted((category["id"], category["name"]) for category in truth["categories"])
    return {
        name: _mean(precision[:, :, column])
        for column, (_, name) in enumerate(named)
        if (precision[:, :, column] > -1).any()
    }
