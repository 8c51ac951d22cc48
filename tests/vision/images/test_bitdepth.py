"""Images of more than 8 bits: each must be the picture that it is in 8, whatever the bits that it uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image

from edgeseg.errors import ConfigError, InputError
from edgeseg.vision.images.reader import ImageReader, read_image

from .deep_images import ASCII, LONG, SHORT, deepened, scene, write_png, write_tiff

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

COLOR = scene()
GRAY = COLOR[..., 1].copy()
BITS = (8, 10, 12, 14, 16)


def bgr(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What is to be read."""
    return np.dstack(3 * [levels]) if levels.ndim == 2 else levels[..., ::-1]


def write_ppm(path: Path, samples: NDArray[np.uint16], largest: int = 65535) -> Path:
    kind = 5 if samples.ndim == 2 else 6
    header = f"P{kind}\n# a comment\n{samples.shape[1]} {samples.shape[0]}\n{largest}\n".encode()
    path.write_bytes(header + samples.astype(">u2").tobytes())
    return path


def write_jpeg_2000(path: Path, samples: NDArray[np.uint16]) -> Path:
    whole = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000]
    assert cv2.imwrite(str(path), samples if samples.ndim == 2 else samples[..., ::-1], whole)
    return path


WRITERS: dict[str, Callable[[Path, Any], Path]] = {
    "png": write_png,
    "tif": write_tiff,
    "ppm": write_ppm,
    "jp2": write_jpeg_2000,
}


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("levels", [GRAY, COLOR], ids=["gray", "RGB"])
def test_bits_of_a_camera_in_16(tmp_path: Path, suffix: str, bits: int, levels: NDArray[np.uint8]) -> None:
    if suffix == "jp2" and not cv2.haveImageWriter("a.jp2"):
        pytest.skip("this OpenCV does not write JPEG 2000")
    path = WRITERS[suffix](tmp_path / f"picture.{suffix}", deepened(levels, bits))

    assert np.array_equal(read_image(path), bgr(levels))


def test_alpha_of_16_bits_is_dropped(tmp_path: Path) -> None:
    samples = deepened(COLOR, 12)
    clear = np.zeros((*GRAY.shape, 1), np.uint16)

    of_gray = write_png(tmp_path / "gray.png", np.dstack([samples[..., 1], clear]))
    of_color = write_png(tmp_path / "color.png", np.dstack([samples, clear]))

    assert np.array_equal(read_image(of_gray), bgr(GRAY))
    assert np.array_equal(read_image(of_color), bgr(COLOR))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_is_applied_to_16_bits(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(COLOR).save(tmp_path / "8.png", exif=exif)
    Image.fromarray(deepened(GRAY, 12)).save(tmp_path / "gray.png", exif=exif)
    turn = (274, SHORT, [orientation])
    in_8 = write_tiff(tmp_path / "8.tif", COLOR, turn)
    in_16 = write_tiff(tmp_path / "16.tif", deepened(COLOR, 12), turn)

    upright = read_image(tmp_path / "8.png")

    assert np.array_equal(read_image(tmp_path / "gray.png"), bgr(upright[..., 1]))
    assert np.array_equal(read_image(in_8), upright)
    assert np.array_equal(read_image(in_16), upright)


def test_an_orientation_is_applied_to_png_of_16_bits_and_color(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(COLOR).save(tmp_path / "8.png", exif=exif)
    path = write_png(tmp_path / "16.png", deepened(COLOR, 12))
    chunk = (tmp_path / "8.png").read_bytes()
    at = chunk.index(b"eXIf") - 4
    size = int.from_bytes(chunk[at : at + 4], "big") + 12
    path.write_bytes(path.read_bytes()[:33] + chunk[at : at + size] + path.read_bytes()[33:])

    assert np.array_equal(read_image(path), read_image(tmp_path / "8.png"))


@pytest.mark.parametrize(
    ("samples", "tags", "photometric", "wanted"),
    [
        pytest.param(deepened(GRAY, 12).astype(np.int16), (), 1, GRAY, id="signed, 12 of 16"),
        pytest.param((deepened(GRAY, 16) >> 1).astype(np.int16), (), 1, GRAY, id="signed, all 15"),
        pytest.param(deepened(GRAY, 12).astype(np.uint32), (), 1, GRAY, id="12 of 32"),
        pytest.param(GRAY.astype(np.uint32) << 24, (), 1, GRAY, id="all 32"),
        pytest.param(deepened(GRAY, 14).astype(np.int32), (), 1, GRAY, id="signed, 14 of 32"),
        pytest.param(deepened(GRAY, 12).astype(np.float32), (), 1, GRAY, id="12 in floats"),
        pytest.param(GRAY.astype(np.float32) / 255, (), 1, GRAY, id="floats to 1"),
        pytest.param(
            GRAY.astype(np.float32) / 250, (), 1, (GRAY * 1.02).clip(0, 255), id="floats a little beyond 1"
        ),
        pytest.param(65535 - deepened(GRAY, 16), (), 0, GRAY, id="white is zero"),
        pytest.param(4095 - deepened(GRAY, 12), (), 0, GRAY, id="white is zero, 12 of 16"),
    ],
)
def test_kinds_of_gray_tiff(
    tmp_path: Path, samples: NDArray[Any], tags: tuple[Any, ...], photometric: int, wanted: NDArray[Any]
) -> None:
    path = write_tiff(tmp_path / "gray.tif", samples, *tags, photometric=photometric)

    # Floats are cut, and those to 1 may lose one level.
    assert np.abs(read_image(path).astype(int) - bgr(wanted)).max() <= (samples.dtype.kind == "f")


@pytest.mark.parametrize("levels", [GRAY, COLOR], ids=["gray", "RGB"])
def test_the_other_order_of_bytes(tmp_path: Path, levels: NDArray[np.uint8]) -> None:
    path = write_tiff(tmp_path / "big.tif", deepened(levels, 12), order=">")

    assert np.array_equal(read_image(path), bgr(levels))


def test_12_bits_that_are_packed(tmp_path: Path) -> None:
    pairs = deepened(GRAY, 12).astype(np.uint32).reshape(len(GRAY), -1, 2)
    three = np.stack(
        [pairs[..., 0] >> 4, (pairs[..., 0] & 15) << 4 | pairs[..., 1] >> 8, pairs[..., 1] & 255], -1
    )
    path = write_tiff(tmp_path / "packed.tif", three.astype(np.uint8).reshape(len(GRAY), -1), bits=12)

    assert np.array_equal(read_image(path), bgr(GRAY))


DARK = GRAY // 64
STATED: list[Any] = [
    pytest.param(write_png, {"sbit": b"\x0c"}, (), id="sBIT"),
    pytest.param(write_tiff, {}, ((281, SHORT, [4095]),), id="MaxSampleValue"),
    pytest.param(write_tiff, {}, ((281, SHORT, [1100]),), id="MaxSampleValue of a series"),
    pytest.param(write_tiff, {}, ((341, SHORT, [4000]),), id="SMaxSampleValue"),
    pytest.param(
        write_tiff,
        {},
        ((270, ASCII, b'<OME><Pixels Type="uint16" SignificantBits="12"/></OME>\0'),),
        id="OME",
    ),
]


@pytest.mark.parametrize(("write", "options", "tags"), STATED)
def test_a_dark_picture_is_dark_where_its_file_says_the_bits(
    tmp_path: Path, write: Callable[..., Path], options: dict[str, Any], tags: tuple[Any, ...]
) -> None:
    notes: list[str] = []
    path = write(tmp_path / "dark.png", deepened(DARK, 12), *tags, **options)

    assert np.array_equal(ImageReader(note=notes.append).read(path), bgr(DARK))
    assert notes == []


@pytest.mark.parametrize(
    "tag",
    [
        (281, SHORT, [65535]),
        (281, SHORT, [1]),
        (281, SHORT, [15]),
        (281, LONG, [2**31]),
        (270, ASCII, b"SignificantBits=\0"),
        (270, ASCII, b'SignificantBits="3"\0'),
        (270, ASCII, b'SignificantBits="16"\0'),
    ],
)
def test_a_tag_that_says_nothing_is_not_believed(tmp_path: Path, tag: Any) -> None:
    path = write_tiff(tmp_path / "a.tif", deepened(GRAY, 12), tag)

    assert np.array_equal(read_image(path), bgr(GRAY))


@pytest.mark.parametrize("sbit", [b"\0", b"\x03", b"\x10"])
def test_sbit_that_says_nothing_is_not_believed(tmp_path: Path, sbit: bytes) -> None:
    path = write_png(tmp_path / "a.png", deepened(GRAY, 12), sbit=sbit)

    assert np.array_equal(read_image(path), bgr(GRAY))


def test_png_that_is_stretched_to_16_bits_as_its_standard_wants(tmp_path: Path) -> None:
    dark = GRAY // 8
    path = write_png(tmp_path / "a.png", deepened(dark, 16), sbit=b"\x0c")

    assert np.array_equal(read_image(path), bgr(dark))


def test_a_largest_sample_of_pgm_is_white(tmp_path: Path) -> None:
    path = write_ppm(tmp_path / "a.pgm", np.array([[0, 400, 1000]], np.uint16), largest=1000)
    dark = write_ppm(tmp_path / "dark.pgm", np.array([[0, 100, 200]], np.uint16), largest=1000)

    assert read_image(path)[0, :, 0].tolist() == [0, 102, 255]
    assert read_image(dark)[0, :, 0].tolist() == [0, 25, 51]


def test_a_dark_picture_of_8_bits_that_was_stretched_to_16(tmp_path: Path) -> None:
    for name, levels in (("gray", DARK), ("color", COLOR // 64)):
        stretched = levels.astype(np.uint16) * 257

        assert np.array_equal(read_image(write_png(tmp_path / f"{name}.png", stretched)), bgr(levels))
        in_other_order = write_tiff(tmp_path / f"{name}.tif", stretched, order=">")
        assert np.array_equal(read_image(in_other_order), bgr(levels))


def test_what_is_guessed_is_said_once_for_each_depth(tmp_path: Path) -> None:
    notes: list[str] = []
    reader = ImageReader(note=notes.append)
    bright = write_png(tmp_path / "bright.png", deepened(GRAY, 12))
    dark = write_png(tmp_path / "dark.png", deepened(DARK, 12))
    whole = write_png(tmp_path / "whole.png", deepened(GRAY, 16))
    Image.fromarray(GRAY).save(tmp_path / "8.png")

    for path in (whole, tmp_path / "8.png", bright, bright, dark, bright, dark):
        reader.read(path)

    assert len(notes) == 2
    assert f"{bright} is read as an image of 12 bits, because its largest sample is 4080, " in notes[0]
    assert "--bit-depth" in notes[0]
    assert notes[1] == (
        f"{dark} is read as an image of 8 bits, because its largest sample is 48, and others as of 16 and "
        "12; if all are of one camera, pass --bit-depth 16"
    )


@pytest.mark.parametrize("write", [write_png, write_tiff])
@pytest.mark.parametrize("levels", [GRAY // 64, COLOR // 64], ids=["gray", "RGB"])
def test_a_bit_depth_that_is_given_counts(
    tmp_path: Path, write: Callable[..., Path], levels: NDArray[np.uint8]
) -> None:
    notes: list[str] = []
    path = write(tmp_path / "dark.png", deepened(levels, 12))

    assert np.array_equal(ImageReader(bit_depth=12, note=notes.append).read(path), bgr(levels))
    assert notes == []


def test_a_bit_depth_does_not_concern_8_bits(tmp_path: Path) -> None:
    Image.fromarray(COLOR).save(tmp_path / "8.png")

    assert np.array_equal(read_image(tmp_path / "8.png", bit_depth=12), bgr(COLOR))


def test_a_bit_depth_that_is_too_small(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", deepened(GRAY, 12))

    with pytest.raises(
        InputError, match=r"a\.png has samples of up to 4080, and a bit depth of 10 ends at 1023"
    ):
        read_image(path, bit_depth=10)


@pytest.mark.parametrize("bit_depth", [-1, 0, 7, 17])
def test_a_bit_depth_that_no_camera_has(bit_depth: int) -> None:
    with pytest.raises(ConfigError, match=f"bit_depth must be within 8 and 16, got {bit_depth}"):
        ImageReader(bit_depth=bit_depth)


def test_black_is_black(tmp_path: Path) -> None:
    path = write_png(tmp_path / "black.png", np.zeros((4, 5), np.uint16))

    assert not read_image(path).any()


@pytest.mark.parametrize(
    ("samples", "bits"),
    [
        pytest.param(np.zeros((4, 6), np.uint8), 14, id="14 bits packed"),
        pytest.param(np.zeros((4, 6), np.float64), 0, id="double"),
        pytest.param(np.zeros((4, 6, 3), np.float32), 0, id="RGB in floats"),
        pytest.param(np.zeros((4, 6, 5), np.uint16), 0, id="5 channels"),
    ],
)
def test_a_tiff_of_a_kind_that_is_not_read(tmp_path: Path, samples: NDArray[Any], bits: int) -> None:
    path = write_tiff(tmp_path / "odd.tif", samples, bits=bits)

    with pytest.raises(
        InputError, match=r"odd\.tif is a TIFF whose kind of pixels cannot be read .*8 or 16 bits"
    ):
        read_image(path)


def test_a_plane_of_16_bits_for_each_color(tmp_path: Path) -> None:
    # Pillow 13.0 and OpenCV 5.0 both take it for something else.
    path = write_tiff(tmp_path / "planes.tif", deepened(COLOR, 16), (284, SHORT, [2]))

    with pytest.raises(InputError, match=r"planes\.tif is a TIFF that holds red, green and blue .* together"):
        read_image(path)


def test_16_bits_of_color_that_are_truncated(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", deepened(COLOR, 12))
    path.write_bytes(path.read_bytes()[:-200])

    with pytest.raises(InputError, match=r"a\.png"):
        read_image(path)
