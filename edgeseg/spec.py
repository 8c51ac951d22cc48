"""What a model is: the records that travel in `model.json` from exporter to device."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from .errors import ConfigError
from .records import short_repr
from .settings import MAX_DETECTIONS, MAX_PROPOSALS, MAX_SIDE_PX, SIZE_MULTIPLE, ModelSettings, Origin

BACKGROUND = "__background__"
# Source of the images of the parity check where none are given.
BUILT_IN = "built-in"
# Beyond these lies no model but a damaged file, and arrays of such sizes would take all memory.
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
    """The graphs of a bundle: same network, different operators or precision."""

    PORTABLE = "portable"
    TENSORRT = "tensorrt"
    TENSORRT_FP16 = "tensorrt-fp16"

    @property
    def half(self) -> bool:
        """Whether the network computes in half precision, which is near the others and not equal to them."""
        return self is Lowering.TENSORRT_FP16

    @property
    def file_name(self) -> str:
        """Name of the graph's file inside the bundle."""
        return f"{self.value}.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """How a frame becomes the network's input; the graph does the rest.

    The runtime letterboxes (bilinear, frame at the upper left, `pad_bgr` to the right and below); cast,
    channel order and normalisation are inside the graph.

    Attributes:
        mean_rgb: Subtracted from RGB in `[0, 1]`.
        std_rgb: Divided by, after the mean.
        gray: The network takes one channel: the brightness of the frame, with the first mean and deviation.
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
        """Padding colour in `uint8` BGR: the mean, which normalises to zero as torchvision's padding is."""
        red, green, blue = (min(255, max(0, round(255 * value))) for value in self.mean_rgb)
        return blue, green, red


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRow:
    """Agreement of one graph with PyTorch over all images of the gate.

    Attributes:
        missing: Detections of PyTorch without a partner, but for those at the threshold or at the cut.
        extra: Detections of the graph without a partner, likewise.
        unsettled: Images on which the NMS of the `tensorrt` graph had not converged.
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
    """The proof that travels with a bundle: what was compared, the bounds, the figures and the verdict.

    Attributes:
        passed: Every row is within the bounds, with nothing missing and nothing extra.
        image_source: The folder given, or `built-in`.
        score_threshold: Detections of PyTorch above this score had to be found.
        most_candidates: Most (proposal, class) pairs above the threshold on an image; the graph takes
            `max_candidates` of them and torchvision all.
        confident: Detections of PyTorch with a score above 0.5; None in bundles of older versions.
        annotated: Objects that COCO annotations beside the images have in them.
        annotated_found: How many of those PyTorch found, whatever class it took them for.
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
    """Everything the runtime must know of a model, and where the model came from.

    Attributes:
        class_names: Index is the label; index 0 is the background.
        input_size_hw: Height and width of the network's input, multiples of 32.
        batch: Images a call takes; fixed in the graph.
        max_detections: K, rows of every output.
        max_proposals: Boxes that the proposal network hands to the box head.
        max_candidates: (proposal, class) pairs that enter the last NMS, best first; pairs beyond it are cut.
        score_threshold: Lowest score that leaves the graph (`portable` takes another one at run time).
        nms_threshold: Overlap above which the weaker box of one class is dropped.
        mask_size: Side of the square mask of a detection, in mask pixels.
        architecture: Such as `maskrcnn_resnet50_fpn`.
        checkpoint: File name of the checkpoint.
        versions: Package name to version at export.
        parity: None when the gate was switched off.
        settings: What the model computes with and tensors do not show; None in bundles of older versions.
        origins: Who said each of the settings, by its name.
        remarks: On the checkpoint.
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
    """Refuse an input size that no network can have.

    Raises:
        ConfigError: A side is not a positive multiple of 32, or too long; names the nearest size that fits.
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
