"""Records that describe a model; stored in `model.json` by the exporter and read on the device."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from .errors import ConfigError
from .records import short_repr
from .settings import MAX_DETECTIONS, MAX_PROPOSALS, MAX_SIDE_PX, SIZE_MULTIPLE, ModelSettings, Origin

BACKGROUND = "__background__"
# Image source of the parity check if no images are given.
BUILT_IN = "built-in"
# Larger values come from damaged files, and arrays of such sizes would take all memory.
MAX_CLASSES = 10_001
MAX_NAME_CHARS = 1000
MAX_VALUES = {
    "batch": 1024,
    "max_detections": MAX_DETECTIONS,
    "max_proposals": MAX_PROPOSALS,
    "max_candidates": 1_000_000,
    "mask_size": 1024,
}


class Lowering(str, Enum):
    """The graphs of a bundle: the same network with different operators or precision."""

    PORTABLE = "portable"
    TENSORRT = "tensorrt"
    TENSORRT_FP16 = "tensorrt-fp16"

    @property
    def half(self) -> bool:
        """Whether the network computes in half precision; results then differ slightly."""
        return self is Lowering.TENSORRT_FP16

    @property
    def file_name(self) -> str:
        """Name of the graph's file inside the bundle."""
        return f"{self.value}.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """How a frame becomes the network's input.

    The runtime letterboxes the frame (bilinear, at the upper left, padded with `pad_bgr` on the right and
    below). The cast, the channel order and the normalisation are part of the graph.

    Attributes:
        mean_rgb: Mean that is subtracted from RGB values in `[0, 1]`.
        std_rgb: Standard deviation by which values are divided after the mean is subtracted.
        gray: Whether the network takes one channel, the brightness of the frame; it is normalised with the
            first mean and deviation.
    """

    mean_rgb: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std_rgb: tuple[float, float, float] = (0.229, 0.224, 0.225)
    gray: bool = False

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, self.mean_rgb)):
            msg = f"mean_rgb must be three numbers, got {self.mean_rgb}"
            raise ConfigError(msg)
        if not all(0 < value < math.inf for value in self.std_rgb):
            msg = f"std_rgb must be positive, got {self.std_rgb}"
            raise ConfigError(msg)

    @property
    def pad_bgr(self) -> tuple[int, int, int]:
        """Padding colour in BGR, 0 to 255: the mean, which normalises to zero like torchvision's padding."""
        red, green, blue = (min(255, max(0, round(255 * value))) for value in self.mean_rgb)
        return blue, green, red


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRow:
    """Agreement of one graph with PyTorch over all images of the parity check.

    Attributes:
        missing: Unmatched detections of PyTorch, except those at the score threshold or at the limit on the
            number of detections.
        extra: Unmatched detections of the graph, with the same exceptions.
        unsettled: Images on which the NMS of a graph for TensorRT did not converge.
    """

    lowering: Lowering
    images: int
    reference_detections: int
    matched: int
    missing: int
    extra: int
    unsettled: int
    max_box_error_px: float
    max_score_error: float
    min_mask_iou: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """Result of the parity check, stored in the bundle: what was compared, bounds, figures and verdict.

    Attributes:
        passed: Whether every row is within the bounds, with nothing missing and nothing extra.
        image_source: The folder with the images, or `built-in`.
        score_threshold: Detections of PyTorch above this score had to be found.
        most_candidates: Largest number of (proposal, class) pairs above the threshold on an image; the graph
            takes the best `max_candidates` of them, torchvision takes all.
        confident: Detections of PyTorch with a score above 0.5; None in bundles of older versions.
        annotated: Objects in the COCO annotations next to the images.
        annotated_found: Number of those that PyTorch found, with any class.
    """

    passed: bool
    image_source: str
    most_candidates: int
    score_threshold: float
    max_box_error_px: float
    max_score_error: float
    min_mask_iou: float
    rows: tuple[ParityRow, ...]
    confident: int | None = None
    annotated: int = 0
    annotated_found: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Everything the runtime must know about a model, and where the model came from.

    Attributes:
        class_names: Class name of each label; label 0 is the background.
        input_size_hw: Height and width of the network's input in pixels, multiples of 32.
        batch: Images per call; fixed in the graph.
        max_detections: Rows per image of every output (K).
        max_proposals: Boxes per image that the proposal network passes to the box head.
        max_candidates: (proposal, class) pairs that enter the last NMS; the pairs with the best scores are
            kept.
        score_threshold: Detections must have a score above this; `portable` can take another one at run
            time.
        nms_threshold: Overlap above which the weaker box of one class is dropped.
        mask_size: Side of the square mask of a detection, in mask pixels.
        architecture: Name of the architecture, such as `maskrcnn_resnet50_fpn`.
        checkpoint: File name of the checkpoint.
        versions: Package name to version at export.
        parity: Result of the parity check; None if it was switched off.
        settings: Settings that tensors do not show; None in bundles of older versions.
        origins: Where each setting comes from, by its name.
        remarks: Remarks on the checkpoint.
    """

    class_names: tuple[str, ...]
    input_size_hw: tuple[int, int] = (800, 1344)
    batch: int = 1
    max_detections: int = 100
    max_proposals: int = 1000
    max_candidates: int = 1000
    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    mask_size: int = 28
    preprocess: Preprocess = Preprocess()
    architecture: str
    checkpoint: str
    checkpoint_sha256: str
    versions: dict[str, str]
    parity: ParityReport | None = None
    settings: ModelSettings | None = None
    origins: dict[str, Origin] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_size(self.input_size_hw)
        for name, most in MAX_VALUES.items():
            if (count := getattr(self, name)) < 1:
                msg = f"{name} must be at least 1, got {count}"
                raise ConfigError(msg)
            if count > most:
                msg = f"{name} must be at most {most}, got {count}"
                raise ConfigError(msg)
        for name in ("score_threshold", "nms_threshold"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                msg = f"{name} must be within 0 and 1, got {value}"
                raise ConfigError(msg)
        if len(self.class_names) < 2:
            msg = f"class_names must be the background and at least one class, got {list(self.class_names)}"
            raise ConfigError(msg)
        if len(self.class_names) > MAX_CLASSES:
            msg = f"class_names must be at most {MAX_CLASSES} names, got {len(self.class_names)}"
            raise ConfigError(msg)
        if long := [name for name in self.class_names if len(name) > MAX_NAME_CHARS]:
            msg = f"class_names must have at most {MAX_NAME_CHARS} characters each, got {short_repr(long[0])}"
            raise ConfigError(msg)


def check_size(size_hw: tuple[int, int]) -> None:
    """Refuse an input size that is not valid.

    Args:
        size_hw: Height and width, in pixels.

    Raises:
        ConfigError: A side is too long or not a positive multiple of 32; the message names the nearest size.
    """
    if max(size_hw) > MAX_SIDE_PX:
        msg = f"input size must be at most {MAX_SIDE_PX} pixels a side, got {size_hw[0]} {size_hw[1]}"
        raise ConfigError(msg)
    if any(side < SIZE_MULTIPLE or side % SIZE_MULTIPLE for side in size_hw):
        nearest = " ".join(str(max(1, round(side / SIZE_MULTIPLE)) * SIZE_MULTIPLE) for side in size_hw)
        msg = (
            f"input size must be positive multiples of {SIZE_MULTIPLE}, got {size_hw[0]} {size_hw[1]}; "
            f"the nearest that fits is {nearest}"
        )
        raise ConfigError(msg)
