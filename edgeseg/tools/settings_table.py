"""What a model computes with and who said so, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeseg.settings import Origin

from .console import print_note, print_table

if TYPE_CHECKING:
    from edgeseg.settings import ModelSettings
    from edgeseg.spec import ModelSpec

COLUMNS = ("", "setting", "said by", "to say another")
ASSUMED_TITLE = (
    "Assumed, as neither the checkpoint nor an option says it. It must be as in training: a wrong value "
    "gives wrong results, and the comparison with PyTorch cannot see it"
)
SAVE_HINT = (
    "to have nothing assumed, save the model with `edgeseg.save_checkpoint(model, 'model.pth')` where it is "
    "trained; docs/checkpoints.md tells what each setting is"
)
# Settings that belong together; in a file for --settings each stands by its own name.
GROUPS = {
    "input size": ("input_size_hw", "min_size", "max_size"),
    "normalisation": ("image_mean", "image_std"),
    "anchors": ("anchor_sizes", "anchor_aspect_ratios"),
    "eps of the batch norms": ("batch_norm_eps",),
    "side of mask crops": ("mask_pool_size",),
    "samples of a crop": ("box_sampling_ratio", "mask_sampling_ratio"),
    "weights of box offsets": ("bbox_reg_weights",),
    "proposals": (
        "rpn_pre_nms_top_n_test",
        "rpn_post_nms_top_n_test",
        "rpn_nms_thresh",
        "rpn_score_thresh",
    ),
    "detections": ("box_score_thresh", "box_nms_thresh", "box_detections_per_img"),
}
SIZE = "input size"
OPTION_BY_GROUP = {
    SIZE: "--size",
    "proposals": "--settings, --proposals",
    "detections": "--settings, --score-threshold, --nms-threshold, --detections",
}
# torchvision's COCO weights, and what was fine-tuned from them, are of an eps of 0.
COCO_ARCHITECTURE = "maskrcnn_resnet50_fpn"


def print_settings(spec: ModelSpec, *, all_of_them: bool) -> None:
    """Print the settings with who said each: all, or those that were assumed and how to say them.

    A bundle of an older version has none, and nothing is printed.
    """
    if spec.settings is None:
        return
    rows = [
        (
            group,
            _value(spec, group, names),
            _origin_text(spec, group, names),
            OPTION_BY_GROUP.get(group, "--settings"),
        )
        for group, names in GROUPS.items()
        if all_of_them or Origin.ASSUMED in _origins(spec, group, names)
    ]
    if rows:
        print_table("Settings that tensors do not show" if all_of_them else ASSUMED_TITLE, COLUMNS, rows)
    if any(Origin.ASSUMED in _origins(spec, group, names) for group, names in GROUPS.items()):
        print_note(SAVE_HINT)


def _origins(spec: ModelSpec, group: str, names: tuple[str, ...]) -> set[Origin]:
    origins = {name: spec.origins.get(name, Origin.ASSUMED) for name in names}
    if group != SIZE:
        return set(origins.values())
    # One of them is enough; an input size that was given wins.
    stated = [origin for origin in origins.values() if origin is not Origin.ASSUMED]
    return {stated[0] if stated else Origin.ASSUMED}


def _origin_text(spec: ModelSpec, group: str, names: tuple[str, ...]) -> str:
    return ", ".join(sorted(origin.value for origin in _origins(spec, group, names)))


def _value(spec: ModelSpec, group: str, names: tuple[str, ...]) -> str:
    settings: ModelSettings | None = spec.settings
    if group == SIZE:
        height, width = spec.input_size_hw
        given = spec.origins.get("input_size_hw", Origin.ASSUMED) is not Origin.ASSUMED
        resize = (
            "" if given or not settings else f", min_size {settings.min_size}, max_size {settings.max_size}"
        )
        return f"{height} x {width}{resize}"
    text = ", ".join(f"{name} {_text(getattr(settings, name))}" for name in names)
    if names == ("batch_norm_eps",) and spec.architecture == COCO_ARCHITECTURE and not text.endswith(" 0"):
        return f'{text} (0 if it was trained from weights="DEFAULT" or "COCO_V1")'
    return text


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{part} {number:g}".strip() for part, number in value.items())
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        rows = list(dict.fromkeys(map(_text, value)))
        return " | ".join(rows)
    if isinstance(value, tuple):
        return " ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
