"""Settings: who said each, JSON, and the input size that they stand for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgeseg.errors import ArtifactError, ConfigError
from edgeseg.records import json_from_record, record_from_json
from edgeseg.settings import SETTING_NAMES, ModelSettings, Origin, resolve_settings, settings_from_json


@pytest.mark.parametrize(
    ("settings", "size_hw"),
    [
        ({}, (800, 1344)),
        ({"min_size": 512, "max_size": 640}, (512, 640)),
        ({"min_size": 600, "max_size": 1000}, (608, 1024)),
        ({"min_size": 800, "max_size": 500}, (512, 512)),
        ({"min_size": 512, "max_size": 100_000}, (512, 1536)),
        ({"input_size_hw": (384, 512), "min_size": 800}, (384, 512)),
        ({"input_size_hw": (500, 300)}, (512, 320)),
    ],
)
def test_input_that_holds_the_scale_of_training(settings: dict[str, Any], size_hw: tuple[int, int]) -> None:
    assert ModelSettings(**settings).training_size_hw == size_hw


def test_the_first_who_says_a_setting_wins() -> None:
    settings, origins = resolve_settings(
        [
            (Origin.OPTION, {"min_size": 1}),
            (Origin.CHECKPOINT, {"min_size": 2, "max_size": 3}),
            (Origin.ASSUMED, {"max_size": 4, "mask_pool_size": 5}),
        ]
    )
    assert (settings.min_size, settings.max_size, settings.mask_pool_size) == (1, 3, 5)
    assert (origins["min_size"], origins["max_size"]) == (Origin.OPTION, Origin.CHECKPOINT)
    assert set(origins) == set(SETTING_NAMES)
    assert {origins[name] for name in SETTING_NAMES if name not in ("min_size", "max_size")} == {
        Origin.ASSUMED
    }


def test_round_trip_through_json() -> None:
    settings = ModelSettings(batch_norm_eps={"backbone": 0.0}, input_size_hw=(32, 64), image_mean=(0.5,))
    data = json.loads(json.dumps(json_from_record(settings)))
    assert record_from_json(ModelSettings, data, source="x") == settings
    assert ModelSettings(**settings_from_json(data, source="x")) == settings


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"batch_norm_eps": 0}, {"batch_norm_eps": {"": 0.0}}),
        ({"anchor_sizes": [8, 16]}, {"anchor_sizes": ((8.0,), (16.0,))}),
        (
            {"anchor_sizes": [8, 16], "anchor_aspect_ratios": [0.5, 2]},
            {"anchor_sizes": ((8.0,), (16.0,)), "anchor_aspect_ratios": ((0.5, 2.0), (0.5, 2.0))},
        ),
        ({"min_size": [480, 640, 800]}, {"min_size": 800}),
        ({"image_mean": (0.5, 0.5, 0.5)}, {"image_mean": (0.5, 0.5, 0.5)}),
        ({}, {}),
    ],
)
def test_forms_that_torchvision_takes_too(data: dict[str, Any], expected: dict[str, Any]) -> None:
    assert settings_from_json(data, source="settings.json") == expected


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([], "settings must be a JSON object, got list"),
        ({"mean": [0.5]}, "there is no setting 'mean'; settings are min_size, max_size"),
        ({"image_mean": [0.5, 0.5]}, r"image_mean must be three numbers \(RGB\) or one \(gray\)"),
        ({"image_std": [0, 1, 1]}, "image_std must be positive"),
        ({"image_mean": "0.5"}, "image_mean: tuple expected, got str"),
        ({"box_score_thresh": 2}, "box_score_thresh must be within 0 and 1, got 2"),
        ({"mask_pool_size": 0}, "mask_pool_size must be at least 1, got 0"),
        ({"batch_norm_eps": -1}, "batch_norm_eps must be 0 or a little more"),
        ({"anchor_sizes": [[]]}, "anchor_sizes must be positive numbers"),
        ({"anchor_sizes": [[-1]]}, "anchor_sizes must be positive numbers"),
        ({"image_mean": [float("nan")] * 3}, "image_mean must be three numbers"),
    ],
)
def test_what_cannot_work_is_a_sentence(data: Any, sentence: str) -> None:
    with pytest.raises(ArtifactError, match=rf"settings\.json: .*{sentence}"):
        settings_from_json(data, source="settings.json")


def test_the_record_checks_itself() -> None:
    with pytest.raises(ConfigError, match="max_size must be at least 1, got 0"):
        ModelSettings(max_size=0)


def test_eps_of_the_nearest_part_counts() -> None:
    settings = ModelSettings(batch_norm_eps={"": 1e-3, "backbone": 0.0, "backbone.fpn": 1e-4})
    assert settings.eps_of("roi_heads.box_head.0.1") == 1e-3
    assert settings.eps_of("backbone.body.bn1") == 0.0
    assert settings.eps_of("backbone.fpn.inner_blocks.0.1") == 1e-4
    assert settings.eps_of("backbones.bn") == 1e-3
    assert ModelSettings(batch_norm_eps={"rpn": 0.5}).eps_of("backbone.bn") == 1e-5
