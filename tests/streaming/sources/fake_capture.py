"""Cameras that give what they are told to."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np


class FakeCapture:
    """Stands in for a `cv2.VideoCapture`; of its pictures None is a read that fails."""

    def __init__(self, pictures: list[np.ndarray | None], *, opens: bool = True) -> None:
        self.pictures, self.opens, self.released = pictures, opens, False

    def isOpened(self) -> bool:
        return self.opens

    def read(self) -> tuple[bool, Any]:
        picture = self.pictures.pop(0) if self.pictures else None
        return picture is not None, picture

    def get(self, prop: int) -> float:
        return 30.0 if prop == cv2.CAP_PROP_FPS else 0.0

    def set(self, prop: int, value: float) -> bool:
        return False

    def release(self) -> None:
        self.released = True


def picture(value: int = 0, shape: tuple[int, ...] = (4, 6, 3)) -> np.ndarray:
    return np.full(shape, value, np.uint8)
