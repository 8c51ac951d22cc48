from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from edgeseg.errors import InputError
from edgeseg.vision.images import pillow
from edgeseg.vision.images.pillow import is_image
from edgeseg.vision.images.reader import ImageReader, image_paths, read_image
from tests.data import SHARED, shared

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

CHECK = SHARED / "data" / "odd_images" / "CHECK.tsv"
LINES = CHECK.read_text(encoding="utf-8").splitlines() if CHECK.exists() else []
ROWS = [line.split("\t") for line in LINES]
UPRIGHT_HW = (500, 375)
PAGED = {".mpo": "MPO"}
NON_ASCII = "bild \N{EN DASH} übung 画像.jpg"


def odd(name: str) -> Path:
    return shared("data", "odd_images", name)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference in levels; unequal shapes differ wholly."""
    return float(np.abs(a.astype(int) - b.astype(int)).mean()) if a.shape == b.shape else 255.0


def save(path: Path, array: np.ndarray, **options: Any) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def upright_hw(facts: str) -> tuple[int, int]:
    """Height and width after orientation, from such as `JPEG RGB (375, 500) frames=1 orient=6`."""
    width, height = map(int, facts[facts.index("(") + 1 : facts.index(")")].split(","))
    turned = facts.partition("orient=")[2].split()[0] in ("5", "6", "7", "8")
    return (width, height) if turned else (height, width)


@pytest.mark.skipif(not ROWS, reason="needs data/odd_images in a shared/ folder beside the repository")
@pytest.mark.parametrize(("name", "facts"), [pytest.param(row[0], row[2], id=row[0]) for row in ROWS])
def test_odd_images(name: str, facts: str) -> None:
    path = odd(name)
    if "OPEN-FAILS" in facts or "LOAD-FAILS" in facts:
        with pytest.raises(InputError, match=path.name.replace(".", r"\.")):
            read_image(path)
        return
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.shape == (*upright_hw(facts), 3)
    assert image.flags.c_contiguous
    assert image.flags.writeable


@pytest.mark.parametrize("orientation", range(2, 9))
def test_every_orientation_is_the_same_picture(orientation: int) -> None:
    base = read_image(odd("derived/base.jpg"))
    assert base.shape == (*UPRIGHT_HW, 3)
    assert difference(read_image(odd(f"derived/exif_orientation_{orientation}.jpg")), base) < 4


@pytest.mark.parametrize("orientation", range(2, 9))
def test_an_orientation_that_is_not_applied_would_show(orientation: int) -> None:
    base = read_image(odd("derived/base.jpg"))
    with Image.open(odd(f"derived/exif_orientation_{orientation}.jpg")) as image:
        raw = np.asarray(image)[..., ::-1]
    assert difference(raw, base) > 20


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("UPPER.JPG", 0),
        (NON_ASCII, 0),
        ("no_extension", 0),
        ("jpeg_named.png", 0),
        ("base.bmp", 4),
        ("alpha.png", 4),
        ("cmyk.jpg", 4),
        ("lossless.webp", 4),
        ("tiled.tiff", 4),
        ("progressive.jpg", 5),
        ("animated.gif", 5),
        ("animated.webp", 5),
        ("palette.png", 5),
        ("palette_transparency.png", 5),
    ],
)
def test_every_format_is_the_same_picture(name: str, allowed: float) -> None:
    base = read_image(odd("derived/base.jpg"))
    image = read_image(odd(f"derived/{name}"))
    assert difference(image, base) <= allowed
    # Channels in another order would show.
    assert difference(image[..., ::-1], base) > 10


def test_gray_in_8_and_16_bits_is_the_same_picture() -> None:
    gray = read_image(odd("derived/gray.png"))
    assert (gray == gray[..., :1]).all()
    assert np.array_equal(read_image(odd("derived/gray16.png")), gray)
    assert np.array_equal(read_image(odd("derived/gray_alpha.png")), gray)
    assert difference(read_image(odd("derived/gray.jpg")), gray) < 4


def test_channels_are_bgr(tmp_path: Path) -> None:
    path = save(tmp_path / "red.png", np.full((2, 3, 3), (250, 100, 5), np.uint8))
    assert (read_image(path) == (5, 100, 250)).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    levels = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)
    image = read_image(save(tmp_path / f"ramp.{suffix}", levels))
    assert np.array_equal(image[..., 0].ravel(), np.arange(256))


@pytest.mark.parametrize(
    ("gray", "wanted"),
    [
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 127, 255]),
        (np.array([[0.0, 128.0, 255.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 500.0, 1020.0]], np.float32), [0, 125, 255]),
        (np.array([[np.nan, -3.0, 200.0]], np.float32), [0, 0, 200]),
        (np.array([[np.nan, np.nan, np.nan]], np.float32), [0, 0, 0]),
        (np.array([[np.inf, 100.0, 200.0]], np.float32), [255, 100, 200]),
        (np.array([[0, 7, 255]], np.int32), [0, 7, 255]),
        (np.array([[-5, 25600, 65535]], np.int32), [0, 100, 255]),
        (np.array([[-5, 25600, 131071]], np.int32), [0, 50, 255]),
    ],
)
def test_gray_of_32_bits(tmp_path: Path, gray: np.ndarray, wanted: list[int]) -> None:
    image = read_image(save(tmp_path / "gray.tif", gray))
    assert image[0, :, 0].tolist() == wanted


@pytest.mark.parametrize("name", ["stack.tif", "animated.gif", "animated.webp", "animated.png", "two.mpo"])
def test_one_of_several_pages_is_used_and_said_once(tmp_path: Path, name: str) -> None:
    pages = [Image.new("RGB", (8, 6), (60 * number, 0, 0)) for number in range(1, 5)]
    for path in (tmp_path / name, tmp_path / f"another-{name}"):
        pages[0].save(path, save_all=True, append_images=pages[1:], format=PAGED.get(path.suffix))
    notes: list[str] = []
    reader = ImageReader(note=notes.append)

    first = reader.read(tmp_path / name)
    reader.read(tmp_path / f"another-{name}")

    assert abs(int(first[0, 0, 2]) - 60) < 8
    assert notes == [f"page 1 of 4 of {tmp_path / name} is used, and of every other image with several pages"]


def test_an_animation_of_16_bits_is_read_as_before() -> None:
    # OpenCV 5.0 gives black.
    assert (read_image(odd("pillow/apng_mode_16bit.png")) == (0, 0, 255)).all()


def test_of_one_page_nothing_is_said(tmp_path: Path) -> None:
    notes: list[str] = []
    reader = ImageReader(note=notes.append)
    for suffix in ("tif", "gif", "webp", "png", "jpg", "bmp"):
        reader.read(save(tmp_path / f"one.{suffix}", np.zeros((6, 8, 3), np.uint8)))

    assert notes == []


def test_a_page_behind_the_first_may_be_broken(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    pages = [Image.new("L", (8, 6), level) for level in (90, 120, 150)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    content = path.read_bytes()
    (first,) = struct.unpack_from("<I", content, 4)
    (tags,) = struct.unpack_from("<H", content, first)
    (second,) = struct.unpack_from("<I", content, first + 2 + 12 * tags)
    path.write_bytes(content[:second] + b"\xff" * 40 + content[second + 40 :])
    notes: list[str] = []

    assert (ImageReader(note=notes.append).read(path) == 90).all()
    assert len(notes) == 1


@pytest.mark.parametrize(
    "name",
    ["stack.tif", "a.gif"],
)
def test_counting_pages_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(pillow, "MAX_PAGES", 5)
    path = tmp_path / name
    pages = [Image.new("L", (3, 2), 20 * number) for number in range(7)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    notes: list[str] = []

    ImageReader(note=notes.append).read(path)

    assert notes[0].startswith(f"page 1 of more than 5 of {path}")


def test_transparency_is_dropped(tmp_path: Path) -> None:
    rgba = np.full((4, 4, 4), (10, 20, 30, 0), np.uint8)
    assert (read_image(save(tmp_path / "clear.png", rgba)) == (30, 20, 10)).all()


def test_bad_metadata_does_not_spoil_good_pixels(tmp_path: Path) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    plain = read_image(save(tmp_path / "plain.jpg", frame))
    odd_exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0\x01\0\0\0\x06"
    found = read_image(save(tmp_path / "odd.jpg", frame, exif=odd_exif))
    assert sorted(found.shape) == sorted(plain.shape)


@pytest.mark.parametrize("name", ["derived/bomb_30000x30000_bilevel.png", "pillow/decompression_bomb.gif"])
def test_a_bomb_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"is refused: its header states .*\d{9} pixels.*; scale it down"):
        read_image(odd(name))


def test_a_bomb_without_a_suffix_does_not_spoil_its_folder(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb"
    bomb.write_bytes(odd("pillow/decompression_bomb.gif").read_bytes())
    assert image_paths(tmp_path) == [bomb]
    assert is_image(bomb)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*nowhere\.jpg: No such file"):
        read_image(tmp_path / "nowhere.jpg")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"cannot read .*{tmp_path.name}"):
        read_image(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = save(tmp_path / "secret.png", np.zeros((2, 2, 3), np.uint8))
    path.chmod(0)
    with pytest.raises(InputError, match=r"cannot read .*secret\.png: Permission denied"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif", "tif", "webp", "ppm", "avif"])
def test_a_damaged_file_is_read_or_refused_but_never_crashes(tmp_path: Path, suffix: str) -> None:
    if f".{suffix}" not in Image.registered_extensions():
        pytest.skip(f"this Pillow does not write .{suffix}")
    rng = np.random.default_rng(9)
    path = save(tmp_path / f"good.{suffix}", rng.integers(0, 256, (40, 50, 3), np.uint8))
    content = path.read_bytes()
    refused = 0
    for turn in range(120):
        damaged = bytearray(content[: int(rng.integers(1, len(content)))] if turn % 3 == 0 else content)
        reach = min(len(damaged), 200) if turn % 3 == 1 else len(damaged)
        for place in rng.integers(0, reach, 4):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        is_image(path)
        try:
            assert read_image(path).dtype == np.uint8
        except InputError:
            refused += 1
    assert refused > 10


def test_image_paths(tmp_path: Path) -> None:
    frame = np.zeros((3, 3, 3), np.uint8)
    names = ["a b.png", NON_ASCII, "UPPER.JPG", "below/deep/x.webp", "no_suffix", "10.jpeg"]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame).save(path, format="PNG")
    for name in ("LICENSE", "README.md", "labels.json", "video.mp4", ".hidden.png", "Makefile", "empty"):
        (tmp_path / name).write_text("" if name == "empty" else "text, and long enough to be a header" * 9)
    (tmp_path / ".thumbnails").mkdir()
    Image.fromarray(frame).save(tmp_path / ".thumbnails" / "a.png")
    (tmp_path / "folder.png").mkdir()
    assert image_paths(tmp_path) == sorted(tmp_path / name for name in names)


def test_image_paths_below_a_hidden_folder(tmp_path: Path) -> None:
    folder = tmp_path / ".cache" / "images"
    folder.mkdir(parents=True)
    path = save(folder / "a.png", np.zeros((2, 2, 3), np.uint8))
    assert image_paths(folder) == [path]


def test_image_paths_of_real_files() -> None:
    paths = image_paths(odd("derived"))
    names = {path.name for path in paths}
    assert {"UPPER.JPG", NON_ASCII, "no_extension", "empty.jpg"} <= names
    assert "LICENSE" not in {path.name for path in image_paths(odd("pillow"))}
    assert paths == sorted(paths)


def test_image_paths_of_an_empty_folder(tmp_path: Path) -> None:
    assert image_paths(tmp_path) == []


def test_image_paths_of_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no folder at .*nowhere"):
        image_paths(tmp_path / "nowhere")
    path = save(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(InputError, match=r"no folder at .*a\.png"):
        image_paths(path)
