"""The demo: export the shipped checkpoint, run it on an unseen clip and score it on unseen scenes."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edgeseg.dataset.average_precision import average_precision
from edgeseg.errors import ConfigError, InputError
from edgeseg.exporter.config import ExportConfig
from edgeseg.exporter.export import export
from edgeseg.files.draft import AtomicFile
from edgeseg.files.native import native_path
from edgeseg.files.records import check_folder, claim_folder, mapped_write_errors, write_atomically
from edgeseg.files.temporary import sweep
from edgeseg.runtime.model import load
from edgeseg.streaming.config import OutputConfig, RunCallbacks, RunConfig, RunSummary, SourceConfig
from edgeseg.streaming.runner import run

from . import checkpoint_path
from .conveyor import PART_NAMES, ConveyorFrame, ConveyorScene
from .score import FIRST_UNSEEN_SEED, unseen_frames
from .truth import coco_from_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edgeseg.bundle.manifest import Bundle

    from .config import DemoConfig

DEFAULT_OUTPUT = Path("edgeseg-demo")
CLIP_FILE = "belt.mp4"
INPUT_SIZE_HW = (384, 512)
CHECK_FRAMES = 4
FPS = 25
# Average precision is measured over all scores; counts only include scores above 0.5.
LOWEST_SCORE = 0.05
SCORE_THRESHOLD = 0.5
# COCO's value of AP for a class that no frame contains.
ABSENT = -1.0
MARGIN_PX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """Score of one class: instances in the ground truth, detections above 0.5, and COCO mask AP or -1."""

    name: str
    present: int
    found: int
    mask_ap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """Results of the demo.

    Attributes:
        scored: Number of scored frames.
        clip: Summary of the run on the clip.
        picture: Path of a picture with one frame next to the detections in it.
    """

    scored: int
    box_ap: float
    mask_ap: float
    mask_ap50: float
    classes: tuple[ClassScore, ...]
    clip: RunSummary
    picture: str


def run_demo(config: DemoConfig, progress: Callable[[str], None]) -> tuple[Bundle, DemoReport]:
    """Export the shipped checkpoint, run it on an unseen clip and score it on unseen scenes.

    Args:
        config: Settings of the demo.
        progress: Called with each stage as it begins.

    Raises:
        ConfigError: The output is a file, or an earlier demo exists and `force` is off.
        ParityError: The exported graphs do not find what PyTorch finds.
    """
    out = _output_folder(config)
    progress("rendering the belt")
    scene = ConveyorScene(seed=FIRST_UNSEEN_SEED + config.scored)
    for index in range(CHECK_FRAMES):
        write_image(out / "check" / f"{index}.png", scene.frame(40 * index).image)
    _write_clip(out / CLIP_FILE, scene, config.frames)
    bundle = export(
        ExportConfig(
            checkpoint=checkpoint_path(),
            output=out / "model",
            sizes_hw=(INPUT_SIZE_HW,),
            check=out / "check",
            force=True,
        ),
        progress,
    )
    clip = run(
        RunConfig(
            source=SourceConfig(sources=(str(out / CLIP_FILE),)),
            model=bundle.path,
            output=OutputConfig(folder=out / "found", force=True),
        ),
        RunCallbacks(progress=progress),
    )
    return bundle, _score(config.scored, bundle, clip, out / "picture.png", progress)


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write a `uint8[H, W, 3]` BGR image in the format of the suffix, and create its folder.

    Raises:
        InputError: The format is not known.
        EdgeSegError: The file cannot be written.
    """
    encoded_ok, data = cv2.imencode(path.suffix, image)
    if not encoded_ok:
        msg = f"cannot write {path}: {path.suffix} is no format for pictures"
        raise InputError(msg)
    write_atomically(path, data.tobytes())


def _output_folder(config: DemoConfig) -> Path:
    if config.output is None and not config.force:
        return claim_folder(DEFAULT_OUTPUT, CLIP_FILE, lambda folder: (folder / CLIP_FILE).exists())
    out = config.output or DEFAULT_OUTPUT
    if out.exists() and not out.is_dir():
        msg = f"{out} is a file; choose another -o"
        raise ConfigError(msg)
    if (out / CLIP_FILE).exists() and not config.force:
        msg = f"{out} already holds a demo; pass --force to replace it, or choose another -o"
        raise ConfigError(msg)
    check_folder(out)
    with mapped_write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    sweep(out)
    return out


def _write_clip(path: Path, scene: ConveyorScene, frames: int) -> None:
    size = scene.size_hw[::-1]
    with mapped_write_errors(path), closing(AtomicFile(path, path.suffix)) as pending_file:
        with native_path(pending_file.path) as name:
            writer = cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*"mp4v"), FPS, size)
        try:
            for index in range(frames):
                writer.write(scene.frame(index).image)
        finally:
            writer.release()
        if not pending_file.path.stat().st_size:
            msg = f"cannot write {path}: check the free space and the permissions of {path.parent}"
            raise InputError(msg)
        pending_file.commit()


def _score(
    scored: int, bundle: Bundle, clip: RunSummary, picture: Path, progress: Callable[[str], None]
) -> DemoReport:
    frames = unseen_frames(scored)
    truth = coco_from_frames(frames)
    results: list[dict[str, Any]] = []
    with load(bundle.path) as model:
        for image_id, frame in enumerate(frames, start=1):
            progress(f"scoring unseen scene {image_id} of {len(frames)}")
            results += model(frame.image, score_threshold=LOWEST_SCORE).to_coco(image_id)
        found = model(frames[0].image, score_threshold=SCORE_THRESHOLD).draw(frames[0].image)
    write_image(picture, _side_by_side(frames[0], found))
    scores = average_precision(truth, results)
    return DemoReport(
        scored=len(frames),
        box_ap=scores.box_ap,
        mask_ap=scores.mask_ap,
        mask_ap50=scores.mask_ap50,
        classes=tuple(
            ClassScore(
                name=name,
                present=sum(item["category_id"] == label for item in truth["annotations"]),
                found=sum(r["category_id"] == label and r["score"] > SCORE_THRESHOLD for r in results),
                mask_ap=scores.mask_ap_by_class.get(name, ABSENT),
            )
            for label, name in enumerate(PART_NAMES, start=1)
        ),
        clip=clip,
        picture=str(picture),
    )


def _side_by_side(frame: ConveyorFrame, found: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put the frame on the left and the drawn detections on the right."""
    gap = np.full((frame.image.shape[0], MARGIN_PX, 3), 255, np.uint8)
    return np.concatenate((frame.image, gap, found), 1)
