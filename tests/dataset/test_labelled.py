from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pytest
from PIL import Image

from edgeseg.dataset.annotations import read_annotations
from edgeseg.dataset.labelled import LabelledImages, labelled_images
from edgeseg.errors import ConfigError, InputError
from tests.vision.found import NAMES, make_detections

from .labels import category, coco, image, square, write

if TYPE_CHECKING:
    from pathlib import Path


def picture(path: Path, size_hw: tuple[int, int] = (64, 96)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*size_hw, 3), np.uint8)).save(path)
    return path


class Label(Protocol):
    """Matches annotations of given images with the photographs."""

    def __call__(self, *images: dict[str, Any], **changes: Any) -> LabelledImages: ...


@pytest.fixture
def label(tmp_path: Path) -> Label:
    """Match annotations of given images with `photos`; each image has one square."""
    (tmp_path / "photos").mkdir()

    def match(*images: dict[str, Any], **changes: Any) -> LabelledImages:
        content = coco(images=images, annotations=[square(item["id"]) for item in images])
        annotations = read_annotations(write(tmp_path / "a.json", content))
        return labelled_images(annotations, tmp_path / "photos", NAMES, **changes)

    return match


def test_by_file_name_and_by_its_last_part(label: Label, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    exact = picture(photos / "one" / "a.png")
    picture(photos / "two" / "a.png")
    below = picture(photos / "two" / "b.png")
    windows = picture(photos / "c.png")
    found = label(image(5, "one/a.png"), image(3, "/data/train/b.png"), image(8, "D:\\images\\c.png"))

    assert found.paths == {3: below, 5: exact, 8: windows}
    assert list(found.paths) == [3, 5, 8]
    assert found.skipped == ()


def test_missing_and_broken_images_are_named_and_their_instances_left_out(
    label: Label, tmp_path: Path
) -> None:
    for number in (1, 2, 4):
        picture(tmp_path / "photos" / f"{number}.png")
    broken = tmp_path / "photos" / "2.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    lines: list[str] = []
    found = label(image(1), image(2), image(3), image(4), progress=lines.append)

    assert list(found.paths) == [1, 4]
    assert [item.name for item in found.skipped] == ["3.png", "2.png"]
    assert found.skipped[0].reason == "annotated, and not in the folder"
    assert "2.png" in found.skipped[1].reason
    assert {item["image_id"] for item in found.truth["annotations"]} == {1, 4}
    assert lines == [f"trying image {number} of 3" for number in (1, 2, 3)]


def test_the_first_by_id(label: Label, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        picture(tmp_path / "photos" / f"{number}.png")

    assert list(label(image(3), image(1), image(2), max_images=2).paths) == [1, 2]
    assert list(label(image(1), max_images=9).paths) == [1]
    with pytest.raises(ConfigError, match="max_images must be at least 1, got 0"):
        label(image(1), max_images=0)


def test_results_have_the_annotations_category_ids(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    content = coco(annotations=[square(category_id=7)], categories=[category(7, "nut")])
    annotations = read_annotations(write(tmp_path / "a.json", content))
    found = labelled_images(annotations, tmp_path, NAMES)

    # Labels 1, 2, 1: only 2 is a nut.
    results = found.results(make_detections(3), 1)
    assert [(item["category_id"], item["image_id"]) for item in results] == [(7, 1)]
    assert found.remark.startswith("not scored")


def test_instances_of_the_background_count_for_nothing(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    content = coco(
        annotations=[square(category_id=0), square(category_id=7, left=40)],
        categories=[category(0, "_background_"), category(7, "nut")],
    )
    found = labelled_images(read_annotations(write(tmp_path / "a.json", content)), tmp_path, NAMES)

    assert [item["category_id"] for item in found.truth["annotations"]] == [7]
    assert "it is the background: '_background_' (id 0)" in found.remark


def test_images_of_another_data_set(label: Label, tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "other.png")
    words = (
        r"annotations do not match the images: .*a\.json describes 4 \(1\.png, 2\.png, 3\.png, \.\.\.\), "
        "and none of these names is among the 1 images in .*photos; name their folder with --images"
    )
    with pytest.raises(InputError, match=words):
        label(*(image(number) for number in (1, 2, 3, 4)))


def test_a_folder_that_is_empty_or_missing(label: Label, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="among the 0 images in"):
        label(image(1))
    (tmp_path / "photos").rmdir()
    with pytest.raises(InputError, match=r"no folder at .*photos"):
        label(image(1))


def test_no_image_that_can_be_read(label: Label, tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / "photos" / f"{number}.png").write_text("hello")

    with pytest.raises(InputError, match=r"none of the 2 images can be read; the first: .*1\.png is not an"):
        label(image(1), image(2))


@pytest.mark.parametrize(
    ("size_hw", "words"),
    [
        ((64, 64), r"is 64x64 \(height x width\), and .* has it as 64x96"),
        ((96, 64), "is 96x64 .*turned by its EXIF orientation"),
    ],
)
def test_an_image_of_another_size(label: Label, tmp_path: Path, size_hw: tuple[int, int], words: str) -> None:
    picture(tmp_path / "photos" / "1.png")
    picture(tmp_path / "photos" / "2.png", size_hw)

    with pytest.raises(InputError, match=f"do not match the images: .*2.png {words}"):
        label(image(1), image(2))


def test_a_name_that_is_there_twice(label: Label, tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "x" / "1.png")
    picture(tmp_path / "photos" / "y" / "1.png")
    with pytest.raises(InputError, match=r"1\.png is annotated, and .* has 2 images of that name"):
        label(image(1))


def test_two_annotated_images_that_are_one_file(label: Label, tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "1.png")
    with pytest.raises(InputError, match=r"images 1 and 2 are both .*1\.png"):
        label(image(1, "x/1.png"), image(2, "y/1.png"))


def test_what_is_taken_for_granted_is_told(label: Label, tmp_path: Path) -> None:
    deep = np.full((64, 96), 4000, np.uint16)
    Image.fromarray(deep).save(tmp_path / "photos" / "1.png")

    guessed, given = label(image(1)), label(image(1), bit_depth=14)

    assert (guessed.bit_depth, given.bit_depth) == (None, 14)
    assert "1.png is read as an image of 12 bits" in guessed.notes[0]
    assert given.notes == ()


def test_an_image_that_the_bit_depth_does_not_hold_is_skipped(label: Label, tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "1.png")
    Image.fromarray(np.full((64, 96), 4000, np.uint16)).save(tmp_path / "photos" / "2.png")

    (skipped,) = label(image(1), image(2), bit_depth=10).skipped

    assert "2.png has samples of up to 4000, and a bit depth of 10 ends at 1023" in skipped.reason
