"""Tracking on the conveyor: switched identities and counting errors against the truth, with and without.

    edgeseg export edgeseg/demo/conveyor.safetensors --size 384 512 -o conveyor-model
    python benchmarks/tracking.py conveyor-model

Detecting takes most of the time; `--cache FOLDER` keeps what was found for the next time.
"""

from __future__ import annotations

import pickle
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cv2
import numpy as np
import supervision as sv
import trackers
from trackers.eval import aggregate_clear_metrics, compute_clear_metrics

import edgeseg
from edgeseg.demo.conveyor import PART_NAMES, ConveyorScene
from edgeseg.demo.score import FIRST_UNSEEN_SEED
from edgeseg.runtime.frames import Frame
from edgeseg.runtime.masks import MaskCrop
from edgeseg.runtime.tracking import LOWEST_SCORE, Line, SceneTracker, TrackConfig
from edgeseg.runtime.tracking.lines import LineCounter, Passage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from edgeseg.runtime.detections import Detections

FIRST_SEED = FIRST_UNSEEN_SEED + 500
FPS = 25.0
THRESHOLD = 0.5
SPACINGS_PX = (40, 25)
EVERY = (1, 2, 3, 5)
SHARES = (0.0, 0.3, 0.5, 0.7)
SIZE_HW = (480, 640)
SPEED_PX = 6.0
GATE = Line(start_xy=(0.5, 1.0), end_xy=(0.5, 0.0))
GATE_X = 320.0
BASELINE_IOU = 0.3
# A part that only one or two of the frames show, at the clip's ends, cannot be followed and is not asked for.
LEAST_FRAMES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is in a frame; see `ConveyorFrame`."""

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    masks: tuple[MaskCrop, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """What a method says of one frame: detections with numbers, 0 for none, and the totals so far."""

    truth: Truth
    index: int
    detections: Detections
    entered: int = 0
    by_class: dict[str, int] | None = None
    crossed: int = 0


Clip = list[tuple["Detections", Truth]]


def record(model: Any, seed: int, spacing_px: int, frames: int) -> Clip:
    """Detect in every frame of a scene, down to the lowest score that tracking uses."""
    scene = ConveyorScene(seed=seed, spacing_px=spacing_px, speed_px=SPEED_PX, size_hw=SIZE_HW)
    clip = []
    for index in range(frames):
        frame = scene.frame(index)
        crops = tuple(_crop(*pair) for pair in zip(frame.masks, frame.boxes_xyxy, strict=True))
        truth = Truth(
            ids=frame.track_ids, labels=frame.labels, boxes_xyxy=frame.boxes_xyxy, masks=crops
        )
        clip.append((model(frame.image, LOWEST_SCORE), truth))
    return clip


def tracked(clip: Clip, every: int, config: TrackConfig | None = None) -> Iterator[Tracked]:
    """`--track`."""
    tracker = SceneTracker(config or TrackConfig(lines=(GATE,)), fps=FPS)
    blank = np.zeros((1, 1, 3), np.uint8)
    for index in range(0, len(clip), every):
        detections, truth = clip[index]
        frame = Frame(image=blank, name="belt", image_id=index, time_s=index / FPS)
        shown, scene = tracker.update(frame, detections, THRESHOLD)
        crossed = scene.lines[0].forward - scene.lines[0].backward if scene.lines else 0
        yield Tracked(
            truth=truth,
            index=index,
            detections=shown,
            entered=scene.entered,
            by_class=dict(scene.entered_by_class),
            crossed=crossed,
        )


def untracked(clip: Clip, every: int) -> Iterator[Tracked]:
    """No tracking: each detection goes on with the number of the last frame's that it overlaps most."""
    known: Detections | None = None
    ids = np.zeros(0, np.int64)
    tally = _Tally()
    for index in range(0, len(clip), every):
        detections, truth = clip[index]
        found = detections[detections.scores > THRESHOLD]
        before, ids = ids, np.zeros(len(found), np.int64)
        if known is not None and len(known) and len(found):
            overlaps = sv.box_iou_batch(known.boxes_xyxy, found.boxes_xyxy).copy()
            while overlaps.max() >= BASELINE_IOU:
                row, column = np.unravel_index(overlaps.argmax(), overlaps.shape)
                ids[column] = before[row]
                overlaps[row], overlaps[:, column] = 0, 0
        fresh = np.flatnonzero(ids == 0)
        ids[fresh] = tally.highest + 1 + np.arange(len(fresh))
        known = found
        yield tally.tracked(index, truth, found, ids)


def bytetrack(clip: Clip, every: int) -> Iterator[Tracked]:
    """The tracker of the package `trackers` with its own settings, given the same detections and times."""
    tracker = trackers.ByteTrackTracker(frame_rate=FPS)
    tally = _Tally()
    for index in range(0, len(clip), every):
        found, truth = clip[index]
        rows = np.arange(len(found))
        given = sv.Detections(xyxy=found.boxes_xyxy, confidence=found.scores, data={"row": rows})
        result = tracker.update(given, timestamp=index / FPS)
        ids = np.zeros(len(found), np.int64)
        if len(result):
            ids[result.data["row"]] = result.tracker_id + 1
        yield tally.tracked(index, truth, found, ids)


class _Tally:
    """Counts numbers, classes and crossings of methods that give numbers only."""

    def __init__(self) -> None:
        self.highest = 0
        self._votes: dict[int, Counter[str]] = defaultdict(Counter)
        self._gate = LineCounter(GATE, 1, SIZE_HW)
        self._passages: dict[int, Passage] = defaultdict(Passage)

    def tracked(self, index: int, truth: Truth, found: Detections, ids: NDArray[np.int64]) -> Tracked:
        for number, name, box in zip(ids.tolist(), found.names, found.boxes_xyxy.tolist(), strict=True):
            if number:
                self.highest = max(self.highest, number)
                self._votes[number][name] += 1
                passage, (x1, y1, x2, y2) = self._passages[number], box
                self._gate.follow(passage, ((x1 + x2) / 2, (y1 + y2) / 2), (x2 - x1 + y2 - y1) / 2)
                self._gate.count(passage)
        gate = self._gate.state((1.0, 1.0))
        shown = (ids > 0) & (found.scores > THRESHOLD)
        named = edgeseg.Detections(
            **{
                name: getattr(found, name)
                for name in ("boxes_xyxy", "scores", "labels", "masks", "frame_size_hw", "class_names")
            },
            track_ids=ids,
        )
        by_class = Counter(votes.most_common(1)[0][0] for votes in self._votes.values())
        return Tracked(
            truth=truth,
            index=index,
            detections=named[shown],
            entered=len(self._votes),
            by_class=dict(by_class),
            crossed=gate.forward - gate.backward,
        )


def score(results: list[Tracked]) -> dict[str, Any]:
    """Hold what a method said of one clip against its truth."""
    seen: Counter[int] = Counter()
    label_of: dict[int, int] = {}
    side_of: dict[int, bool] = {}
    crossed = 0
    pairs = []
    for result in results:
        truth = result.truth
        seen.update(truth.ids.tolist())
        label_of.update(zip(truth.ids.tolist(), truth.labels.tolist(), strict=True))
        beyond = truth.boxes_xyxy[:, ::2].mean(1) > GATE_X
        for number, side in zip(truth.ids.tolist(), beyond.tolist(), strict=True):
            crossed += side and not side_of.get(number, side)
            side_of[number] = side
        named = result.detections[result.detections.track_ids > 0]
        overlap = sv.box_iou_batch(truth.boxes_xyxy, named.boxes_xyxy) if len(named) else np.zeros((len(truth.ids), 0))
        pairs.append((truth.ids, named.track_ids, overlap))
    present = [number for number, frames in seen.items() if frames >= LEAST_FRAMES]
    by_class = Counter(PART_NAMES[label_of[number] - 1] for number in present)
    last = results[-1]
    return {
        "parts": len(present),
        "ever": len(seen),
        "counted": last.entered,
        "off": abs(last.entered - len(present)),
        "off_by_class": sum(abs((last.by_class or {}).get(name, 0) - by_class[name]) for name in PART_NAMES),
        "crossings": crossed,
        "crossed": last.crossed,
        "off_crossings": abs(last.crossed - crossed),
        "clear": compute_clear_metrics(*(list(column) for column in zip(*pairs, strict=True))),
    }


def table(clips: dict[int, list[Clip]], methods: dict[str, Callable[[Clip, int], Iterator[Tracked]]]) -> None:
    """Print a row for each spacing, rate and method."""
    click.echo("| spacing | every | method | switches | parts | counted | error | by class | crossings | counted | error | MOTA |")
    click.echo("|" + " --- |" * 12)
    for spacing, group in clips.items():
        for every in EVERY:
            for name, method in methods.items():
                rows = [score(list(method(clip, every))) for clip in group]
                total = {key: sum(row[key] for row in rows) for key in rows[0] if key != "clear"}
                clear = aggregate_clear_metrics([row["clear"] for row in rows])
                click.echo(
                    f"| {spacing} | {every} | {name} | {clear['IDSW']} | {total['parts']} ({total['ever']}) | {total['counted']} "
                    f"| {total['off'] / total['parts']:.1%} | {total['off_by_class'] / total['parts']:.1%} "
                    f"| {total['crossings']} | {total['crossed']} "
                    f"| {total['off_crossings'] / total['crossings']:.1%} | {clear['MOTA']:.3f} |"
                )


def _crop(mask: NDArray[np.bool_], box: NDArray[np.float32]) -> MaskCrop:
    x1, y1, x2, y2 = box.astype(int).tolist()
    return MaskCrop(pixels=mask[y1:y2, x1:x2].astype(np.uint8), left=x1, top=y1)


@click.command()
@click.argument("bundle", type=click.Path(exists=True))
@click.option("--scenes", default=4, show_default=True, help="Of each spacing.")
@click.option("--frames", default=300, show_default=True, help="Of each scene.")
@click.option("--cache", type=click.Path(path_type=Path), help="Keep what was found here; only your own files.")
def main(bundle: str, scenes: int, frames: int, cache: Path | None) -> None:
    """Print the tables of docs/tracking.md."""
    cv2.setNumThreads(1)
    clips: dict[int, list[Clip]] = {}
    with edgeseg.load(bundle, backend="onnxruntime", precision="fp32") as model:
        for shift, spacing in enumerate(SPACINGS_PX):
            seeds = [FIRST_SEED + shift + 2 * number for number in range(scenes)]
            clips[spacing] = [_cached(cache, model, seed, spacing, frames) for seed in seeds]
    table(clips, {"none": untracked, "ByteTrack alone": bytetrack, "--track": tracked})


def _cached(cache: Path | None, model: Any, seed: int, spacing: int, frames: int) -> Clip:
    if cache is None:
        return record(model, seed, spacing, frames)
    path = cache / f"{seed}-{spacing}-{frames}.pkl"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(record(model, seed, spacing, frames)))
    return pickle.loads(path.read_bytes())


if __name__ == "__main__":
    main()
