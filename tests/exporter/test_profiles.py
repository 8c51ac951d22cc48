"""What a profile stands for, and what wins over it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgeseg.errors import ConfigError
from edgeseg.exporter.config import ExportConfig, detection_limits
from edgeseg.exporter.profiles import PROFILES, Profile, scaled_size
from edgeseg.exporter.variant import VariantWriter
from edgeseg.settings import ModelSettings
from edgeseg.spec import Lowering
from tests.models import build

if TYPE_CHECKING:
    from torchvision.models.detection import MaskRCNN

FULL_HW = ModelSettings().training_size_hw


def config(**changes: Any) -> ExportConfig:
    return ExportConfig(checkpoint=Path("model.pth"), **changes)


@pytest.fixture(scope="module")
def model() -> MaskRCNN:
    return build("resnet18", 3)


def test_the_default_is_torchvisions_own(model: MaskRCNN) -> None:
    limits = detection_limits(model, config())

    assert config().profile is Profile.ACCURATE
    assert config().size_hw(FULL_HW) == FULL_HW == (800, 1344)
    assert (limits.max_proposals, limits.max_detections) == (1000, 100)


def test_each_profile_does_less_than_the_next(model: MaskRCNN) -> None:
    fast, balanced, accurate = (config(profile=profile) for profile in Profile)
    work = [
        (item.size_hw(FULL_HW), detection_limits(model, item).max_proposals)
        for item in (fast, balanced, accurate)
    ]

    assert list(Profile) == list(PROFILES)
    assert work[0] < work[1] < work[2]
    assert work[2] == ((800, 1344), 1000)


@pytest.mark.parametrize("profile", list(Profile))
def test_sizes_are_multiples_of_32_and_keep_their_shape(profile: Profile) -> None:
    height, width = config(profile=profile).size_hw(FULL_HW)

    assert (height % 32, width % 32) == (0, 0)
    assert width / height == pytest.approx(1344 / 800, rel=0.06)


def test_what_is_given_wins_over_the_profile(model: MaskRCNN) -> None:
    asked = config(profile=Profile.FAST, sizes_hw=((96, 128),), max_proposals=700, max_detections=90)
    limits = detection_limits(model, asked)

    assert asked.size_hw(FULL_HW) == (96, 128)
    assert (limits.max_proposals, limits.max_detections) == (700, 90)


def test_the_rest_of_the_profile_stays_where_one_thing_is_given(model: MaskRCNN) -> None:
    asked = config(profile=Profile.FAST, max_detections=90)
    limits = detection_limits(model, asked)

    assert limits.max_proposals == PROFILES[Profile.FAST].max_proposals
    assert asked.size_hw(FULL_HW) == scaled_size(FULL_HW, PROFILES[Profile.FAST].size_share)


def test_a_profile_does_not_raise_what_the_model_has() -> None:
    small = build("resnet18", 3)
    small.rpn._post_nms_top_n["testing"] = 60
    small.roi_heads.detections_per_img = 20

    limits = detection_limits(small, config(profile=Profile.FAST))

    assert (limits.max_proposals, limits.max_detections) == (60, 20)


@pytest.mark.parametrize(
    ("size_hw", "share", "expected"),
    [
        ((800, 1344), 1.0, (800, 1344)),
        ((800, 1344), 0.5, (416, 672)),
        ((512, 640), 0.8, (416, 512)),
        ((512, 640), 0.65, (320, 416)),
        ((512, 640), 0.5, (256, 320)),
        ((32, 64), 0.1, (32, 32)),
    ],
)
def test_scaled_size(size_hw: tuple[int, int], share: float, expected: tuple[int, int]) -> None:
    assert scaled_size(size_hw, share) == expected


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan")])
def test_a_share_must_be_above_0(share: float) -> None:
    with pytest.raises(ConfigError, match="above 0, got"):
        scaled_size((800, 1344), share)


def test_drafts_of_one_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    drafts = VariantWriter(ExportConfig(checkpoint=checkpoint, max_detections=7))

    first = drafts.write(tmp_path / "a", (64, 96), 20)

    assert list(first.files) == [Lowering.PORTABLE.file_name]
    assert (first.spec.input_size_hw, first.spec.max_proposals) == ((64, 96), 20)
    assert first.spec.max_detections == 7
    assert first.spec.parity is None
    # What the first was given, the second does not inherit.
    assert drafts.model_limits.max_proposals == 1000
    assert drafts.spec((96, 96), 1000).max_proposals == 1000


def test_a_draft_at_a_size_that_cannot_be(checkpoint: Path, tmp_path: Path) -> None:
    drafts = VariantWriter(ExportConfig(checkpoint=checkpoint))

    with pytest.raises(ConfigError, match="multiples of 32, got 100 96"):
        drafts.write(tmp_path / "a", (100, 96), 20)
    assert not (tmp_path / "a").exists()
