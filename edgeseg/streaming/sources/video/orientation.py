"""How the pictures of a video are to be turned and mirrored before they are shown."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from .matroska import EBML_MAGIC, read_rotation
from .mp4 import FIRST_BOXES, find_box, read_index, video_track

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# Where the display matrix lies in a movie's and a track's head, by the version of the box.
IN_MOVIE = {0: 36, 1: 48}
IN_TRACK = {0: 40, 1: 52}
ONE = 1 << 16
HEAD_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Orientation:
    """Steps that turn a stored picture upright, in this order.

    Attributes:
        transpose: Swap x and y.
        mirror_x: Swap left and right.
        mirror_y: Swap top and bottom.
    """

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    def upright(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn and mirror a picture, `uint8[H, W, 3]`."""
        if self.transpose:
            image = np.asarray(cv2.transpose(image), np.uint8)
        if self.mirror_x or self.mirror_y:
            code = -1 if self.mirror_x and self.mirror_y else int(self.mirror_x)
            image = np.asarray(cv2.flip(image, code), np.uint8)
        return image


BY_ANGLE: dict[float, Orientation] = {
    90: Orientation(transpose=True, mirror_x=True),
    180: Orientation(mirror_x=True, mirror_y=True),
    270: Orientation(transpose=True, mirror_y=True),
}


def orientation_from_file(path: Path, angle: float) -> Orientation:
    """Find out how a file's pictures are stored.

    Args:
        path: The file.
        angle: Degrees clockwise as OpenCV, which knows no mirrors, has read them; for containers other than
            MP4 and Matroska.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head[4:8] in FIRST_BOXES:
        return orientation_from_matrix(_matrix(read_index(path)))
    if not head.startswith(EBML_MAGIC):
        return BY_ANGLE.get(angle, Orientation())
    mirrored, angle = read_rotation(head)
    upright = BY_ANGLE.get(angle, Orientation())
    if not mirrored:
        return upright
    # To mirror x and then swap the sides is to swap them and then mirror y.
    if upright.transpose:
        return replace(upright, mirror_y=not upright.mirror_y)
    return replace(upright, mirror_x=not upright.mirror_x)


def orientation_from_matrix(matrix: NDArray[np.float64]) -> Orientation:
    """Take a display matrix, `float64[2, 2]`, apart; `x, y` times it is where a pixel is shown.

    Other angles than right ones leave the picture as it is stored, as does a matrix that shows nothing.
    """
    (a, b), (c, d) = matrix
    if abs(np.linalg.det(matrix)) < 1e-3:
        return Orientation()
    if max(abs(b), abs(c)) < 0.1 * min(abs(a), abs(d)):
        return Orientation(mirror_x=bool(a < 0), mirror_y=bool(d < 0))
    if max(abs(a), abs(d)) < 0.1 * min(abs(b), abs(c)):
        return Orientation(transpose=True, mirror_x=bool(c < 0), mirror_y=bool(b < 0))
    return Orientation()


def _matrix(index: bytes) -> NDArray[np.float64]:
    """The track's matrix and then the movie's."""
    movie = _read(find_box(index, b"mvhd"), IN_MOVIE)
    return _read(find_box(video_track(index), b"tkhd"), IN_TRACK) @ movie


def _read(head: bytes, places: dict[int, int]) -> NDArray[np.float64]:
    place = places.get(head[0]) if head else None
    if place is None or len(head) < place + 20:
        return np.eye(2)
    a, b, _, c, d = struct.unpack_from(">5i", head, place)
    return np.array(((a, b), (c, d)), np.float64) / ONE
