"""Tracking on real clips, with a stand-in for the detector: how many objects it counts.

    python scripts/measurements/tracking_clips.py ../shared/data/videos

No model that knows cars, people and bottles comes with the project. Cars and people are therefore what
differs from the clip's first frame, which is empty, and bottles are their blue caps. What is measured is
following and counting, not finding.
"""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cv2
import numpy as np

from edgeseg.streaming.tracking import SceneTracker, TrackConfig
from edgeseg.vision.detections import Detections
from edgeseg.vision.frames import Frame
from edgeseg.vision.masks import MaskCrop

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CLIPS = {
    "car-detection.mp4": "car",
    "one-by-one-person-detection.mp4": "person",
    "bottle-detection.mp4": "bottle",
}
MIN_CHANGE = 35
MIN_SHARE = {"car": 0.01, "person": 0.01, "bottle": 0.0006}
BLUE = ((105, 140, 60), (130, 255, 255))
THRESHOLD = 0.5


def changed_pixels(first: NDArray[np.uint8]) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """Find what differs from the first frame: `uint8[H, W]`, 1 where it does."""

    def find(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        difference = image.astype(np.int16) - first
        # The camera sets its exposure anew for a bright car.
        difference -= np.median(difference[::8, ::8], axis=(0, 1)).astype(np.int16)
        change = cv2.GaussianBlur(np.abs(difference).max(2).astype(np.float32), (0, 0), 2)
        solid = (change > MIN_CHANGE).astype(np.uint8)
        return np.asarray(cv2.morphologyEx(solid, cv2.MORPH_CLOSE, np.ones((31, 31), np.uint8)), np.uint8)

    return find


def blue_pixels(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Find what is blue: `uint8[H, W]`, 1 where it is."""
    colours = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    return np.asarray(cv2.inRange(colours, *BLUE) > 0, np.uint8)


def detections(mask: NDArray[np.uint8], name: str) -> Detections:
    """Make an instance of each blob that is large enough."""
    total, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    kept = [row for row in stats[1:total].tolist() if row[4] >= MIN_SHARE[name] * mask.size]
    kept.sort(key=lambda row: -row[4])
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in kept], np.float32).reshape(-1, 4)
    return Detections(
        boxes_xyxy=boxes,
        scores=np.full(len(kept), 0.9, np.float32),
        labels=np.ones(len(kept), np.int32),
        masks=tuple(
            MaskCrop(pixels=mask[y : y + h, x : x + w].copy(), left=x, top=y) for x, y, w, h, _ in kept
        ),
        frame_size_hw=mask.shape,
        class_names=("__background__", name),
    )


def follow(path: Path, name: str, every: int) -> dict[str, Any]:
    """Follow one clip, given every so many of its frames."""
    capture = cv2.VideoCapture(str(path))
    fps = capture.get(cv2.CAP_PROP_FPS)
    tracker = SceneTracker(TrackConfig(), fps=fps)
    find, scene, spent_s, shown = None, None, 0.0, 0
    for index in count():
        ok, picture = capture.read()
        if not ok:
            break
        image = np.asarray(picture, np.uint8)
        find = find or (blue_pixels if name == "bottle" else changed_pixels(image))
        if index % every:
            continue
        found = detections(find(image), name)
        frame = Frame(image=image, name=path.name, image_id=index, time_s=index / fps)
        start = time.perf_counter()
        _, scene = tracker.update(frame, found, THRESHOLD)
        spent_s += time.perf_counter() - start
        shown += 1
    capture.release()
    return {"frames": shown, "counted": scene.entered if scene else 0, "ms": 1000 * spent_s / max(1, shown)}


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--every", default=(1, 3), multiple=True, show_default=True)
def main(folder: Path, every: tuple[int, ...]) -> None:
    """Print a row for each clip and rate."""
    click.echo("| clip | every | frames | counted | ms a frame |\n| --- | --- | --- | --- | --- |")
    for clip, name in CLIPS.items():
        for step in every:
            row = follow(folder / clip, name, step)
            click.echo(f"| {clip} | {step} | {row['frames']} | {row['counted']} | {row['ms']:.2f} |")


if __name__ == "__main__":
    main()
