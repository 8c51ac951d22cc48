from __future__ import annotations

from typing import Any

import pytest

from edgeseg.errors import ArtifactError, ConfigError
from edgeseg.records import json_from_record, record_from_json
from edgeseg.spec import BACKGROUND, Lowering, ModelSpec, ParityReport, ParityRow, Preprocess

FACTS: dict[str, Any] = {
    "class_names": (BACKGROUND, "bolt"),
    "architecture": "maskrcnn_resnet50_fpn",
    "checkpoint": "parts.pth",
    "checkpoint_sha256": "0" * 64,
    "versions": {"torch": "2.11.0"},
}
ROW = ParityRow(
    lowering=Lowering.TENSORRT,
    images=4,
    reference_detections=30,
    matched=30,
    missing=0,
    extra=0,
    unsettled=0,
    max_box_error_px=0.01,
    max_score_error=0.0001,
    min_mask_iou=0.999,
)
REPORT = ParityReport(
    passed=True,
    image_source="built-in",
    most_candidates=200,
    score_threshold=0.05,
    max_box_error_px=0.5,
    max_score_error=0.005,
    min_mask_iou=0.99,
    rows=(ROW,),
)


@pytest.mark.parametrize("parity", [None, REPORT])
def test_round_trip(parity: ParityReport | None) -> None:
    spec = ModelSpec(
        **FACTS, input_size_hw=(480, 640), preprocess=Preprocess(std_rgb=(1, 1, 1)), parity=parity
    )

    assert record_from_json(ModelSpec, json_from_record(spec), source="model.json") == spec


def test_key_of_a_newer_version_is_refused() -> None:
    data = {**json_from_record(ModelSpec(**FACTS)), "precision": "fp4"}

    with pytest.raises(ArtifactError, match=r"unknown key 'precision'.*newer edgeseg"):
        record_from_json(ModelSpec, data, source="model.json")


@pytest.mark.parametrize(
    ("size_hw", "nearest"),
    [
        ((800, 1333), "800 1344"),
        ((33, 32), "32 32"),
        ((0, 32), "32 32"),
        ((-64, 64), "32 64"),
        ((720, 31), "704 32"),
    ],
)
def test_size_that_no_pyramid_fits(size_hw: tuple[int, int], nearest: str) -> None:
    with pytest.raises(
        ConfigError, match=f"multiples of 32, got {size_hw[0]} {size_hw[1]}.*fits is {nearest}"
    ):
        ModelSpec(**FACTS, input_size_hw=size_hw)


@pytest.mark.parametrize("name", ["batch", "max_detections", "max_proposals", "max_candidates", "mask_size"])
@pytest.mark.parametrize("count", [0, -3])
def test_counts_are_positive(name: str, count: int) -> None:
    change: dict[str, Any] = {name: count}
    with pytest.raises(ConfigError, match=f"{name} must be at least 1, got {count}"):
        ModelSpec(**FACTS, **change)


@pytest.mark.parametrize("name", ["score_threshold", "nms_threshold"])
@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_thresholds_are_fractions(name: str, value: float) -> None:
    change: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError, match=f"{name} must be within 0 and 1, got {value}"):
        ModelSpec(**FACTS, **change)


@pytest.mark.parametrize("names", [(), (BACKGROUND,)])
def test_at_least_one_class_beside_the_background(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="at least one class"):
        ModelSpec(**{**FACTS, "class_names": names})


def test_deviation_of_zero_cannot_be_divided_by() -> None:
    with pytest.raises(ConfigError, match="std_rgb must be positive"):
        Preprocess(std_rgb=(0.2, 0.0, 0.2))


def test_padding_is_the_mean_in_bgr() -> None:
    assert Preprocess(mean_rgb=(1.0, 0.5, 0.0)).pad_bgr == (0, 128, 255)


def test_file_names_of_the_graphs() -> None:
    assert [lowering.file_name for lowering in Lowering] == [
        "portable.onnx",
        "tensorrt.onnx",
        "tensorrt-fp16.onnx",
    ]
