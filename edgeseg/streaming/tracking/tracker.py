"""Follows the objects of one source: detections in, the same with numbers out, and what the scene is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgeseg.streaming.results import Scene

from .association import Associated, Associator
from .clock import FrameClock
from .counters import Counters
from .objects import ObjectRegistry, TrackedObject
from .overlap import remove_duplicates
from .regions import scaled
from .similarity import Observation
from .smoothing import MaskObservation, blend, mask_from_soft_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from edgeseg.vision.detections import Detections
    from edgeseg.vision.frames import Frame

    from .config import TrackConfig
    from .polygons import Point


class SceneTracker:
    """Follows the objects of one source, from its first frame on.

    Everything is kept in pixels of the first frame, so a stream may change its size. What is kept does not
    grow with the stream's length.

    Args:
        config: How.
        fps: Frames per second of the source where it is known; used where frames have no time.
        note: Called at the first frame with a sentence for each line and zone that counts nothing there.

    Raises:
        DependencyError: The package `trackers` is missing.
    """

    def __init__(
        self,
        config: TrackConfig,
        *,
        fps: float | None,
        note: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._config = config
        self._note = note
        self._clock = FrameClock(fps)
        self._associator = Associator(self._clock, config.lost_s)
        self._registry = ObjectRegistry()
        self._first_hw: tuple[int, int] | None = None
        self._counters = Counters(config, (1, 1))

    def update(
        self, frame: Frame, detections: Detections, score_threshold: float
    ) -> tuple[Detections, Scene]:
        """Take what was found in the next frame.

        Args:
            frame: The frame; its time is used where it has one.
            detections: What the model finds in it with a score from `LOWEST_SCORE` up, the best first.
            score_threshold: What scores above it is given back; it may change from frame to frame.

        Returns:
            What scores above the threshold, with track ids, each object once: a detection on the pixels of
            better ones is left out. The class of one that has an id is the class its object was found as
            most. And the scene after this frame.
        """
        self._clock.advance(frame)
        found = remove_duplicates(detections, score_threshold)
        scale_xy = self._scale(found.frame_size_hw, frame.name)
        associated = self._associate(found, scale_xy, score_threshold)
        self._drop_gone(associated)
        for key, row in sorted(associated.rows.items(), key=lambda pair: pair[1]):
            self._add_observation(self._object(key), found, row, score_threshold)
            self._update_position(self._registry[key], found, row, scale_xy)
        return self._visible_detections(found, associated, score_threshold), self._scene(
            found.class_names, scale_xy
        )

    def _scale(self, size_hw: tuple[int, int], name: str) -> Point:
        """Say how much larger the frame is than the first one, in x and y."""
        if self._first_hw is None:
            self._first_hw = size_hw
            self._counters = Counters(self._config, size_hw)
            for remark in self._counters.remarks:
                self._note(f"{name}: {remark}")
        return size_hw[1] / self._first_hw[1], size_hw[0] / self._first_hw[0]

    def _associate(self, found: Detections, scale_xy: Point, score_threshold: float) -> Associated:
        observation = Observation(
            boxes_xyxy=found.boxes_xyxy.astype(np.float64) / (scale_xy * 2),
            scores=found.scores,
            masks=found.masks,
            scale_xy=scale_xy,
            size_hw=found.frame_size_hw if self._first_hw is None else self._first_hw,
        )
        return self._associator.update(observation, score_threshold)

    def _drop_gone(self, associated: Associated) -> None:
        # What was seen too briefly to have a number and is not there again was no object.
        unconfirmed = {key for key in associated.unseen if not self._registry[key].track_id}
        self._associator.drop(unconfirmed)
        self._registry.keep((associated.rows.keys() | set(associated.unseen)) - unconfirmed)

    def _object(self, key: Hashable) -> TrackedObject:
        if key not in self._registry:
            item = TrackedObject()
            self._counters.register(item)
            self._registry.add(key, item)
        return self._registry[key]

    def _add_observation(
        self, item: TrackedObject, found: Detections, row: int, score_threshold: float
    ) -> None:
        score = float(found.scores[row])
        label = int(found.labels[row])
        item.votes[label] = item.votes.get(label, 0.0) + score
        above = score > score_threshold
        item.seen_frames += above
        if above and not item.track_id and item.seen_frames >= self._config.confirm_frames:
            self._registry.confirm(item)

    def _update_position(self, item: TrackedObject, found: Detections, row: int, scale_xy: Point) -> None:
        to_first = 1 / scale_xy[0], 1 / scale_xy[1]
        centre = _centre(found, row)
        at_xy = scaled(centre, to_first)
        x1, y1, x2, y2 = found.boxes_xyxy[row].tolist()
        width, height = scaled((x2 - x1, y2 - y1), to_first)
        item.move(self._clock.now_s, at_xy, self._config.trail_s)
        self._counters.follow(item, at_xy, (width + height) / 2)
        if self._config.smooth_masks:
            self._smooth(item, found, row, centre)

    def _smooth(self, item: TrackedObject, found: Detections, row: int, centre_xy: Point) -> None:
        x1, y1, x2, y2 = found.boxes_xyxy[row].tolist()
        height, width = found.frame_size_hw
        # At the frame's edge more or less of the object shows from frame to frame: another shape each time.
        inside = x1 >= 1 and y1 >= 1 and x2 <= width - 1 and y2 <= height - 1
        observation = MaskObservation(
            mask=found.masks[row],
            size_px=(x2 - x1, y2 - y1),
            centre_xy=centre_xy,
            time_s=self._clock.now_s,
        )
        item.soft_mask = blend(item.soft_mask, observation, self._config.smooth_masks) if inside else None

    def _visible_detections(
        self, found: Detections, associated: Associated, score_threshold: float
    ) -> Detections:
        track_ids = np.zeros(len(found), np.int64)
        labels = found.labels.copy()
        masks = list(found.masks)
        for key, row in associated.rows.items():
            item = self._registry[key]
            track_ids[row] = item.track_id
            if item.track_id:
                labels[row] = item.label
            if item.soft_mask is not None:
                masks[row] = mask_from_soft_mask(item.soft_mask)
        named = replace(found, track_ids=track_ids, labels=labels, masks=tuple(masks))
        return named[named.scores > score_threshold]

    def _scene(self, class_names: tuple[str, ...], scale_xy: Point) -> Scene:
        present = self._registry.confirmed
        return Scene(
            trails={item.track_id: item.path(scale_xy) for item in present},
            entered=self._registry.entered,
            left=self._registry.left,
            entered_by_class={class_names[n]: count for n, count in self._registry.by_label.most_common()},
            lines=self._counters.lines(scale_xy),
            zones=self._counters.zones(present, scale_xy),
        )


def _centre(found: Detections, row: int) -> Point:
    """Give the centre of mass of a mask, in pixels of the frame; of one without pixels the box's centre."""
    mask = found.masks[row]
    if mask.pixels.size:
        moments = cv2.moments(mask.pixels, binaryImage=True)
        if moments["m00"]:
            # Of pixels at whole numbers: the middle of the first one is at half a pixel.
            x, y = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
            return mask.left + x + 0.5, mask.top + y + 0.5
    x1, y1, x2, y2 = found.boxes_xyxy[row].tolist()
    return (x1 + x2) / 2, (y1 + y2) / 2
