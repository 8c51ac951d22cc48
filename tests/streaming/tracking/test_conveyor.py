"""The conveyor's truth as a perfect detector: no number may switch, and every count is exact."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from edgeseg.demo.conveyor import PART_NAMES, ConveyorFrame, ConveyorScene
from edgeseg.streaming.tracking import SceneTracker, TrackConfig, parse_line
from edgeseg.vision.detections import Detections
from edgeseg.vision.frames import Frame
from edgeseg.vision.masks import MaskCrop

from .scenes import ids_of

pytest.importorskip("trackers")
FPS = 25.0


def perfect(frame: ConveyorFrame) -> Detections:
    crops = []
    for mask, box in zip(frame.masks, frame.boxes_xyxy.astype(int).tolist(), strict=True):
        x1, y1, x2, y2 = box
        crops.append(MaskCrop(pixels=mask[y1:y2, x1:x2].astype(np.uint8), left=x1, top=y1))
    return Detections(
        boxes_xyxy=frame.boxes_xyxy,
        scores=np.full(len(crops), 0.95, np.float32),
        labels=frame.labels.astype(np.int32),
        masks=tuple(crops),
        frame_size_hw=frame.image.shape[:2],
        class_names=("__background__", *PART_NAMES),
    )


@pytest.mark.parametrize(("seed", "spacing_px", "every"), [(1, 40, 1), (2, 25, 2), (3, 25, 3)])
def test_a_perfect_detector_is_counted_exactly(seed: int, spacing_px: int, every: int) -> None:
    scene = ConveyorScene(seed=seed, spacing_px=spacing_px)
    gate = parse_line("gate:0.5,1,0.5,0")
    tracker = SceneTracker(TrackConfig(lines=(gate,)), fps=FPS)
    number_of: dict[int, int] = {}
    frames_of: Counter[int] = Counter()
    label_of: dict[int, int] = {}
    path_of: dict[int, list[float]] = {}
    for index in range(0, 100 * every, every):
        truth = scene.frame(index)
        frame = Frame(image=truth.image, name="", image_id=index, time_s=index / FPS)
        detections, state = tracker.update(frame, perfect(truth), 0.5)
        assert len(detections) == len(truth.track_ids)
        for part, number, label, mask in zip(
            truth.track_ids.tolist(), ids_of(detections), truth.labels, truth.masks, strict=True
        ):
            frames_of[part] += 1
            label_of[part] = label
            path_of.setdefault(part, []).append(np.flatnonzero(mask.any(0)).mean())
            if number:
                assert number_of.setdefault(part, number) == number
    followed = [part for part, count in frames_of.items() if count >= 2]
    assert sorted(number_of.values()) == list(range(1, state.entered + 1))
    assert state.entered == len(followed)
    by_class = Counter(PART_NAMES[label_of[part] - 1] for part in followed)
    assert state.entered_by_class == by_class
    crossings = sum(path[0] < 310 and path[-1] > 330 for path in path_of.values())
    assert abs(state.lines[0].forward - crossings) <= 1
    assert state.lines[0].backward == 0
