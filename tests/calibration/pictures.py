"""Folders of small pictures to calibrate on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path


def write_pictures(folder: Path, count: int, *, size_hw: tuple[int, int] = (40, 60)) -> Path:
    """Write coloured noise as `00.png`, `01.png`, ...; red is bright and blue dark in each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 100, (*size_hw, 3))
        cv2.imwrite(str(folder / f"{number:02}.png"), (noise + np.array((0, 60, 150))).astype(np.uint8))
    return folder


def write_flat(path: Path, level: int) -> None:
    cv2.imwrite(str(path), np.full((30, 30, 3), level, np.uint8))
