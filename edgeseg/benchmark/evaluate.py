"""One table of average precision: PyTorch, the FP32 graph and every engine of a bundle on the same images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.bundle.manifest import DEFAULT_PATH, open_bundle
from edgeseg.dataset.annotations import read_annotations
from edgeseg.dataset.average_precision import AveragePrecision, evaluate
from edgeseg.dataset.labelled import image_folder_of, labelled_images
from edgeseg.errors import ArtifactError, ConfigError, DependencyError
from edgeseg.optional import require
from edgeseg.runtime.choice import ANY_ENGINE, EngineChoice
from edgeseg.runtime.model import Model, open_model
from edgeseg.runtime.selection import available_engines
from edgeseg.vision.frames import Skipped
from edgeseg.vision.images.bitdepth import check_bit_depth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgeseg.bundle.engines import Precision, Target
    from edgeseg.bundle.manifest import Bundle
    from edgeseg.dataset.labelled import LabelledImages
    from edgeseg.exporter.model.eager import ResizingDetector

PYTORCH = "PyTorch"
OWN_RESIZING = "PyTorch, own resizing"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """What to score on what.

    Attributes:
        annotations: COCO annotation file.
        images: Folder of its images; None for `images` beside the file, or else the file's own folder.
        model: Bundle.
        precisions: Precisions to score; empty for all that the bundle has.
        engine: Score only engines that it accepts, with so many threads of a call.
        checkpoint: Score this in torchvision too, first: given the pixels that the engines are given, and
            with torchvision's own resizing; None not to.
        factory: Function that builds the checkpoint's model, if it was exported with one.
        max_images: Take the first by image id; None for all.
        bit_depth: How many bits of a sample are used, in images of more than 8; None to find it for each.
    """

    annotations: Path
    images: Path | None = None
    model: Path = DEFAULT_PATH
    precisions: tuple[str, ...] = ()
    engine: EngineChoice = ANY_ENGINE
    checkpoint: Path | None = None
    factory: str | None = None
    max_images: int | None = None
    bit_depth: int | None = None

    def __post_init__(self) -> None:
        if self.max_images is not None and self.max_images < 1:
            msg = f"max_images must be at least 1, got {self.max_images}"
            raise ConfigError(msg)
        check_bit_depth(self.bit_depth)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRow:
    """The score of one engine.

    Attributes:
        name: `PyTorch`, `PyTorch, own resizing`, or a precision such as `FP32`, with its backend where there
            are several.
        computed_by: Package, its version and where it ran.
    """

    name: str
    computed_by: str
    scores: AveragePrecision


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """All scores, on the same images.

    Attributes:
        model: Path of the bundle.
        annotations: Path of the file.
        images: Folder.
        score_threshold: Detections below it were not scored; it is the bundle's.
        skipped: Annotated images that are missing or cannot be read; their instances did not count.
        remark: On the classes; empty if nothing.
        notes: On what was taken for granted in reading the images.
        unfit: Engines that cannot run here, and why.
        rows: The one to compare with first.
        interrupted: Stopped by Ctrl-C; rows that were not finished are left out.
    """

    model: str
    annotations: str
    images: str
    score_threshold: float
    skipped: tuple[Skipped, ...]
    remark: str
    notes: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()
    rows: tuple[EvaluationRow, ...]
    interrupted: bool = False


def evaluate_bundle(
    config: EvaluateConfig, progress: Callable[[str], None] = lambda line: None
) -> EvaluationReport:
    """Score a bundle's engines, and PyTorch if its checkpoint is given, by COCO average precision.

    Args:
        config: What to score on what.
        progress: Called with a line for each image.

    Raises:
        InputError: The annotations, the images or the checkpoint are unusable or do not belong together.
        ArtifactError: The bundle cannot be opened, or an engine that was asked for does not fit.
        ConfigError: No such precision, or a setting cannot work.
        DependencyError: torch or a backend is not installed.
        KeyboardInterrupt: Interrupted before any row was finished.
    """
    annotations = read_annotations(config.annotations)
    image_folder = config.images or image_folder_of(config.annotations)
    bundle = open_bundle(config.model)
    engines = _engines(config, bundle)
    labelled = labelled_images(
        annotations,
        image_folder,
        bundle.spec.class_names,
        max_images=config.max_images,
        bit_depth=config.bit_depth,
        progress=progress,
    )
    rows: list[EvaluationRow] = []
    unfit: list[str] = []
    interrupted = False
    try:
        for name, detector in _detectors(config, bundle, engines, unfit):
            with detector:
                rows.append(_evaluate(name, detector, labelled, progress))
    except KeyboardInterrupt:
        if not rows:
            raise
        interrupted = True
    return EvaluationReport(
        model=str(bundle.path),
        annotations=annotations.source,
        images=str(image_folder),
        score_threshold=bundle.spec.score_threshold,
        skipped=labelled.skipped,
        remark=labelled.remark,
        notes=labelled.notes,
        unfit=tuple(unfit),
        rows=tuple(rows),
        interrupted=interrupted,
    )


def _engines(config: EvaluateConfig, bundle: Bundle) -> list[tuple[Target, Precision]]:
    available = available_engines(bundle, config.engine)
    names = tuple(dict.fromkeys(precision.value for _, precision in available))
    for name in config.precisions:
        if name not in names:
            msg = f"precision must be one that {bundle.path} has ({', '.join(names)}), got {name!r}"
            raise ConfigError(msg)
    return [pair for pair in available if not config.precisions or pair[1].value in config.precisions]


def _detectors(
    config: EvaluateConfig,
    bundle: Bundle,
    engines: list[tuple[Target, Precision]],
    unfit: list[str],
) -> Iterator[tuple[str, Model | ResizingDetector]]:
    """Load one after the other, so that one at a time is in memory; tell `unfit` what does not load."""
    if config.checkpoint is not None:
        require("torchvision", purpose="score a checkpoint")
        from edgeseg.exporter.model.eager import (
            ResizingDetector,
            eager_from_checkpoint,
            torchvision_from_checkpoint,
        )

        specs = [each.spec for each in bundle.sizes]
        letterboxed = eager_from_checkpoint(
            config.checkpoint,
            bundle.spec,
            other_sizes=specs[1:],
            factory=config.factory,
            threads=config.engine.threads,
        )
        yield PYTORCH, letterboxed
        sizes_hw = [spec.input_size_hw for spec in specs]
        model = torchvision_from_checkpoint(config.checkpoint, bundle.spec, factory=config.factory)
        yield OWN_RESIZING, ResizingDetector(model, sizes_hw, bundle.spec, threads=config.engine.threads)
    several = len({target for target, _ in engines}) > 1
    for target, precision in engines:
        name = precision.value.upper()
        try:
            choice = replace(config.engine, backend=target.value, precision=precision.value)
            model = open_model(bundle.path, choice)
        except (ArtifactError, DependencyError) as exc:
            if config.precisions or len(engines) == 1:
                raise
            unfit.append(str(exc))
            continue
        yield f"{name} {target.value}" if several else name, model


def _evaluate(
    name: str, detector: Model | ResizingDetector, labelled: LabelledImages, progress: Callable[[str], None]
) -> EvaluationRow:
    scores = evaluate(detector, labelled, progress=lambda line: progress(f"{name}: {line}"))
    return EvaluationRow(name=name, computed_by=detector.description, scores=scores)
