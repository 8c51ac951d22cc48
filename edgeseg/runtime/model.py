"""A frame in, detections out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from edgeseg.bundle.manifest import DEFAULT_PATH, is_current, open_bundle
from edgeseg.errors import ArtifactError, ConfigError, EdgeSegError, InputError
from edgeseg.vision.detections import Detections
from edgeseg.vision.letterbox import Letterbox, letterbox_batch
from edgeseg.vision.masks import crop_masks

from .choice import AUTO, EngineChoice
from .contract import output_fault
from .input_sizes import best_input
from .selection import open_backend

if TYPE_CHECKING:
    from types import TracebackType

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.bundle.refusals import EngineRefusal
    from edgeseg.spec import ModelSpec

    from .contract import Backend, RawDetections
    from .selection import EngineSelection

LOAD_ATTEMPTS = 5


def load(
    path: str | Path = DEFAULT_PATH,
    *,
    backend: str = AUTO,
    precision: str = AUTO,
    provider: str = AUTO,
    threads: int | None = None,
) -> Model:
    """Load a bundle on the best backend of this machine.

    Args:
        path: Folder that `edgeseg export` wrote.
        backend: `tensorrt`, `tensorrt-rtx`, `openvino` or `onnxruntime`; `auto` for the first of these that
            `edgeseg build-engine` made an engine for and that runs here, else the exported graph.
        precision: `int8`, `fp16`, `bf16` or `fp32`; `auto` for the first of these that the backend has.
            What was taken, and what did not fit, `description` tells.
        provider: Where ONNX Runtime computes: `cpu`, `cuda` or `tensorrt`; `auto` for CUDA if it has it.
        threads: Of one inference on a CPU; None for one a core.

    Raises:
        ArtifactError: The bundle is missing, altered or truncated, or has no engine of that kind that fits.
        ConfigError: No such backend, precision or provider.
        DependencyError: The backend is not installed, or its GPU is missing.

    Example:
        >>> import edgeseg
        >>> with edgeseg.load("edgeseg-model", backend="onnxruntime", threads=1) as model:
        ...     model.sizes_hw, model.spec.class_names
        (((64, 96),), ('__background__', 'bolt', 'nut', 'washer'))
    """
    choice = EngineChoice(backend=backend, precision=precision, provider=provider, threads=threads)
    return open_model(Path(path), choice)


def open_model(path: Path, choice: EngineChoice) -> Model:
    """Load a bundle as `load` does, on the engine that a record asks for.

    Raises:
        ArtifactError: The bundle is missing, altered or truncated, or has no engine of that kind that fits.
        DependencyError: The backend is not installed, or its GPU is missing.
    """
    bundle, selection = _open_selected(path, choice)
    first, *others = map(SizedBackend, (each.spec for each in bundle.sizes), selection.backends)
    return Model(*first, remark=selection.remark, other_sizes=others, refusals=selection.refusals)


def _open_selected(path: Path, choice: EngineChoice) -> tuple[Bundle, EngineSelection]:
    """Open a bundle and what computes it; again where it was replaced between the two."""
    for _ in range(LOAD_ATTEMPTS):
        bundle = open_bundle(path)
        try:
            selection = open_backend(bundle, choice)
        except EdgeSegError:
            if is_current(bundle):
                raise
            continue
        if is_current(bundle):
            return bundle, selection
        for backend in selection.backends:
            backend.close()
    msg = f"{path} is replaced again and again while it is loaded; wait for the program that does it"
    raise ArtifactError(msg)


class SizedBackend(NamedTuple):
    """One input size of a model, and what computes it."""

    spec: ModelSpec
    backend: Backend


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedBatch:
    """Frames as the network of one input size takes them.

    Attributes:
        size_index: Index of the input size in `Model.sizes_hw`.
        rows: Place of each frame among those that were given.
        images: `uint8[B, H, W, 3]`, letterboxed BGR.
        boxes: Where each frame lies in its image; fewer than `B` where the batch is not full.
    """

    size_index: int
    rows: tuple[int, ...]
    images: NDArray[np.uint8]
    boxes: tuple[Letterbox, ...]


# One batch for each input size that the frames need.
Prepared: TypeAlias = "tuple[PreparedBatch, ...]"
Outputs: TypeAlias = "tuple[RawDetections, ...]"


class Model:
    """A loaded bundle: call it with a frame or a list of frames.

    May be called from several threads at once. Use it in a `with` block, or `close()` it, to release its
    memory early. A model that was exported for several input sizes computes each frame at the size that shows
    it largest.

    Attributes:
        spec: What the model is, at its first input size.
        remark: Its precision, and why it is not another; ends `description`.
        refusals: Faster engines of the bundle that were not taken, and why.

    Example:
        >>> import edgeseg
        >>> import numpy as np
        >>> model = edgeseg.load("edgeseg-model")
        >>> frame = np.zeros((480, 640, 3), np.uint8)
        >>> model(frame).names
        ['bolt', 'nut', 'washer']
        >>> [found.names for found in model([frame, frame], score_threshold=0.8)]
        [['bolt'], ['bolt']]
    """

    def __init__(
        self,
        spec: ModelSpec,
        backend: Backend,
        remark: str = "FP32",
        *,
        other_sizes: Sequence[SizedBackend] = (),
        refusals: Sequence[EngineRefusal] = (),
    ) -> None:
        self.spec = spec
        self.remark = remark
        self.refusals = tuple(refusals)
        self._sized_backends = (SizedBackend(spec, backend), *other_sizes)

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def description(self) -> str:
        """What computes, where and in which precision, for people."""
        return f"{self._sized_backends[0].backend.description}, {self.remark}"

    @property
    def sizes_hw(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each input size, the first one first."""
        return tuple(network.spec.input_size_hw for network in self._sized_backends)

    @overload
    def __call__(self, frames: NDArray[np.uint8], score_threshold: float = 0.5) -> Detections: ...
    @overload
    def __call__(
        self, frames: Sequence[NDArray[np.uint8]], score_threshold: float = 0.5
    ) -> list[Detections]: ...
    def __call__(
        self, frames: NDArray[np.uint8] | Sequence[NDArray[np.uint8]], score_threshold: float = 0.5
    ) -> Detections | list[Detections]:
        """Find instances.

        Args:
            frames: `uint8[H, W, 3]` BGR of any size, or a list of such; a list may be of any length.
            score_threshold: Only instances above it, 0 to 1.

        Returns:
            Detections in pixels of the frame; a list of them for a list.

        Raises:
            InputError: A frame of another shape or type.
            ConfigError: The threshold is not within 0 and 1.
            ArtifactError: The model is closed, or its graph failed or gave numbers that are not finite or
                that no result can be: a box outside of the input, a score above 1, a label without a class.
        """
        if not 0 <= score_threshold <= 1 or math.isnan(score_threshold):
            msg = f"score_threshold must be within 0 and 1, got {score_threshold}"
            raise ConfigError(msg)
        if isinstance(frames, str) or not isinstance(frames, Sequence):
            return self._detect([frames], score_threshold)[0]
        rows, size = list(frames), self.spec.batch
        chunks = [rows[start : start + size] for start in range(0, len(rows), size)]
        return [found for chunk in chunks for found in self._detect(chunk, score_threshold)]

    def prepare(self, frames: Sequence[NDArray[np.uint8]]) -> Prepared:
        """Fit frames into the network's input: the first of the three stages of a call.

        Args:
            frames: `uint8[H, W, 3]` BGR each, at most `spec.batch`.

        Raises:
            InputError: A frame of another shape or type.
        """
        return prepare_frames(frames, [network.spec for network in self._sized_backends])

    def infer(self, prepared: Prepared, score_threshold: float) -> Outputs:
        """Compute the network on prepared frames: the second stage.

        Raises:
            ArtifactError: The model is closed, or its graph failed.
        """
        return tuple(
            self._sized_backends[batch.size_index].backend(batch.images, score_threshold)
            for batch in prepared
        )

    def finish(self, outputs: Outputs, prepared: Prepared) -> list[Detections]:
        """Bring boxes and masks back into each frame: the third stage.

        Raises:
            ArtifactError: A number that is not finite, or that no result of this model can be.
        """
        for raw, batch in zip(outputs, prepared, strict=True):
            if fault := output_fault(raw, self._sized_backends[batch.size_index].spec):
                msg = f"the graph gave {fault} on {self.description}; export the model again"
                raise ArtifactError(msg)
        found = {
            row: self._detections(raw, index, box)
            for raw, batch in zip(outputs, prepared, strict=True)
            for index, (row, box) in enumerate(zip(batch.rows, batch.boxes, strict=True))
        }
        return [found[row] for row in sorted(found)]

    def close(self) -> None:
        """Release the memory; calls afterwards fail."""
        for network in self._sized_backends:
            network.backend.close()

    def _detect(self, frames: Sequence[NDArray[np.uint8]], score_threshold: float) -> list[Detections]:
        prepared = self.prepare(frames)
        return self.finish(self.infer(prepared, score_threshold), prepared)

    def _detections(self, raw: RawDetections, index: int, box: Letterbox) -> Detections:
        rows = slice(int(raw.counts[index]))
        boxes = box.to_frame(raw.boxes_xyxy[index, rows])
        return Detections(
            boxes_xyxy=boxes,
            scores=raw.scores[index, rows].copy(),
            labels=raw.labels[index, rows].copy(),
            masks=crop_masks(raw.masks[index, rows], boxes, box.frame_size_hw),
            frame_size_hw=box.frame_size_hw,
            class_names=self.spec.class_names,
        )


def prepare_frames(frames: Sequence[NDArray[np.uint8]], specs: Sequence[ModelSpec]) -> Prepared:
    """Fit frames into the input of a network, each at the size that shows it largest.

    Args:
        frames: `uint8[H, W, 3]` BGR each, at most as many as a batch has images.
        specs: Of each input size.

    Raises:
        InputError: A frame of another shape or type.
    """
    sizes_hw = [spec.input_size_hw for spec in specs]
    rows_of: dict[int, list[int]] = {}
    for row, frame in enumerate(frames):
        check_frame(frame)
        rows_of.setdefault(best_input(frame.shape[:2], sizes_hw), []).append(row)
    batches = []
    for size_index, rows in rows_of.items():
        images, boxes = letterbox_batch([frames[row] for row in rows], specs[size_index])
        batches.append(
            PreparedBatch(size_index=size_index, rows=tuple(rows), images=images, boxes=tuple(boxes))
        )
    return tuple(batches)


def check_frame(frame: NDArray[np.uint8]) -> None:
    """Refuse what is not a colour frame, and say how to make one of it.

    Raises:
        InputError: Not `uint8[H, W, 3]` with at least one pixel.
    """
    if not isinstance(frame, np.ndarray):
        advice = "; cv2.imread gives None for a file that it cannot read" if frame is None else ""
        if isinstance(frame, (str, Path)):
            advice = "; read the file with cv2.imread or edgeseg.vision.images.reader.read_image"
        msg = f"a frame must be a NumPy array uint8[H, W, 3] in BGR, got {type(frame).__name__}{advice}"
        raise InputError(msg)
    if frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3 and frame.size:
        return
    msg = f"a frame must be uint8[H, W, 3] in BGR, got {frame.dtype}{list(frame.shape)}{_advice(frame)}"
    raise InputError(msg)


def _advice(frame: NDArray[Any]) -> str:
    channels = frame.shape[2] if frame.ndim == 3 else None
    if frame.ndim == 4:
        return "; pass a batch as a list of frames"
    if frame.dtype != np.uint8:
        return "; scale it to 0 to 255 and convert with .astype(np.uint8)"
    if frame.ndim == 2 or channels == 1:
        return "; make it so with cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)"
    if channels == 4:
        return "; make it so with cv2.cvtColor(frame, cv2.COLOR_BGRA2BGR)"
    if channels is not None and frame.shape[0] == 3:
        return "; put the channels last with frame.transpose(1, 2, 0)"
    return ""
