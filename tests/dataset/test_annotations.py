from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edgeseg.dataset.annotations import AnnotatedImage, read_annotations
from edgeseg.errors import InputError
from tests.data import shared

from .labels import category, coco, image, square, write

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


def test_what_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.json",
        coco(
            images=[image(7, "sub/x.png"), image(2)],
            annotations=[square(7), square(2, iscrowd=1, segmentation={"size": [64, 96], "counts": [6144]})],
            categories=[category(), category(4, "nut")],
        ),
    )
    read = read_annotations(path)

    assert read.source == str(path)
    assert read.images == (
        AnnotatedImage(image_id=2, file_name="2.png", size_hw=(64, 96)),
        AnnotatedImage(image_id=7, file_name="sub/x.png", size_hw=(64, 96)),
    )
    assert read.categories.names == {1: "bolt", 4: "nut"}
    assert read.categories.used == {1}
    assert [item["iscrowd"] for item in read.instances] == [0, 1]
    assert all(isinstance(item["segmentation"]["counts"], str) for item in read.instances)
    truth = read.truth([7])
    assert [item["id"] for item in truth["images"]] == [7]
    assert [item["image_id"] for item in truth["annotations"]] == [7]
    assert len(truth["categories"]) == 2


def test_a_box_that_is_not_there_is_taken_from_the_mask(tmp_path: Path) -> None:
    bare = {key: value for key, value in square().items() if key not in ("bbox", "iscrowd", "area", "id")}
    (item,) = read_annotations(write(tmp_path / "a.json", coco(annotations=[bare]))).instances

    assert (item["bbox"], item["iscrowd"]) == ([10, 10, 20, 20], 0)


def test_a_byte_order_mark_and_whole_floats_are_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(coco(images=[image(height=64.0)])), encoding="utf-8-sig")

    assert read_annotations(path).images[0].size_hw == (64, 96)


def test_ids_that_a_tool_wrote_as_texts(tmp_path: Path) -> None:
    content = coco(
        images=[image("7", "a.png")],
        annotations=[square(7) | {"image_id": "7", "category_id": "3"}],
        categories=[category("3")],
    )
    read = read_annotations(write(tmp_path / "a.json", content))

    assert (read.images[0].image_id, read.categories.names) == (7, {3: "bolt"})
    assert [(item["image_id"], item["category_id"]) for item in read.instances] == [(7, 3)]


@pytest.mark.parametrize("name", ["instances_test.json", "instances_train.json"])
def test_real_annotations(name: str) -> None:
    path = shared("data", "nuclei", name)
    raw = json.loads(path.read_text("utf-8"))
    read = read_annotations(path)

    assert (len(read.images), len(read.instances)) == (len(raw["images"]), len(raw["annotations"]))


def test_real_annotations_of_coco() -> None:
    read = read_annotations(shared("data", "coco_subset", "annotations", "instances_val2017.json"))

    assert len(read.categories.names) == 80
    assert len(read.instances) > 20


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no annotations at .*absent\.json"):
        read_annotations(tmp_path / "absent.json")
    with pytest.raises(InputError, match=r"cannot read .*: Is a directory"):
        read_annotations(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"are empty \(0 bytes\); copy the file again"),
        (b" \n", r"are empty \(2 bytes\)"),
        (b"\x89PNG\r\n\x1a\n\xff", "cannot read annotations from .*codec can't decode"),
        (b"<html>", "truncated or not JSON: Expecting value"),
        pytest.param(json.dumps(coco()).encode()[:-40], "truncated or not JSON", id="cut off"),
        pytest.param(b"[" * 100_000, "truncated or not JSON", id="100,000 brackets"),
        (b"3", "must be a COCO object .*, .* holds a int"),
        (b'[{"image_id": 1}]', "holds a list; a list is what COCO results are"),
        (b"{}", "has no images"),
        (b'{"images": [], "annotations": []}', "has no categories"),
        (b'{"images": {}, "annotations": [], "categories": []}', "has no images"),
    ],
)
def test_a_file_of_another_kind(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)

    with pytest.raises(InputError, match=words):
        read_annotations(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": []}, "list of images is empty"),
        ({"annotations": []}, "list of annotations is empty"),
        ({"categories": []}, "list of categories is empty"),
        ({"images": ["1.png"]}, "images must be a list of objects, got '1.png'"),
        ({"images": [{"id": 1}]}, "image 1: height must be a whole number, got None"),
        ({"images": [image("one")]}, "an image: id must be a whole number, got 'one'"),
        ({"images": [image(True)]}, "id must be a whole number, got True"),
        ({"images": [image(width=0)]}, "height and width must be 1 to 100000, got 64 and 0"),
        ({"images": [image(height=64.5)]}, "height must be a whole number, got 64.5"),
        ({"images": [{**image(), "file_name": ""}]}, "file_name must be a text, got ''"),
        ({"images": [image(), image()]}, "ids of images must differ, 1 is there twice"),
        ({"categories": [{"id": 1}]}, "category 1: name must be a text, got None"),
        ({"categories": [category("bolt")]}, "a category: id must be a whole number, got 'bolt'"),
        ({"categories": [category(), category(1, "nut")]}, "must differ, 1 is both 'bolt' and 'nut'"),
        ({"annotations": [square(9)]}, "annotation 910 is of image 9, which the file does not describe"),
        ({"annotations": [square(category_id=3)]}, "annotation 110 is of category 3"),
        ({"annotations": [square(segmentation=None)]}, "annotation 110: it must have a segmentation"),
        ({"annotations": [square(segmentation=[[1, 2, 3, 4]])]}, "annotation 110: a polygon"),
        (
            {"annotations": [square(bbox=[1, 2, 3])]},
            r"bbox must be x, y, width and height in pixels, got \[1",
        ),
        ({"annotations": [square(bbox=[1, 2, -3, 4])]}, "bbox must be"),
        ({"annotations": [square(bbox=[1, 2, 3, float("nan")])]}, "bbox must be"),
        ({"annotations": [square(bbox="1 2 3 4")]}, "bbox must be"),
    ],
    ids=[
        "no image",
        "no annotation",
        "no category",
        "an image that is a text",
        "an image without a size",
        "an image with a word for an id",
        "an image with True for an id",
        "an image without width",
        "a fraction for a height",
        "an empty file name",
        "an image twice",
        "a category without a name",
        "a category with a word for an id",
        "a category twice",
        "an annotation of no image",
        "an annotation of no category",
        "no segmentation",
        "a polygon of two points",
        "a box of three numbers",
        "a box of a negative width",
        "a box that is not a number",
        "a box that is a text",
    ],
)
def test_an_entry_that_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_annotations(write(tmp_path / "a.json", coco(**changes)))


def test_an_image_of_more_pixels_than_are_decoded_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", coco(images=[image(1, "a.png", height=60000, width=60000)]))

    with pytest.raises(InputError, match="image 1 is refused: its header states 60000x60000 pixels"):
        read_annotations(path)
