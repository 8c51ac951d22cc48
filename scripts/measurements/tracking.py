"""Tracking on the conveyor: switched identities and counting errors against the truth, with and without.

    edgeseg export edgeseg/demo/conveyor.safetensors --size 384 512 -o conveyor-model
    python scripts/measurements/tracking.py conveyor-model

Detecting takes most of the time; `--cache FOLDER` keeps what was found for the next time.
"""

from __future__ import annotations

import itertools
import pickle
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cv2
import numpy as np
import supervision as sv
import trackers
from numpy.typing import NDArray
from trackers.eval import aggregate_clear_metrics, compute_clear_metrics

import edgeseg
from edgeseg.demo.conveyor import PART_NAMES, ConveyorScene
from edgeseg.demo.score import FIRST_UNSEEN_SEED
from edgeseg.streaming.tracking import LOWEST_SCORE, Line, SceneTracker, TrackConfig, association, overlap
from edgeseg.streaming.tracking import similarity as likeness
from edgeseg.streaming.tracking.lines import LineCounter, LineState
from edgeseg.streaming.tracking.overlap import mask_iou
from edgeseg.vision.detections import Detections
from edgeseg.vision.frames import Frame
from edgeseg.vision.masks import MaskCrop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


FIRST_SEED = FIRST_UNSEEN_SEED + 500
FPS = 25.0
THRESHOLD = 0.5
SPACINGS_PX = (40, 25)
EVERY = (1, 2, 3, 5)
SHARES = (0.0, 0.6, 0.75, 0.9)
SIZE_HW = (480, 640)
SPEED_PX = 6.0
GATE = Line(start_xy=(0.5, 1.0), end_xy=(0.5, 0.0))
GATE_X = 320.0
BASELINE_IOU = 0.3
# A part that a single frame shows, at an end of the clip, cannot be followed and is not asked for.
LEAST_FRAMES = 2


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
        truth = Truth(ids=frame.track_ids, labels=frame.labels, boxes_xyxy=frame.boxes_xyxy, masks=crops)
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
    counter = _TrackCounter()
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
        new_rows = np.flatnonzero(ids == 0)
        ids[new_rows] = counter.highest + 1 + np.arange(len(new_rows))
        known = found
        yield counter.tracked(index, truth, found, ids)


def bytetrack(clip: Clip, every: int) -> Iterator[Tracked]:
    """The tracker of the package `trackers` with its own settings, given the same detections and times."""
    tracker = trackers.ByteTrackTracker(frame_rate=FPS)
    counter = _TrackCounter()
    for index in range(0, len(clip), every):
        found, truth = clip[index]
        rows = np.arange(len(found))
        given = sv.Detections(xyxy=found.boxes_xyxy, confidence=found.scores, data={"row": rows})
        result = tracker.update(given, timestamp=index / FPS)
        ids = np.zeros(len(found), np.int64)
        if len(result):
            ids[result.data["row"]] = np.asarray(result.tracker_id) + 1
        yield counter.tracked(index, truth, found, ids)


def ids_of(detections: Detections) -> NDArray[np.int64]:
    """Track ids `int64[N]`; 0 for all where nothing was tracked."""
    return np.zeros(len(detections), np.int64) if detections.track_ids is None else detections.track_ids


class _TrackCounter:
    """Counts numbers, classes and crossings of methods that give numbers only."""

    def __init__(self) -> None:
        self.highest = 0
        self._votes: dict[int, Counter[str]] = defaultdict(Counter)
        self._gate = LineCounter(GATE, 1, SIZE_HW)
        self._passages: dict[int, LineState] = defaultdict(LineState)

    def tracked(self, index: int, truth: Truth, found: Detections, ids: NDArray[np.int64]) -> Tracked:
        for number, name, box in zip(ids.tolist(), found.names, found.boxes_xyxy.tolist(), strict=True):
            if number:
                self.highest = max(self.highest, number)
                self._votes[number][name] += 1
                line_state, (x1, y1, x2, y2) = self._passages[number], box
                self._gate.follow(line_state, ((x1 + x2) / 2, (y1 + y2) / 2), (x2 - x1 + y2 - y1) / 2)
                self._gate.count(line_state)
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
        named = result.detections[ids_of(result.detections) > 0]
        similarity: NDArray[np.floating[Any]] = np.zeros((len(truth.ids), 0))
        if len(named):
            similarity = sv.box_iou_batch(truth.boxes_xyxy, named.boxes_xyxy)
        pairs.append((truth.ids, named.track_ids, similarity))
    truth_ids, track_ids, similarities = (list(column) for column in zip(*pairs, strict=True))
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
        "clear": compute_clear_metrics(truth_ids, track_ids, similarities),
    }


def table(clips: dict[int, list[Clip]], methods: dict[str, Callable[[Clip, int], Iterator[Tracked]]]) -> None:
    """Print a row for each spacing, rate and method."""
    click.echo(
        "| spacing | every | method | switches | parts | counted | error | by class "
        "| crossings | counted | error | MOTA |"
    )
    click.echo("|" + " --- |" * 12)
    for spacing, group in clips.items():
        for every in EVERY:
            for name, method in methods.items():
                rows = [score(list(method(clip, every))) for clip in group]
                total = {key: sum(row[key] for row in rows) for key in rows[0] if key != "clear"}
                clear = aggregate_clear_metrics([row["clear"] for row in rows])
                click.echo(
                    f"| {spacing} | {every} | {name} | {clear['IDSW']} "
                    f"| {total['parts']} ({total['ever']}) | {total['counted']} "
                    f"| {total['off'] / total['parts']:.1%} | {total['off_by_class'] / total['parts']:.1%} "
                    f"| {total['crossings']} | {total['crossed']} "
                    f"| {total['off_crossings'] / total['crossings']:.1%} | {clear['MOTA']:.3f} |"
                )


def _crop(mask: NDArray[np.bool_], box: NDArray[np.float32]) -> MaskCrop:
    x1, y1, x2, y2 = box.astype(int).tolist()
    return MaskCrop(pixels=mask[y1:y2, x1:x2].astype(np.uint8), left=x1, top=y1)


def ablation(clips: dict[int, list[Clip]]) -> None:
    """Print what each part of the method does: switched identities and counting error."""
    variants: dict[str, tuple[Any, str, Any]] = {
        "as it is": (association, "BOX_GROWTH", association.BOX_GROWTH),
        "twins and merged masks stay": (overlap, "MAX_SHARED", 2.0),
        "boxes not grown": (association, "BOX_GROWTH", 0.0),
        "new objects start at rest": (association, "_start_with_flow", lambda tracks: None),
        "boxes overlap, masks not": (likeness.Similarity, "_masks", lambda *parts: 0.0),
    }
    cases = [(spacing, every) for spacing in clips for every in EVERY]
    click.echo("| | " + " | ".join(f"{spacing} px, every {every}" for spacing, every in cases) + " |")
    click.echo("|" + " --- |" * (1 + len(cases)))
    for name, (module, setting, value) in variants.items():
        before = getattr(module, setting)
        setattr(module, setting, value)
        cells = []
        for spacing, every in cases:
            rows = [score(list(tracked(clip, every))) for clip in clips[spacing]]
            switches = sum(row["clear"]["IDSW"] for row in rows)
            off = sum(row["off"] for row in rows) / sum(row["parts"] for row in rows)
            cells.append(f"{switches}, {off:.1%}")
        setattr(module, setting, before)
        click.echo(f"| {name} | " + " | ".join(cells) + " |")


def smoothing(clips: list[Clip]) -> None:
    """Print how masks tremble and how right they are, by the share of the past in them; and classes alike."""
    click.echo("| every | share | mask IoU with the truth | change from frame to frame |")
    click.echo("|" + " --- |" * 4)
    for every in (1, 3):
        for share in SHARES:
            config = TrackConfig(smooth_masks=share)
            found = [list(tracked(clip, every, config)) for clip in clips]
            right = [iou for results in found for pair in _matches(results) for iou in pair[:1]]
            change = [1 - iou for results in found for iou in _steadiness(results)]
            click.echo(f"| {every} | {share} | {np.mean(right):.4f} | {np.mean(change):.4f} |")


def classes(clips: list[Clip]) -> None:
    """Print how often the class of a frame, and the class of an object so far, is right."""
    for every in EVERY:
        right = Counter({"objects": 0, "frames": 0})
        total = 0
        for clip in clips:
            for result in tracked(clip, every):
                raw = clip[result.index][0]
                label_of = {
                    box.tobytes(): label for box, label in zip(raw.boxes_xyxy, raw.labels, strict=True)
                }
                for row, true in _matched_rows(result):
                    total += 1
                    right["objects"] += bool(result.detections.labels[row] == result.truth.labels[true])
                    found = label_of[result.detections.boxes_xyxy[row].tobytes()]
                    right["frames"] += bool(found == result.truth.labels[true])
        click.echo(
            f"every {every}: class right {right['frames'] / total:.2%} by frame, "
            f"{right['objects'] / total:.2%} by object, of {total}"
        )


def _matched_rows(result: Tracked) -> Iterator[tuple[int, int]]:
    """Pair each numbered detection with the part that its mask overlaps most, by half or more."""
    for row in np.flatnonzero(ids_of(result.detections) > 0).tolist():
        ious = [mask_iou(result.detections.masks[row], mask) for mask in result.truth.masks]
        if ious and max(ious) >= 0.5:
            yield row, int(np.argmax(ious))


def _matches(results: list[Tracked]) -> Iterator[tuple[float, int]]:
    for result in results:
        for row, true in _matched_rows(result):
            yield mask_iou(result.detections.masks[row], result.truth.masks[true]), row


def _steadiness(results: list[Tracked]) -> Iterator[float]:
    """Overlap of an object's masks in successive frames, moved by the belt's exact way, clear of edges."""
    for before, after in itertools.pairwise(results):
        way = round(SPEED_PX * after.index) - round(SPEED_PX * before.index)
        known = dict(zip(ids_of(before.detections).tolist(), before.detections.masks, strict=True))
        for number, mask in zip(ids_of(after.detections).tolist(), after.detections.masks, strict=True):
            if (
                number
                and number in known
                and mask.left > way
                and mask.left + mask.pixels.shape[1] < SIZE_HW[1]
            ):
                past = known[number]
                yield mask_iou(MaskCrop(pixels=past.pixels, left=past.left + way, top=past.top), mask)


@click.command()
@click.argument("bundle", type=click.Path(exists=True))
@click.option("--scenes", default=4, show_default=True, help="Of each spacing.")
@click.option("--frames", default=300, show_default=True, help="Of each scene.")
@click.option(
    "--cache", type=click.Path(path_type=Path), help="Keep what was found here; only your own files."
)
def main(bundle: str, scenes: int, frames: int, cache: Path | None) -> None:
    """Print the tables of docs/tracking.md."""
    cv2.setNumThreads(1)
    clips: dict[int, list[Clip]] = {}
    with edgeseg.load(bundle, backend="onnxruntime", precision="fp32") as model:
        for shift, spacing in enumerate(SPACINGS_PX):
            seeds = [FIRST_SEED + shift + 2 * number for number in range(scenes)]
            clips[spacing] = [_cached(cache, model, seed, spacing, frames) for seed in seeds]
    table(clips, {"none": untracked, "ByteTrack alone": bytetrack, "--track": tracked})
    ablation(clips)
    every_clip = [clip for group in clips.values() for clip in group]
    classes(every_clip)
    smoothing([group[0] for group in clips.values()])


def _cached(cache: Path | None, model: Any, seed: int, spacing: int, frames: int) -> Clip:
    if cache is None:
        return record(model, seed, spacing, frames)
    path = cache / f"{seed}-{spacing}-{frames}.pkl"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(record(model, seed, spacing, frames)))
    clip: Clip = pickle.loads(path.read_bytes())
    return clip


if __name__ == "__main__":
    main()
