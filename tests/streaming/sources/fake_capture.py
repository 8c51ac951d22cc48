"""Cameras that give what they are told to."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class FakeCapture:
    """Stands in for a `cv2.VideoCapture`.

    Args:
        pictures: What reading gives; None is a read that fails.
        opens: Whether it can be opened.
        facts: What it says of its properties, 0 for those that are absent.
    """

    def __init__(
        self,
        pictures: Iterable[np.ndarray | None],
        *,
        opens: bool = True,
        facts: Mapping[int, float] = MappingProxyType({cv2.CAP_PROP_FPS: 30.0}),
    ) -> None:
        self.pictures, self.opens, self.facts = list(pictures), opens, facts
        self.reads, self.released = 0, False

    def isOpened(self) -> bool:
        return self.opens

    def read(self) -> tuple[bool, Any]:
        self.reads += 1
        picture = self.pictures.pop(0) if self.pictures else None
        return picture is not None, picture

    def get(self, prop: int) -> float:
        return self.facts.get(prop, 0.0)

    def set(self, prop: int, value: float) -> bool:
        return False

    def release(self) -> None:
        self.released = True


class PlugIn(Protocol):
    """Makes a capture of some pictures the camera that is opened next."""

    def __call__(self, pictures: Iterable[np.ndarray | None], *, opens: bool = True) -> FakeCapture: ...


def picture(value: int = 0, shape: tuple[int, ...] = (4, 6, 3)) -> np.ndarray:
    return np.full(shape, value, np.uint8)
