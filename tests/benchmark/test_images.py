"""Which images are taken, and what is said of those that are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg.benchmark.config import BenchmarkConfig
from edgeseg.benchmark.images import evenly_spaced, load_images
from edgeseg.errors import ConfigError, InputError
from edgeseg.runtime.choice import EngineChoice
from tests.runtime.fake_bundle import NAMES, SIZE_HW, make_spec

SHIPPED = ("astronaut", "chelsea", "coffee", "rocket")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(1, 11):
        cv2.imwrite(str(tmp_path / f"{number:02}.png"), np.full((40, 60, 3), 10 * number, np.uint8))
    return tmp_path


def test_without_a_folder_the_shipped_photographs_are_taken() -> None:
    pictures = load_images(BenchmarkConfig(), make_spec())

    assert pictures.source == "the four built-in photographs"
    assert pictures.batches.shape == (4, 1, *SIZE_HW, 3)
    assert [image.name for image in pictures.shown] == [
        "astronaut.jpg",
        "chelsea.jpg",
        "coffee.jpg",
        "rocket.jpg",
    ]
    assert pictures.compared == (1, 2, 3, 4)


def test_images_are_taken_from_the_whole_folder(folder: Path) -> None:
    pictures = load_images(BenchmarkConfig(images=folder, frames=2), make_spec())

    assert list(pictures.paths) == list(range(1, 9))
    assert pictures.paths[8].name == "09.png"
    assert [int(batch[0, 0, 0, 0]) for batch in pictures.batches] == [10, 60]
    assert len(pictures.shown) == 4
    assert pictures.shown[0].size_hw == (40, 60)


def test_batches_are_filled_and_frames_are_scaled(folder: Path) -> None:
    config = BenchmarkConfig(images=folder, frames=3, frame_size_hw=(20, 30))
    batches = load_images(config, make_spec(batch=2)).batches

    assert batches.shape == (2, 2, 20, 30, 3)
    assert [int(frame[0, 0, 0]) for frame in batches.reshape(-1, 20, 30, 3)] == [10, 30, 70, 10]


def test_unreadable_images_are_named_and_others_taken(folder: Path) -> None:
    for name in ("01.png", "05.png"):
        (folder / name).write_text("hello")
    pictures = load_images(BenchmarkConfig(images=folder), make_spec())

    assert len(pictures.paths) == 8
    assert {item.name for item in pictures.skipped} == {"01.png", "05.png"}
    assert "is not an image that can be read" in pictures.skipped[0].reason


def test_no_images_at_all(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"found none in .*empty; name another with --images"):
        load_images(BenchmarkConfig(images=tmp_path / "empty"), make_spec())
    with pytest.raises(InputError, match="no folder at absent"):
        load_images(BenchmarkConfig(images=Path("absent")), make_spec())
    for path in folder.glob("*.png"):
        path.write_text("hello")
    with pytest.raises(InputError, match=r"none of the 10 images in .* can be read; the first"):
        load_images(BenchmarkConfig(images=folder), make_spec())


def labels(folder: Path, **changes: Any) -> Path:
    square = {"bbox": [1, 1, 8, 8], "area": 64, "segmentation": [[1, 1, 9, 1, 9, 9, 1, 9]]}
    content = {
        "images": [{"id": 7, "file_name": "07.png", "height": 40, "width": 60}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, **square}],
        "categories": [{"id": number + 2, "name": name} for number, name in enumerate(NAMES) if number],
    }
    path = folder / "labels.json"
    path.write_text(json.dumps({**content, **changes}), "utf-8")
    return path


def test_annotated_images_keep_their_ids(folder: Path) -> None:
    pictures = load_images(BenchmarkConfig(annotations=labels(folder)), make_spec())

    assert (list(pictures.paths), pictures.source) == ([7], str(folder))
    assert pictures.labelled is not None
    assert pictures.labelled.category_ids == {1: 3, 2: 4, 3: 5}
    assert pictures.shown[0].image_id == 7


def test_annotations_of_other_images(folder: Path) -> None:
    other = labels(folder, images=[{"id": 7, "file_name": "x.png", "height": 40, "width": 60}])
    with pytest.raises(InputError, match="the annotations do not match the images"):
        load_images(BenchmarkConfig(annotations=other), make_spec())


@pytest.mark.parametrize(
    ("count", "taken"), [(1, [0]), (2, [0, 5]), (3, [0, 3, 6]), (10, list(range(10))), (99, list(range(10)))]
)
def test_evenly(count: int, taken: list[int]) -> None:
    assert evenly_spaced(list(range(10)), count) == taken


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"turns": 0}, "turns must be at least 1, got 0"),
        ({"boxes": 0}, "boxes must be at least 1"),
        ({"duration_s": -1.0}, "duration_s must be 0 or more"),
        ({"price_per_hour": float("nan")}, "price_per_hour must be 0 or more, got nan"),
        ({"frame_size_hw": (0, 5)}, "frame_size_hw must be two sizes"),
        (
            {"engine": EngineChoice(backend="openvino")},
            "engine.backend must be auto, got openvino: name the engines in rows",
        ),
    ],
)
def test_settings_that_cannot_work(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        BenchmarkConfig(**changes)
