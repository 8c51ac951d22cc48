"""torchvision's model behind the interface of a graph, so that both are measured by the same code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torchvision

from edgeseg.errors import ConfigError, InputError
from edgeseg.exporter.checkpoint import read_checkpoint
from edgeseg.exporter.config import DetectionLimits, apply_limits
from edgeseg.exporter.torch_threads import torch_threads
from edgeseg.runtime.contract import no_detections
from edgeseg.runtime.input_sizes import resize_limits
from edgeseg.runtime.model import Model, SizedBackend
from edgeseg.settings import SETTING_NAMES
from edgeseg.vision.torchvision_output import detections_from_dense

from .loading import load_model
from .reference import Reference, tensors_from_frames

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edgeseg.runtime.contract import RawDetections
    from edgeseg.spec import ModelSpec
    from edgeseg.vision.detections import Detections


class EagerBackend:
    """A torchvision `MaskRCNN` behind the contract of `edgeseg.runtime.contract.Backend`.

    Args:
        model: In evaluation; its counts and thresholds are set to those of `spec`.
        spec: What was exported from it; no detection below its score threshold is found.
        threads: Of torch, during a call only; None as `torch_threads`.
    """

    def __init__(self, model: Any, spec: ModelSpec, *, threads: int | None = None) -> None:
        apply_limits(
            DetectionLimits(**{name: getattr(spec, name) for name in DetectionLimits.__slots__}), model
        )
        self._reference = Reference(model, spec)
        self._spec = spec
        self._threads = threads

    @property
    def description(self) -> str:
        """Versions of torchvision and torch."""
        return f"torchvision {torchvision.__version__}, torch {torch.__version__} eager on CPU"

    def __call__(self, images: NDArray[np.uint8], score_threshold: float) -> RawDetections:
        """Detect in `uint8[B, H, W, 3]`; see `Backend`."""
        with torch_threads(self._threads):
            found = self._reference(images)
        raw = no_detections(self._spec)
        for index, detections_of_image in enumerate(found):
            # Scores descend, so what is above the threshold comes first.
            count = int(np.count_nonzero(detections_of_image.scores > score_threshold))
            raw.counts[index] = count
            for name in ("boxes_xyxy", "scores", "labels", "masks"):
                getattr(raw, name)[index, :count] = getattr(detections_of_image, name)[:count]
        return raw

    def close(self) -> None:
        """Do nothing; the model is released with this object."""


class ResizingDetector:
    """A torchvision `MaskRCNN` called as its documentation has it: it resizes, pads and pastes by itself.

    Its scale does not depend on a frame's orientation, and it pads no more than it must, so that beside a
    detector of letterboxed frames it shows what letterboxing costs.

    Args:
        model: In evaluation; its resizing, counts and thresholds are set to those of the bundle.
        sizes_hw: Input sizes of the bundle; the shortest and the longest side are `min_size` and `max_size`.
        spec: Of the bundle.
        threads: As `EagerBackend`.
    """

    def __init__(
        self,
        model: Any,
        sizes_hw: Sequence[tuple[int, int]],
        spec: ModelSpec,
        *,
        threads: int | None = None,
    ) -> None:
        apply_limits(
            DetectionLimits(**{name: getattr(spec, name) for name in DetectionLimits.__slots__}), model
        )
        shortest, longest = resize_limits(sizes_hw)
        model.transform.min_size, model.transform.max_size = (shortest,), longest
        self.spec = spec
        self._model, self._threads = model, threads
        self._resize_range = f"{shortest} to {longest}"

    def __enter__(self) -> ResizingDetector:
        return self

    def __exit__(self, *error: object) -> None:
        self._model = None

    @property
    def description(self) -> str:
        """Versions of torchvision and torch, and between which sides it resizes."""
        versions = f"torchvision {torchvision.__version__}, torch {torch.__version__}"
        return f"{versions} eager on CPU, its own resizing ({self._resize_range})"

    def __call__(self, frames: Sequence[NDArray[np.uint8]], score_threshold: float) -> list[Detections]:
        """Find instances in `uint8[H, W, 3]` BGR frames of any size, one after the other."""
        with torch_threads(self._threads):
            return [self._detect(frame, score_threshold) for frame in frames]

    def _detect(self, frame: NDArray[np.uint8], score_threshold: float) -> Detections:
        with torch.inference_mode():
            (found,) = self._model([*tensors_from_frames(frame[None], self.spec.preprocess)])
        keep = found["scores"] > score_threshold
        boxes, labels, scores, masks = (
            found[name][keep].numpy() for name in ("boxes", "labels", "scores", "masks")
        )
        return detections_from_dense(boxes, labels, scores, masks, self.spec.class_names)


def eager_from_checkpoint(
    path: Path,
    spec: ModelSpec,
    *,
    factory: str | None = None,
    threads: int | None = None,
    other_sizes: Sequence[ModelSpec] = (),
) -> Model:
    """Load the checkpoint of a bundle in torchvision, to be called as a loaded bundle is.

    Args:
        path: `.pth` or `.safetensors`.
        spec: Of the bundle.
        other_sizes: Of its further input sizes.
        factory: `package.module:function` that builds the model, if it was exported with one.
        threads: As `EagerBackend`.

    Raises:
        InputError: The checkpoint cannot be read, or is not the one that the bundle was exported from.
        ConfigError: The bundle was exported with a factory, and none is given or it does not work.
    """
    model = torchvision_from_checkpoint(path, spec, factory=factory)
    networks = [
        SizedBackend(each, EagerBackend(model, each, threads=threads)) for each in (spec, *other_sizes)
    ]
    return Model(*networks[0], other_sizes=networks[1:])


def torchvision_from_checkpoint(path: Path, spec: ModelSpec, *, factory: str | None = None) -> Any:
    """Load the checkpoint of a bundle in torchvision, with the settings that it was exported with.

    Args:
        path: As `eager_from_checkpoint`, and so are `spec` and `factory`.
        spec: Of the bundle.
        factory: Function that builds the model, if it was exported with one.

    Raises:
        InputError: As `eager_from_checkpoint`.
        ConfigError: As `eager_from_checkpoint`.
    """
    checkpoint = read_checkpoint(path)
    if checkpoint.sha256 != spec.checkpoint_sha256:
        msg = (
            f"the bundle was exported from {spec.checkpoint} (SHA-256 begins {spec.checkpoint_sha256[:12]}), "
            f"and {path} is another ({checkpoint.sha256[:12]}); name that one, or export this one"
        )
        raise InputError(msg)
    if factory is None and ":" in spec.architecture:
        # Named in a file that may come from anywhere: only the user may have it run.
        msg = f"the model was exported with --factory {spec.architecture}; pass it here too"
        raise ConfigError(msg)
    # What was assumed or given at export is in the bundle; the factory says it again.
    given = (
        {name: getattr(spec.settings, name) for name in SETTING_NAMES}
        if spec.settings and not factory
        else {}
    )
    return load_model(checkpoint, factory=factory, given=given).model
