"""The contract between a model and what computes it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeseg.errors import ArtifactError, InputError
from edgeseg.ports import OUTPUTS, ports_from_spec
from edgeseg.spec import Lowering

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeseg.spec import ModelSpec

# Half precision and rounding leave a result that far outside: boxes in pixels, probabilities in shares of 1.
BOX_TOLERANCE_PX = 1.0
PROBABILITY_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDetections:
    """What a graph puts out, in input pixels; rows beyond an image's count are zero.

    Attributes:
        counts: `int32[B]`, detections of each image.
        boxes_xyxy: `float32[B, K, 4]`.
        scores: `float32[B, K]`, descending.
        labels: `int32[B, K]`.
        masks: `float32[B, K, S, S]`, probabilities.

    Example:
        >>> raw = RawDetections(
        ...     counts=np.array([2], np.int32),
        ...     boxes_xyxy=np.array([[[0, 0, 8, 8], [4, 4, 9, 9], [0, 0, 0, 0]]], np.float32),
        ...     scores=np.array([[0.9, 0.4, 0.0]], np.float32),
        ...     labels=np.array([[1, 2, 0]], np.int32),
        ...     masks=np.zeros((1, 3, 28, 28), np.float32),
        ... )
        >>> raw.above(0.5).counts.tolist(), raw.above(0.5).labels.tolist()
        ([1], [[1, 0, 0]])
    """

    counts: NDArray[np.int32]
    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int32]
    masks: NDArray[np.float32]

    def above(self, score_threshold: float) -> RawDetections:
        """Keep what scores above a threshold: for graphs that have only the one they were built with."""
        keep = (self.scores > score_threshold) & (np.arange(self.scores.shape[1]) < self.counts[:, None])
        return RawDetections(
            counts=keep.sum(1, dtype=np.int32),
            boxes_xyxy=self.boxes_xyxy * keep[..., None],
            scores=self.scores * keep,
            labels=self.labels * keep,
            masks=self.masks * keep[..., None, None],
        )


_FIELD_OUTPUTS = dict(zip((field.name for field in fields(RawDetections)), OUTPUTS, strict=True))


def raw_from_outputs(outputs: Mapping[str, Any]) -> RawDetections:
    """Take a graph's outputs by name."""
    return RawDetections(**{field: outputs[name] for field, name in _FIELD_OUTPUTS.items()})


def no_detections(spec: ModelSpec) -> RawDetections:
    """Make the result of a batch in which nothing was found."""
    _, outputs = ports_from_spec(spec, Lowering.PORTABLE)
    return raw_from_outputs({port.name: np.zeros(port.sizes, port.dtype) for port in outputs})


def check_images(images: NDArray[Any], spec: ModelSpec) -> None:
    """Refuse what is not a batch of images for that model.

    Raises:
        InputError: Another shape or type than `uint8[B, H, W, 3]`.
    """
    (expected, *_), _ = ports_from_spec(spec, Lowering.PORTABLE)
    if images.dtype != expected.dtype or images.shape != expected.shape:
        msg = f"images must be {expected.dtype}{list(expected.shape)}, got {images.dtype}{list(images.shape)}"
        raise InputError(msg)


def check_ports(graph: Path, found: Mapping[str, str], required: Mapping[str, str], remedy: str = "") -> None:
    """Compare the inputs and outputs of a graph, so that a wrong one fails here and not in a frame.

    Args:
        graph: File, for the message.
        found: Name to type and shape, in the words of the library that read it.
        required: The same, as the spec has them.
        remedy: End of the message.

    Raises:
        ArtifactError: One is missing, is too many or is another.
    """
    for name in {**required, **found}:
        actual, expected = found.get(name, "missing"), required.get(name, "missing")
        if actual != expected:
            msg = f"{graph} does not fit its model.json: {name} is {actual}, not {expected}{remedy}"
            raise ArtifactError(msg)


def closed_error() -> ArtifactError:
    """Say that a backend was called after it was closed."""
    return ArtifactError("the model is closed; load it again with edgeseg.load")


def output_fault(raw: RawDetections, spec: ModelSpec) -> str:
    """Say what in a graph's outputs cannot be of that model: such a result would be drawn, counted and sent.

    Args:
        raw: What the graph gave.
        spec: Of the model.

    Returns:
        What is wrong, such as `a box that is not finite`; empty if nothing is.
    """
    if fault := _form_fault(raw, spec):
        return fault
    rows = spec.max_detections
    if not _within(raw.counts, 0, rows):
        return f"a count of detections beyond 0 to {rows}"
    kept = np.arange(rows) < raw.counts[:, None]
    return _row_fault(raw, kept, spec)


def _form_fault(raw: RawDetections, spec: ModelSpec) -> str:
    _, outputs = ports_from_spec(spec, Lowering.PORTABLE)
    for field, port in zip(_FIELD_OUTPUTS, outputs, strict=True):
        array, name = getattr(raw, field), field.removesuffix("_xyxy")
        if not isinstance(array, np.ndarray):
            found = type(array).__name__
        elif array.dtype.kind != np.dtype(port.dtype).kind or array.shape != port.shape:
            found = f"{array.dtype}{list(array.shape)}"
        else:
            continue
        return f"{name} of the form {found}, not {port.dtype}{list(port.shape)}"
    return ""


def _row_fault(raw: RawDetections, kept: NDArray[np.bool_], spec: ModelSpec) -> str:
    boxes, masks = raw.boxes_xyxy[kept], raw.masks[kept]
    if not np.isfinite(boxes).all():
        return "a box that is not finite"
    height, width = spec.input_size_hw
    if not all(
        _within(side, -BOX_TOLERANCE_PX, high + BOX_TOLERANCE_PX)
        for side, high in zip(boxes.T, (width, height) * 2, strict=True)
    ):
        return f"a box outside of its input of {height}x{width} pixels (height x width)"
    if (boxes[:, 2:] < boxes[:, :2]).any():
        return "a box of a negative size"
    if not _within(raw.scores[kept], -PROBABILITY_TOLERANCE, 1 + PROBABILITY_TOLERANCE):
        return "a score that is not within 0 and 1"
    if not _within(raw.labels[kept], 1, len(spec.class_names) - 1):
        return f"a label beyond its {len(spec.class_names) - 1} classes"
    # NaN, too, is not within.
    return (
        ""
        if _within(masks, -PROBABILITY_TOLERANCE, 1 + PROBABILITY_TOLERANCE)
        else "a mask that is not within 0 and 1"
    )


def _within(values: NDArray[Any], low: float, high: float) -> bool:
    return not values.size or bool(values.min() >= low and values.max() <= high)


class Backend(Protocol):
    """Something that computes a graph. One instance may be called from several threads at once."""

    @property
    def description(self) -> str:
        """What computes and where, for people: `ONNX Runtime 1.20 on CPU`."""

    def __call__(self, images: NDArray[np.uint8], score_threshold: float) -> RawDetections:
        """Detect in a full batch.

        Args:
            images: `uint8[B, H, W, 3]`, letterboxed BGR; B, H and W as the spec has them.
            score_threshold: Only detections above it.

        Raises:
            InputError: Another shape or type.
            ArtifactError: Already closed, or the graph failed to compute.
        """

    def close(self) -> None:
        """Release the memory; harmless if done before."""
