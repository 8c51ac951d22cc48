"""Pictures that are stored turned or mirrored."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgeseg.streaming.sources.files import open_source
from edgeseg.streaming.sources.video.orientation import (
    Orientation,
    orientation_from_file,
    orientation_from_matrix,
)
from tests.vision.found import all_frames

from .clips import set_matrix, write_clip, write_corner

if TYPE_CHECKING:
    from pathlib import Path

# A matrix, and where a player then shows the corner that is the upper left one as stored.
SHOWN = {
    "as it is": ((1, 0, 0, 1), "upper left"),
    "mirrored": ((-1, 0, 0, 1), "upper right"),
    "upside down": ((1, 0, 0, -1), "lower left"),
    "turned by 90": ((0, 1, -1, 0), "upper right"),
    "turned by 180": ((-1, 0, 0, -1), "lower right"),
    "turned by 270": ((0, -1, 1, 0), "lower left"),
    "transposed": ((0, 1, 1, 0), "upper left"),
    "transposed the other way": ((0, -1, -1, 0), "lower right"),
    "nothing is shown": ((0, 0, 1, 0), "upper left"),
}
# Matroska mirrors first, and turns counterclockwise.
MATROSKA = {
    "mirrored": (180.0, 0.0),
    "upside down": (180.0, 180.0),
    "turned by 90": (0.0, -90.0),
    "turned by 180": (0.0, 180.0),
    "turned by 270": (0.0, 90.0),
    "transposed": (180.0, 90.0),
    "transposed the other way": (180.0, -90.0),
}


def white_corner(image: np.ndarray) -> str:
    rows, columns = np.nonzero(image[..., 0] > 128)
    vertical = "upper" if rows.mean() < image.shape[0] / 2 else "lower"
    return f"{vertical} {'left' if columns.mean() < image.shape[1] / 2 else 'right'}"


@pytest.mark.parametrize(("matrix", "corner"), SHOWN.values(), ids=SHOWN)
def test_a_clip_is_read_as_a_player_shows_it(
    tmp_path: Path, matrix: tuple[int, int, int, int], corner: str
) -> None:
    path = set_matrix(write_corner(tmp_path / "clip.mp4"), matrix)

    (frame,) = all_frames(open_source(str(path)))

    turned = matrix[0] == 0 and np.linalg.det(np.reshape(matrix, (2, 2))) != 0
    assert frame.image.shape == ((64, 48, 3) if turned else (48, 64, 3))
    assert white_corner(frame.image) == corner


def test_the_matrix_of_the_movie_comes_after_that_of_the_track(tmp_path: Path) -> None:
    path = set_matrix(write_corner(tmp_path / "clip.mp4"), (-1, 0, 0, 1))
    data = bytearray(path.read_bytes())
    struct.pack_into(">9i", data, data.find(b"mvhd") + 40, 1 << 16, 0, 0, 0, -(1 << 16), 0, 0, 0, 1 << 30)
    path.write_bytes(data)

    (frame,) = all_frames(open_source(str(path)))

    assert white_corner(frame.image) == "lower right"


def element(kind: str, content: bytes) -> bytes:
    return bytes.fromhex(kind) + bytes((0x80 | len(content),)) + content


@pytest.mark.parametrize("form", [">f", ">d"])
@pytest.mark.parametrize(("shown", "yaw", "roll"), [(shown, *turn) for shown, turn in MATROSKA.items()])
def test_matroska_says_it_in_degrees(tmp_path: Path, shown: str, yaw: float, roll: float, form: str) -> None:
    turns = element("7673", struct.pack(form, yaw)) + element("7675", struct.pack(form, roll))
    sound, video = element("ae", element("e1", b"")), element("ae", element("e0", element("7670", turns)))
    path = tmp_path / "clip.mkv"
    path.write_bytes(element("1a45dfa3", b"") + element("18538067", element("1654ae6b", sound + video)))

    found = orientation_from_file(path, angle=180)

    assert found == orientation_from_matrix(np.reshape(SHOWN[shown][0], (2, 2)).astype(np.float64))


def test_a_clip_that_says_nothing_is_shown_as_it_is(tmp_path: Path) -> None:
    assert orientation_from_file(write_clip(tmp_path / "clip.mkv", 1), angle=0) == Orientation()


@pytest.mark.parametrize(
    ("angle", "corner"), [(0, "upper left"), (90, "upper right"), (180, "lower right"), (270, "lower left")]
)
def test_other_containers_have_the_angle_that_opencv_finds(tmp_path: Path, angle: int, corner: str) -> None:
    path: Path = write_clip(tmp_path / "clip.avi", 1, codec="MJPG")
    image = np.zeros((48, 64, 3), np.uint8)
    image[:16, :24] = 255

    assert white_corner(orientation_from_file(path, angle).upright(image)) == corner


@pytest.mark.parametrize("angle", [45.0, float("nan"), -2147483648.0])
def test_an_angle_that_is_none_turns_nothing(tmp_path: Path, angle: float) -> None:
    assert orientation_from_file(write_clip(tmp_path / "clip.avi", 1, codec="MJPG"), angle) == Orientation()


def test_a_slanted_picture_is_left_as_it_is() -> None:
    assert orientation_from_matrix(np.array(((0.7, 0.7), (-0.7, 0.7)))) == Orientation()
