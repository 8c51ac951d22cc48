"""Milliseconds of one core to draw over a frame, and to redact one.

    python scripts/measurements/drawing.py

Objects are smooth blobs of random places, 5 to 25 % of the frame's height each way; scores differ from frame
to frame, as they do in a live picture.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import click
import cv2
import numpy as np

from edgeseg.streaming.rendering.redaction import Redaction, redact
from edgeseg.streaming.rendering.scene_overlay import SceneOverlay
from edgeseg.streaming.results import LineCount, Scene, ZoneCount
from edgeseg.vision.detections import Detections
from edgeseg.vision.drawing import ColorBy, DrawStyle, draw_detections
from edgeseg.vision.masks import crop_masks

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

NAMES = ("__background__", "person", "bolt", "washer", "traffic light", "car")
TRAIL_POINTS = 60


def make_detections(count: int, size_hw: tuple[int, int], seed: int) -> Detections:
    """Make up tracked objects; places are the same for every seed, scores are not."""
    places, rng = np.random.default_rng(count), np.random.default_rng(seed)
    height, width = size_hw
    sides = places.uniform(0.05, 0.25, (count, 2)) * height
    centres = places.uniform(0.05, 0.95, (count, 2)) * (width, height)
    boxes = np.concatenate((centres - sides / 2, centres + sides / 2), 1).clip(0, (width, height) * 2)
    noise = [cv2.GaussianBlur(places.uniform(size=(28, 28)), (0, 0), 3) for _ in range(count)]
    away = np.hypot(*np.meshgrid(np.linspace(-1, 1, 28), np.linspace(-1, 1, 28)))
    masks = 1 - away + (np.reshape(noise, (count, 28, 28)) - 0.5) * 6
    return Detections(
        boxes_xyxy=boxes.astype(np.float32),
        scores=np.sort(rng.uniform(0.5, 1, count))[::-1].astype(np.float32),
        labels=places.integers(1, len(NAMES), count).astype(np.int32),
        masks=crop_masks(masks.astype(np.float32), boxes.astype(np.float32), size_hw),
        frame_size_hw=size_hw,
        class_names=NAMES,
        track_ids=np.arange(1, count + 1),
    )


def make_scene(detections: Detections) -> Scene:
    """Give each object a trail, and the frame a line and a zone."""
    height, width = detections.frame_size_hw
    rng = np.random.default_rng(0)
    centres = (detections.boxes_xyxy[:, :2] + detections.boxes_xyxy[:, 2:]) / 2
    steps = rng.normal(0, height / 300, (len(centres), TRAIL_POINTS, 2)) + rng.normal(0, height / 180, (2,))
    trails = (centres[:, None] + np.cumsum(steps, 1)[:, ::-1]).astype(np.float32)
    line = LineCount(name="gate", start_xy=(0, height / 2), end_xy=(width, height / 2), forward=12)
    corners = ((width / 2, height / 3), (width, height / 3), (width, height), (width / 2, height))
    zone = ZoneCount(name="dock", corners_xy=corners, inside=3, entered=41)
    return Scene(trails=dict(enumerate(trails.astype(np.float32), 1)), lines=(line,), zones=(zone,))


def median_ms(run: Callable[[Detections], object], frames: list[Detections]) -> float:
    """Median of the time on the processor over the frames, after a first one."""
    run(frames[0])
    times = []
    for detections in frames:
        start = time.thread_time()
        run(detections)
        times.append(1000 * (time.thread_time() - start))
    return statistics.median(times)


@click.command()
@click.option("--frame", "size_hw", type=(int, int), default=(1080, 1920), show_default=True, help="H W.")
@click.option("--count", "counts", type=int, multiple=True, default=(0, 10, 50, 100), show_default=True)
@click.option("--repeats", type=int, default=30, show_default=True)
def main(size_hw: tuple[int, int], counts: tuple[int, ...], repeats: int) -> None:
    """Print a row for each number of objects."""
    cv2.setNumThreads(1)
    frame: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    by_id = DrawStyle(color_by=ColorBy.ID)
    click.echo("objects  draw  tracked, with trails  " + "  ".join(mode.value for mode in Redaction))
    for count in counts:
        frames = [make_detections(count, size_hw, seed) for seed in range(repeats)]
        scene = make_scene(frames[0])
        times = [
            median_ms(lambda found: draw_detections(found, frame), frames),
            median_ms(lambda found: draw_detections(found, frame, by_id, SceneOverlay(scene, by_id)), frames),  # noqa: B023
            *(median_ms(lambda found: redact(frame, found, mode), frames) for mode in Redaction),  # noqa: B023
        ]
        click.echo(f"{count:7}  " + "  ".join(f"{value:.1f}" for value in times))


if __name__ == "__main__":
    main()
