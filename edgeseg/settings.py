"""Settings of a Mask R-CNN that cannot be read from its tensors, and the origin of each value."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from .errors import ArtifactError, ConfigError
from .records import record_from_json, short_repr

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SIZE_MULTIPLE = 32
# A `max_size` far above `min_size` means "no limit"; an input as wide as that would be padding.
MAX_WIDTH_TO_HEIGHT = 3
NORM_EPS = 1e-5
# Values beyond these are mistakes, and arrays of such sizes would take all memory.
MAX_SIDE_PX = 16_384
MAX_PROPOSALS = 100_000
MAX_DETECTIONS = 10_000
MAX_VALUES = {
    "min_size": MAX_SIDE_PX,
    # A very large number is a common way to say "no limit".
    "max_size": 2**31 - 1,
    "mask_pool_size": 512,
    "rpn_pre_nms_top_n_test": 1_000_000,
    "rpn_post_nms_top_n_test": MAX_PROPOSALS,
    "box_detections_per_img": MAX_DETECTIONS,
}
MAX_SAMPLES = 64
MAX_LEVELS, MAX_ANCHORS = 16, 64
MAX_NUMBERS = 2 * MAX_LEVELS * MAX_ANCHORS
MAX_PARTS = 10_000
# Range of anchors and weights; outside it float32 is not precise enough.
VALUE_RANGE = (1e-6, 1e6)
THRESHOLDS = ("rpn_nms_thresh", "rpn_score_thresh", "box_score_thresh", "box_nms_thresh")


class Origin(str, Enum):
    """Where the value of a setting comes from."""

    OPTION = "option"
    CHECKPOINT = "checkpoint"
    FACTORY = "factory"
    ASSUMED = "assumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Settings by the names of the arguments of torchvision's `MaskRCNN`, with torchvision's defaults.

    Attributes:
        min_size: Length to which torchvision resizes the shorter side of an image, in pixels.
        max_size: Limit of the longer side, in pixels.
        input_size_hw: Height and width of the training input in pixels, for checkpoints that give these
            instead of `min_size` and `max_size`.
        image_mean: Mean that is subtracted from RGB values in `[0, 1]`; one value for a grayscale model.
        image_std: Standard deviation by which values are divided after the mean is subtracted.
        anchor_sizes: Anchor sizes of each pyramid level, in pixels.
        anchor_aspect_ratios: Ratios of height to width of the anchors of each pyramid level.
        box_sampling_ratio: RoIAlign samples along each side of a bin for the box head; adaptive if 0 or
            less.
        mask_sampling_ratio: The same for the mask head.
        mask_pool_size: Side of the square crop that the mask head takes, in feature pixels.
        batch_norm_eps: `eps` by prefix of the module name; the longest matching prefix applies, and ""
            matches all modules.
        bbox_reg_weights: Factors by which the box head's offsets were multiplied in training.
        rpn_pre_nms_top_n_test: Most proposals per level before NMS.
        rpn_post_nms_top_n_test: Most proposals per image after NMS.
    """

    min_size: int = 800
    max_size: int = 1333
    input_size_hw: tuple[int, int] | None = None
    image_mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    image_std: tuple[float, ...] = (0.229, 0.224, 0.225)
    anchor_sizes: tuple[tuple[float, ...], ...] = ((32,), (64,), (128,), (256,), (512,))
    anchor_aspect_ratios: tuple[tuple[float, ...], ...] = ((0.5, 1.0, 2.0),) * 5
    box_sampling_ratio: int = 2
    mask_sampling_ratio: int = 2
    mask_pool_size: int = 14
    batch_norm_eps: dict[str, float] = field(default_factory=lambda: {"": NORM_EPS})
    bbox_reg_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    rpn_pre_nms_top_n_test: int = 1000
    rpn_post_nms_top_n_test: int = 1000
    rpn_nms_thresh: float = 0.7
    rpn_score_thresh: float = 0.0
    box_score_thresh: float = 0.05
    box_nms_thresh: float = 0.5
    box_detections_per_img: int = 100

    def __post_init__(self) -> None:
        for name, most in MAX_VALUES.items():
            _require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
            _require(getattr(self, name) <= most, name, f"at most {most}", getattr(self, name))
        for name in THRESHOLDS:
            _require(0 <= getattr(self, name) <= 1, name, "within 0 and 1", getattr(self, name))
        for name in ("box_sampling_ratio", "mask_sampling_ratio"):
            _require(getattr(self, name) <= MAX_SAMPLES, name, f"at most {MAX_SAMPLES}", getattr(self, name))
        size = self.input_size_hw
        _require(size is None or min(size) >= 1, "input_size_hw", "two positive numbers", size)
        _require(size is None or max(size) <= MAX_SIDE_PX, "input_size_hw", f"at most {MAX_SIDE_PX}", size)
        for name in ("image_mean", "image_std"):
            values = getattr(self, name)
            is_valid = len(values) in (1, 3) and all(map(math.isfinite, values))
            _require(is_valid, name, "three numbers (RGB) or one (gray)", values)
        _require(min(self.image_std) > 0, "image_std", "positive", self.image_std)
        self._check_boxes()
        eps = self.batch_norm_eps
        _require(len(eps) <= MAX_PARTS, "batch_norm_eps", f"of at most {MAX_PARTS} parts", len(eps))
        _require(all(0 <= x <= 1 for x in eps.values()), "batch_norm_eps", "0 or a little more", eps)

    def _check_boxes(self) -> None:
        least, most = VALUE_RANGE
        for name in ("anchor_sizes", "anchor_aspect_ratios", "bbox_reg_weights"):
            values = getattr(self, name)
            rows = [row if isinstance(row, tuple) else (row,) for row in values]
            is_small = len(rows) <= MAX_LEVELS and all(len(row) <= MAX_ANCHORS for row in rows)
            _require(is_small, name, f"at most {MAX_LEVELS} rows of {MAX_ANCHORS} numbers", values)
            flat = [number for row in rows for number in row]
            is_valid = bool(flat) and all(math.isfinite(number) and number > 0 for number in flat)
            _require(is_valid, name, "positive numbers", values)
            _require(all(least <= x <= most for x in flat), name, f"within {least:g} and {most:g}", values)

    @property
    def training_size_hw(self) -> tuple[int, int]:
        """Height and width in pixels, multiples of 32, of an input that fits images at their training scale.

        `min_size` and `max_size` give no orientation, so landscape is assumed.
        """
        short = min(self.min_size, self.max_size)
        height, width = self.input_size_hw or (short, min(self.max_size, MAX_WIDTH_TO_HEIGHT * short))
        return _round_up(height), _round_up(width)

    def eps_of(self, module: str) -> float:
        """Look up `eps` of a batch norm by its name, such as `backbone.body.bn1`."""
        fits = [part for part in self.batch_norm_eps if f"{module}.".startswith(f"{part}." if part else "")]
        return self.batch_norm_eps[max(fits, key=len)] if fits else NORM_EPS


SETTING_NAMES = tuple(item.name for item in dataclasses.fields(ModelSettings))


def resolve_settings(
    layers: Sequence[tuple[Origin, Mapping[str, Any]]],
) -> tuple[ModelSettings, dict[str, Origin]]:
    """Take each setting from the first layer that has it, and torchvision's defaults for the rest.

    Args:
        layers: Settings by name with their origin, highest priority first.

    Returns:
        The settings, and the origin of each by its name.

    Raises:
        ConfigError: A value is not valid.
    """
    values: dict[str, Any] = {}
    origins = dict.fromkeys(SETTING_NAMES, Origin.ASSUMED)
    for origin, layer in layers:
        for name in layer.keys() - values.keys():
            values[name], origins[name] = layer[name], origin
    return ModelSettings(**values), origins


def settings_from_json(data: object, *, source: str) -> dict[str, Any]:
    """Read some or all settings from parsed JSON.

    Args:
        data: An object whose keys are fields of `ModelSettings`. Short forms are accepted as in torchvision:
            one anchor size per level, one list of ratios for all levels, one `batch_norm_eps` for all.
        source: Where the data came from, for messages.

    Returns:
        The settings that `data` contains, by name.

    Raises:
        ArtifactError: The data is not an object, has an unknown key, or a value that is not valid.
    """
    if not isinstance(data, dict):
        msg = f"{source}: settings must be a JSON object, got {type(data).__name__}"
        raise ArtifactError(msg)
    if unknown := sorted(set(map(str, data)) - set(SETTING_NAMES)):
        msg = (
            f"{source}: there is no setting {short_repr(unknown[0])}; settings are {', '.join(SETTING_NAMES)}"
        )
        raise ArtifactError(msg)
    for name, value in data.items():
        _check_length(value, f"{source}: {name}")
    plain = {name: _full_form(name, value, data) for name, value in data.items()}
    record = record_from_json(ModelSettings, plain, source=source)
    return {name: getattr(record, name) for name in data}


def _full_form(name: str, value: Any, data: Mapping[str, Any]) -> Any:
    if isinstance(value, tuple):
        value = [list(item) if isinstance(item, tuple) else item for item in value]
    if name == "batch_norm_eps" and isinstance(value, int | float):
        return {"": value}
    if name == "min_size" and isinstance(value, list) and value:
        # torchvision takes several sizes for training, and the last of them in evaluation.
        return value[-1]
    flat = isinstance(value, list) and not any(isinstance(item, list) for item in value)
    if name == "anchor_sizes" and flat:
        return [[size] for size in value]
    if name == "anchor_aspect_ratios" and flat:
        sizes = data.get("anchor_sizes")
        return [value] * len(
            sizes if isinstance(sizes, list | tuple) and sizes else ModelSettings().anchor_sizes
        )
    return value


def _check_length(value: Any, source: str) -> None:
    """Refuse long lists before copying; in a pickle, a list can contain another list a million times."""
    if isinstance(value, list | tuple):
        rows = [item for item in value[: MAX_NUMBERS + 1] if isinstance(item, list | tuple)]
        if len(value) + sum(map(len, rows)) > MAX_NUMBERS:
            msg = f"{source}: at most {MAX_NUMBERS} numbers expected, got more"
            raise ArtifactError(msg)


def _require(is_valid: bool, name: str, what: str, actual: object) -> None:
    if not is_valid:
        msg = f"{name} must be {what}, got {short_repr(actual)}"
        raise ConfigError(msg)


def _round_up(side: int) -> int:
    return -(-side // SIZE_MULTIPLE) * SIZE_MULTIPLE
