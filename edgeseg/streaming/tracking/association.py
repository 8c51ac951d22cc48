"""Which detection belongs to which object: ByteTrack of the package `trackers`, with rules of our own."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.optional import require

from .similarity import Observation, Similarity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .clock import FrameClock

BOX_GROWTH = 0.2
"""Boxes are grown by this share of their size on each side before their overlap is taken, so that what has
moved by most of its size between two frames is found again; docs/tracking.md has the figures."""

MIN_OVERLAP = 0.1
MISSED_FRAMES = 2

MIN_FLOW_OBJECTS = 3
"""So many objects, each seen in as many frames in a row, must move alike for new ones to be expected to."""

MAX_FLOW_SPREAD = 0.25
"""Largest median deviation of their velocities, as a share of the median: on a belt, not in a crowd."""

# The package's unit for how long a track is kept.
BUFFER_FPS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Associated:
    """What a frame did to the objects that are followed.

    Attributes:
        rows: Object to the row of its detection.
        unseen: Objects without one that may come back.
    """

    rows: dict[Hashable, int]
    unseen: tuple[Hashable, ...]


class Associator:
    """Follows boxes; an object is a key that stays the same until it is gone.

    Args:
        clock: Time of the frames.
        lost_s: An object unseen for longer is gone.

    Raises:
        DependencyError: The package `trackers` is missing.
    """

    def __init__(self, clock: FrameClock, lost_s: float) -> None:
        purpose = "follow objects over time"
        trackers = require("trackers", purpose=purpose)
        self._supervision = require("supervision", purpose=purpose)
        self._clock, self._lost_s = clock, lost_s
        self._similarity = Similarity(trackers.BIoU(buffer_ratio=BOX_GROWTH).compute)
        self._tracker = trackers.ByteTrackTracker(
            frame_rate=clock.fps,
            lost_track_buffer=round(BUFFER_FPS * lost_s),
            # With two, every box but a track's first comes with the track's number, and a track that is not
            # seen again at once is dropped.
            minimum_consecutive_frames=2,
            minimum_iou_threshold=MIN_OVERLAP,
            iou=self._similarity,
        )

    def update(self, observation: Observation, score_threshold: float) -> Associated:
        """Give each detection to an object, at the clock's time.

        Args:
            observation: What was found. What lies out of the first frame by now is gone.
            score_threshold: What scores above it is given first and starts new objects; the rest can only go
                to objects that are left.
        """
        tracker = self._tracker
        above = float(np.nextafter(np.float32(score_threshold), np.float32(2)))
        tracker.high_conf_det_threshold = tracker.track_activation_threshold = above
        # On a slow device one second may be the time between two frames.
        tolerance_s = (MISSED_FRAMES + 1.5) * self._clock.interval_s
        tracker.maximum_time_without_update = max(self._lost_s, tolerance_s)
        self._similarity.begin(tracker.tracks, observation)
        found = tracker.update(
            self._supervision.Detections(
                xyxy=observation.boxes_xyxy,
                confidence=observation.scores,
                data={"row": np.arange(len(observation.scores))},
            ),
            timestamp=self._clock.now_s,
        )
        rows = self._rows(found, observation.boxes_xyxy)
        _start_with_flow(list(rows))
        unseen = [
            track for track in tracker.tracks if track not in rows and _within(track, observation.size_hw)
        ]
        tracker.tracks = [*rows, *unseen]
        self._similarity.end(rows, unseen)
        return Associated(rows=rows, unseen=tuple(unseen))

    def drop(self, objects: set[Hashable]) -> None:
        """Follow these no longer."""
        self._tracker.tracks = [track for track in self._tracker.tracks if track not in objects]

    def _rows(self, found: Any, boxes_xyxy: NDArray[np.float64]) -> dict[Hashable, int]:
        tracks = self._tracker.tracks
        by_number = {track.tracker_id: track for track in tracks if track.tracker_id >= 0}
        numbers = [] if found.tracker_id is None or not len(found) else found.tracker_id.tolist()
        rows: dict[Hashable, int] = {
            by_number[number]: int(row)
            for number, row in zip(numbers, found.data.get("row", ()), strict=bool(numbers))
            if number >= 0
        }
        # A new track has no number yet, and its box is still the detection's, to the bit.
        first = {box.tobytes(): row for row, box in enumerate(boxes_xyxy)}
        for track in tracks:
            if track.tracker_id < 0 and track.time_since_update == 0:
                rows[track] = first[np.asarray(track.get_state_bbox(), np.float64).tobytes()]
        return rows


def _start_with_flow(tracks: list[Any]) -> None:
    """Let new tracks begin with the velocity of the others, where these move alike.

    A track has no velocity before its second detection: where all move by half their size and lie close, each
    would go on with its neighbour's.
    """
    # State of the package's filter: x1, y1, x2, y2 and their velocities.
    moving = [
        track.state_estimator.kf.state[4:].reshape(2, 2).mean(0)
        for track in tracks
        if track.number_of_successful_consecutive_updates >= MIN_FLOW_OBJECTS
    ]
    if len(moving) < MIN_FLOW_OBJECTS:
        return
    flow = np.median(moving, axis=0)
    deviation = np.median(np.abs(moving - flow), axis=0)
    if deviation.max() > MAX_FLOW_SPREAD * np.hypot(*flow):
        return
    for track in tracks:
        if track.tracker_id < 0:
            state = track.state_estimator.kf.state
            state[4:] = np.tile(flow, 2).reshape(state[4:].shape)


def _within(track: Any, size_hw: tuple[int, int]) -> bool:
    """Tell whether a track's predicted box still shows in the frame; one turned inside out does not."""
    x1, y1, x2, y2 = track.get_state_bbox()
    height, width = size_hw
    return bool(x1 < min(x2, width) and y1 < min(y2, height) and x2 > 0 and y2 > 0)
