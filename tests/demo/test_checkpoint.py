"""The shipped checkpoint: small, half precision, described, and good on scenes it has not seen."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from edgeseg.demo import checkpoint_path
from edgeseg.demo.conveyor import PART_NAMES
from edgeseg.demo.score import unseen_frames

CHECKPOINT = checkpoint_path()
TRAINING = Path(__file__).parents[2] / "scripts" / "demo_model"


def read_header() -> dict[str, Any]:
    with CHECKPOINT.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    return header


def test_is_small() -> None:
    assert CHECKPOINT.stat().st_size <= 20 * 2**20


def test_is_half_precision() -> None:
    kinds = {entry["dtype"] for name, entry in read_header().items() if name != "__metadata__"}
    assert kinds == {"F16"}


def test_says_what_it_is() -> None:
    facts = read_header()["__metadata__"]
    assert json.loads(facts["class_names"]) == ["__background__", *PART_NAMES]
    assert json.loads(facts["input_size_hw"]) == [384, 512]
    assert json.loads(facts["scores"])["mask_ap50"] > 0.8


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Any:
    torch_files = pytest.importorskip("safetensors.torch", reason="needs the `export` extra")
    monkeypatch.syspath_prepend(TRAINING)
    model = import_module("conveyor_model").build_model(len(PART_NAMES) + 1)
    state = {name: value.float() for name, value in torch_files.load_file(CHECKPOINT).items()}
    model.load_state_dict(state)
    return model.eval()


def test_fits_the_architecture(trained: Any) -> None:
    assert trained.roi_heads.box_predictor.cls_score.out_features == len(PART_NAMES) + 1


@pytest.mark.slow
def test_finds_parts_in_unseen_scenes(trained: Any) -> None:
    score = import_module("conveyor_score")
    scores = score.score_model(trained, unseen_frames(20))
    assert scores["mask_ap50"] >= 0.8
    assert scores["box_ap50"] >= 0.8
