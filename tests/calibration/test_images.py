from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edgeseg.calibration.images import (
    CalibrationConfig,
    CalibrationImage,
    choose_images,
    images_sha256,
    read_calibration_image,
)
from edgeseg.errors import CalibrationError, ConfigError
from edgeseg.vision.images.reader import read_image
from tests.data import shared

from .pictures import write_flat, write_pictures

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "val", 20)


def names(config: CalibrationConfig) -> list[str]:
    return [image.name for image in choose_images(config)]


def test_the_seed_decides(folder: Path) -> None:
    config = CalibrationConfig(folder=folder, images=12)
    assert names(config) == names(config)
    other = names(CalibrationConfig(folder=folder, images=12, seed=1))
    assert set(other) != set(names(config))
    assert len(set(other)) == 12


def test_images_in_folders_below_are_taken(folder: Path) -> None:
    write_pictures(folder / "night" / "rain", 25)
    (folder / "night" / "rain" / "20.png").rename(folder / "night" / "x.png")
    found = names(CalibrationConfig(folder=folder, images=25))
    assert "night/x.png" in found
    assert any(name.startswith("night/rain/") for name in found)


@pytest.mark.parametrize("images", [-1, 0, 1, 9])
def test_one_image_or_a_handful_is_refused(folder: Path, images: int) -> None:
    with pytest.raises(ConfigError, match=f"at least 10 images, got {images}: .* clip"):
        CalibrationConfig(folder=folder, images=images)


def test_a_hundred_copies_of_one_image_are_one_image(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path, 1)
    for number in range(20):
        shutil.copy(folder / "00.png", folder / f"copy_{number}.png")
    notes: list[str] = []
    with pytest.raises(
        CalibrationError, match=r"needs at least 10 images, found 1 in .* \(20 skipped\); add images"
    ):
        choose_images(CalibrationConfig(folder=folder, images=20), note=notes.append)
    assert len(notes) == 20
    assert "the same as" in notes[0]


def test_negative_seed(folder: Path) -> None:
    with pytest.raises(ConfigError, match="seed must be 0 or more, got -1"):
        CalibrationConfig(folder=folder, seed=-1)


def test_a_bad_image_is_named_and_replaced(folder: Path) -> None:
    (folder / "03.png").write_bytes((folder / "03.png").read_bytes()[:200])
    (folder / "04.png").write_text("not an image")
    write_flat(folder / "05.png", 77)
    notes: list[str] = []
    chosen = choose_images(CalibrationConfig(folder=folder, images=17), note=notes.append)
    assert len(chosen) == 17
    assert not {"03.png", "04.png", "05.png"} & {image.name for image in chosen}
    told = "\n".join(sorted(notes))
    assert len(notes) == 3
    assert "04.png is not an image" in told
    assert "05.png: it is of one flat colour" in told


def test_fewer_than_asked_for_says_how_to_accept(folder: Path) -> None:
    with pytest.raises(CalibrationError) as error:
        choose_images(CalibrationConfig(folder=folder, images=100))
    assert str(error.value) == (
        f"calibration needs 100 images, found 20 in {folder}; pass --images 20 to accept"
    )
    write_flat(folder / "flat.png", 3)
    with pytest.raises(CalibrationError, match=r"found 20 in .* \(1 skipped\); pass --images 20"):
        choose_images(CalibrationConfig(folder=folder, images=21))
    assert len(choose_images(CalibrationConfig(folder=folder, images=20))) == 20


def test_where_no_number_is_asked_for_all_are_taken_with_a_note(folder: Path) -> None:
    notes: list[str] = []
    chosen = choose_images(CalibrationConfig(folder=folder), note=notes.append)
    assert len({image.name for image in chosen}) == 20
    assert len(notes) == 1
    assert notes[0].startswith(f"calibrating on all 20 usable images in {folder}; 100 of different scenes")
    write_flat(folder / "flat.png", 3)
    assert set(choose_images(CalibrationConfig(folder=folder))) == set(chosen)


@pytest.mark.parametrize("max_images", [12, 20])
def test_enough_are_taken_without_a_note(folder: Path, max_images: int) -> None:
    notes: list[str] = []
    chosen = choose_images(CalibrationConfig(folder=folder, max_images=max_images), note=notes.append)
    assert (chosen, notes) == (choose_images(CalibrationConfig(folder=folder, images=max_images)), [])


@pytest.mark.parametrize("images", [None, 12])
def test_nine_are_refused_and_ten_are_not(tmp_path: Path, images: int | None) -> None:
    folder = write_pictures(tmp_path, 9)
    config = CalibrationConfig(folder=folder, images=images)
    with pytest.raises(CalibrationError, match=r"needs at least 10 images, found 9 in .*; add images like"):
        choose_images(config)
    write_pictures(folder / "more", 10)
    assert len(choose_images(CalibrationConfig(folder=folder / "more"))) == 10


def test_only_flat_images(tmp_path: Path) -> None:
    for level in range(15):
        write_flat(tmp_path / f"{level}.png", level * 10)
    with pytest.raises(CalibrationError, match=r"all 15 images in .* one flat colour"):
        choose_images(CalibrationConfig(folder=tmp_path, images=10))


@pytest.mark.parametrize(("make", "reason"), [("missing", "is not there"), ("file", "is a file")])
def test_no_folder(tmp_path: Path, make: str, reason: str) -> None:
    path = tmp_path / "val"
    if make == "file":
        path.write_text("x")
    with pytest.raises(CalibrationError, match=f"needs a folder of images, and .*val {reason}"):
        choose_images(CalibrationConfig(folder=path))


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(CalibrationError, match="found none in"):
        choose_images(CalibrationConfig(folder=tmp_path))


def test_nothing_readable(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("x")
    with pytest.raises(
        CalibrationError, match=r"at least 10 images, found 0 in .* \(1 skipped\); add images"
    ):
        choose_images(CalibrationConfig(folder=tmp_path))


def test_progress(folder: Path) -> None:
    lines: list[str] = []
    choose_images(CalibrationConfig(folder=folder, images=10), progress=lines.append)
    assert (lines[0], lines[-1]) == ("choosing images: 1 of 10", "choosing images: 10 of 10")


def test_odd_images(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    # Without the one that takes seconds to decode.
    shutil.copytree(shared("data", "odd_images"), folder, ignore=shutil.ignore_patterns("huge_*"))
    notes: list[str] = []
    with pytest.raises(
        CalibrationError, match=r"needs 1000 images, found (\d+) in .* \((\d+) skipped\); pass"
    ):
        choose_images(CalibrationConfig(folder=folder, images=1000), note=notes.append)
    assert len(notes) > 10
    assert any("is corrupt" in line or "cannot read" in line for line in notes)
    for image in choose_images(CalibrationConfig(folder=folder, images=30)):
        assert np.ptp(read_calibration_image(folder, image)) > 0


def test_the_hash_covers_names_and_contents_and_no_order() -> None:
    images = [
        CalibrationImage(name=name, sha256=content, size_hw=(1, 1))
        for name, content in (("a", "1"), ("b", "2"))
    ]
    assert images_sha256(images) == images_sha256(images[::-1])
    others = [
        [images[0]],
        [images[0], CalibrationImage(name="b", sha256="3", size_hw=(1, 1))],
        [images[0], CalibrationImage(name="c", sha256="2", size_hw=(1, 1))],
        [
            CalibrationImage(name="a", sha256="2", size_hw=(1, 1)),
            CalibrationImage(name="b", sha256="1", size_hw=(1, 1)),
        ],
    ]
    assert images_sha256(images) not in {images_sha256(other) for other in others}


def test_an_image_that_changes_while_calibrating(folder: Path) -> None:
    first, second, *_ = choose_images(CalibrationConfig(folder=folder, images=10))
    assert np.array_equal(read_calibration_image(folder, first), read_image(folder / first.name))
    shutil.copy(folder / second.name, folder / first.name)
    with pytest.raises(CalibrationError, match=f"{first.name} was altered"):
        read_calibration_image(folder, first)
    (folder / first.name).unlink()
    with pytest.raises(CalibrationError, match=f"{first.name} could be read when calibration began"):
        read_calibration_image(folder, first)


def deepen(folder: Path, bits: int) -> None:
    """Turn the images into those of a camera of so many bits, in 16."""
    for path in sorted(folder.iterdir()):
        cv2.imwrite(str(path), read_image(path).astype(np.uint16) << (bits - 8))


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_images_of_a_camera_are_read_as_those_of_8_bits(folder: Path, bits: int) -> None:
    config = CalibrationConfig(folder=folder, images=20)
    frames = {path.name: read_image(path) for path in folder.iterdir()}
    deepen(folder, bits)
    notes: list[str] = []

    for image in choose_images(config, note=notes.append):
        assert np.array_equal(read_calibration_image(folder, image), frames[image.name])
        assert np.array_equal(read_calibration_image(folder, image, bit_depth=bits), frames[image.name])
    assert len(notes) == 1
    assert f"is read as an image of {bits} bits" in notes[0]


def test_a_bit_depth_that_is_given_is_not_guessed(folder: Path) -> None:
    deepen(folder, 12)
    notes: list[str] = []

    choose_images(CalibrationConfig(folder=folder, images=20, bit_depth=14), note=notes.append)

    assert notes == []


def test_a_bit_depth_that_no_camera_has(folder: Path) -> None:
    with pytest.raises(ConfigError, match="bit_depth must be within 8 and 16, got 4"):
        CalibrationConfig(folder=folder, bit_depth=4)
